"""Writes a bundle's `card.md` from measured figures: nothing in it is typed by hand but the notes."""

from pathlib import Path

from thorax.bundle import CARD, Manifest
from thorax.findings import FINDINGS
from thorax.operating_points import Rate
from training.report import Report
from training.subsets import Cost, members_of

_COMMAND = "python -m training.evaluate --data labels.csv --images images --bundle {folder} --part {part} --out {part}.json"

_FITTED = {"val": "validation part", "all": "whole set", "all-but-test": "set without its test part"}


def write_card(
    folder: Path,
    manifest: Manifest,
    figures: dict[str, Report],
    compared: dict[str, Report],
    every: dict[str, Report],
    costs: dict[str, Cost],
    notes: str,
    *,
    fit: str,
    seed: int,
    pointing: Report | None,
) -> None:
    """`figures` has the reports of what it was fitted on (`val`; `fit` is its name in the split of this `seed`) and, where one was kept
    apart, of `test`, `compared` one `brief` per way of weighing, `every` what `subsets.compare` says of each choice of members, `costs` what they take, `pointing` what `training.boxes` measured."""
    fitted = _FITTED.get(fit, f"{fit} part")
    parts = [
        f"# {manifest.name} {manifest.version}",
        f"**{manifest.intended_use}**",
        notes.strip(),
        *(_test_part(folder, figures["test"], seed) if "test" in figures else []),
        *(_cascade(manifest, figures, costs, fitted) if manifest.cascade else []),
        *(_operating(manifest, figures, fitted) if manifest.operating_points else []),
        *(_pointing(manifest, pointing) if pointing else []),
        f"## Figures on the {fitted}",
        _parts_line(figures["val"], "used for weights, thresholds and calibration, so these are too good"),
        _command(folder, fit, seed),
        _auc_table(figures["val"]),
        "## Ways of weighing",
        f"Mean AUC and AUC per finding on the {fitted}; fitted weights were scored on patients that they\n"
        "were not fitted on (five folds, the mean of six ways to divide them).",
        _rows(compared),
        "## What each choice of members is worth and costs",
        f"The plain mean of the members' probabilities on the {fitted}, the best first; 95 % intervals draw whole patients,\n"
        "the same ones for every choice. CPU-ms of one image on one thread of the machine that wrote this card, graphs alone.",
        _choices(every, costs),
        "## Members",
        _members(manifest),
        f"Licence: {manifest.licence}.",
    ]
    (folder / CARD).write_text("\n\n".join(part for part in parts if part) + "\n", "utf-8")


def _test_part(folder: Path, figures: Report, seed: int) -> list[str]:
    return [
        "## Figures on the test part",
        _parts_line(figures, "never used for training, weights, thresholds or calibration"),
        _command(folder, "test", seed),
        _auc_table(figures),
        _detail_table(figures),
        _groups(figures),
    ]


def _cascade(
    manifest: Manifest, figures: dict[str, Report], costs: dict[str, Cost], fitted: str
) -> list[str]:
    """Which members answer first, and what that saves and loses on each part."""
    assert manifest.cascade
    first = manifest.cascade.first
    spent, whole = sum(costs[name].cpu_ms for name in first), sum(cost.cpu_ms for cost in costs.values())
    header = [
        "part",
        "asked all",
        "CPU-ms of the graphs",
        "of all members'",
        "AUC",
        "all members",
        "95 % of the difference",
    ]
    lines = [_row(header), _row(["---"] * len(header))]
    for part, name in (("val", fitted), ("test", "test part")):
        if part in figures:
            said, served = figures[part]["all_members"], figures[part]["ensemble"]["mean_auc"]
            mean = spent + said["asked_all"] * (whole - spent)
            ends = "{:+.4f} to {:+.4f}".format(*said["difference_95"])
            aucs = _figure(served, 4), _figure(said["mean_auc"], 4)
            lines.append(
                _row([name, f"{said['asked_all']:.1%}", f"{mean:.0f}", f"{mean / whole:.0%}", *aucs, ends])
            )
    return [
        "## The cascade",
        f"{' and '.join(first)} answer first, with weights and a calibration of their own. The other members run where a finding's\n"
        "probability is near its threshold of *likely*, or where the first ones disagree. All figures of the ensemble on this card\n"
        "are those of the cascade, as it is served; `?full=true` asks all members. Differences draw whole patients, the same for both.",
        "\n".join(lines),
    ]


def _operating(manifest: Manifest, figures: dict[str, Report], fitted: str) -> list[str]:
    """The bands likely, uncertain and unlikely: what they were chosen by, and how they fare on the test part."""
    lines = [
        _row(
            [
                "finding",
                "prevalence",
                "from",
                "sensitivity",
                "specificity",
                "PPV",
                "NPV",
                "below",
                "sensitivity there",
            ]
        )
    ]
    lines.append(_row(["---"] * 9))
    for finding, points in zip(FINDINGS, manifest.operating_points or (), strict=True):
        at, below = points.likely, points.unlikely
        rates = [_rate(rate) for rate in (at.sensitivity, at.specificity, at.ppv, at.npv)]
        edges = f"{at.threshold:.4f}", f"{below.threshold:.4f}"
        lines.append(
            _row(
                [
                    finding.label,
                    f"{points.prevalence:.1%}",
                    edges[0],
                    *rates,
                    edges[1],
                    _rate(below.sensitivity),
                ]
            )
        )
    said = [
        f"{figures[part]['normals_called']:.1%} of the images of the {name} without any of the five findings get at least one *likely*"
        for part, name in (("val", fitted), ("test", "test part"))
        if figures.get(part, {}).get("normals_called") is not None
    ]
    return [
        "## Likely, uncertain, unlikely",
        "From its first threshold on a finding is *likely* (the lowest specificity from 0.90 on with which at most a quarter\n"
        f"of the normal images of the {fitted} get any *likely*), below the second it is *unlikely* (sensitivity at least\n"
        "0.90), between them *uncertain*. 95 % intervals draw whole patients; predictive values hold for the prevalence\n"
        f"beside them. All of the {fitted}, so a little too good.",
        "\n".join(lines),
        "; ".join(said) + ".",
    ]


def _rate(rate: Rate | None) -> str:
    if rate is None:
        return "–"
    return (
        f"{rate.value:.2f} ({rate.low:.2f}–{rate.high:.2f})" if rate.low is not None else f"{rate.value:.2f}"
    )


def _pointing(manifest: Manifest, pointing: Report) -> list[str]:
    names = [*(spec.name for spec in manifest.backbones), "ensemble"]
    header = ["finding", "cases", "chance", *names, "95 %", "without the image", "energy inside", "IoU"]
    lines = [_row(header), _row(["---"] * len(header))]
    for finding in FINDINGS:
        row = pointing["findings"].get(str(finding))
        if row is None:
            continue
        fused = row["ensemble"]
        low, high = fused["hits_95"]
        hits = [f"{row[name]['hits']:.2f}" for name in names]
        unseen = f"{row['others']['hits']:.2f}" if "others" in row else "–"
        ends = [f"{low:.2f}–{high:.2f}", unseen, f"{fused['energy']:.2f}", f"{fused['iou']:.2f}"]
        lines.append(_row([finding.label, str(row["n"]), f"{row['chance']:.2f}", *hits, *ends]))
    return [
        "## How often the map points at the finding",
        f"The share of maps whose maximum lies inside the box that a radiologist drew, on {pointing['images']} images that\n"
        "nothing was trained or calibrated on (`make evaluate … BOXES=boxes.csv`). Chance is the share of the image\n"
        "that the boxes cover. *Without the image* is the mean of the maps of the other patients in this table with the finding:\n"
        "what knowing the finding alone, and nothing of the image, would hit. The IoU is that of the best common threshold,\n"
        "chosen on these very boxes.",
        "\n".join(lines),
    ]


def _command(folder: Path, part: str, seed: int) -> str:
    name = "models/default" if folder.name == "default" else folder.name
    cut = "" if seed == 20 else f" --seed {seed}"
    return f"```\n{_COMMAND.format(folder=name, part=part)}{cut}\n```"


def _parts_line(figures: Report, said: str) -> str:
    return f"{figures['n']} images of {figures['patients']} patients, {said}."


def _auc_table(figures: Report) -> str:
    ensemble = figures["ensemble"]
    interval = ["95 % interval", _interval(ensemble["mean_auc_95"]), *_intervals(ensemble)]
    return _rows({**figures["backbones"], "**ensemble**": ensemble}) + "\n" + _row([*interval, ""])


def _rows(rows: dict[str, Report]) -> str:
    header = [["AUC", "mean", *(f.label for f in FINDINGS), "ECE"], ["---"] * (len(FINDINGS) + 3)]
    body = [
        [name, _figure(r["mean_auc"]), *(_figure(r["auc"][f]) for f in FINDINGS), _figure(r["ece"])]
        for name, r in rows.items()
    ]
    return "\n".join(_row(cells) for cells in [*header, *body])


def _intervals(ensemble: Report) -> list[str]:
    return [_interval(ensemble["auc_95"][f]) for f in FINDINGS]


def _interval(ends: list[float] | None) -> str:
    return f"{ends[0]:.3f}–{ends[1]:.3f}" if ends else "–"


def _detail_table(figures: Report) -> str:
    ensemble = figures["ensemble"]
    lines = [_row(["at the threshold", *(f.label for f in FINDINGS)]), _row(["---"] * (len(FINDINGS) + 1))]
    for key in ("thresholds", "sensitivity", "specificity", "average_precision", "ece_by_finding"):
        lines.append(_row([key.replace("_", " "), *(_figure(ensemble[key][f]) for f in FINDINGS)]))
    return "\n".join(lines) + f"\n\nAll five right: {_figure(ensemble['all_five_right'])} of the images."


def _groups(figures: Report) -> str:
    titles = {"by_view": "view", "by_source": "source", "by_native_px": "native resolution"}
    lines = [_row(["group", "images", "mean AUC", *(f.label for f in FINDINGS)])]
    lines.append(_row(["---"] * (len(FINDINGS) + 3)))
    for key, title in titles.items():
        for value, row in figures.get(key, {}).items():
            aucs = [_figure(row["auc"][f]) for f in FINDINGS]
            lines.append(_row([f"{title} {value}", str(row["n"]), _figure(row["mean_auc"]), *aucs]))
    return "\n".join(lines)


def _choices(every: dict[str, Report], costs: dict[str, Cost]) -> str:
    header = ["members", "mean AUC", "95 %", "GFLOP", "CPU-ms"]
    lines = [_row(header), _row(["---"] * len(header))]
    for said, row in sorted(every.items(), key=lambda item: -(item[1]["mean_auc"] or 0.0)):
        taken = [costs[name] for name in members_of(said)]
        flops = [cost.gflop for cost in taken if cost.gflop is not None]
        gflop = f"{sum(flops):.1f}" if len(flops) == len(taken) else "–"
        spent = f"{sum(cost.cpu_ms for cost in taken):.0f}"
        lines.append(_row([said, _figure(row["mean_auc"]), _interval(row["mean_auc_95"]), gflop, spent]))
    return "\n".join(lines)


def _members(manifest: Manifest) -> str:
    header = ["backbone", "parameters", "input", "scaling", *(f"weight: {f.label}" for f in FINDINGS)]
    lines = [_row(header), _row(["---"] * len(header))]
    for spec in manifest.backbones:
        weights = [f"{w:.2f}" for w in manifest.weights[spec.name]]
        edge = f"{spec.input.size} px"
        lines.append(_row([spec.name, f"{spec.parameters:,}", edge, spec.normalisation, *weights]))
    return "\n".join(lines)


def _figure(value: float | None, places: int = 3) -> str:
    return "–" if value is None else f"{value:.{places}f}"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"

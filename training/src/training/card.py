"""Writes a bundle's `card.md` from measured figures: nothing in it is typed by hand but the notes."""

from pathlib import Path

from thorax.bundle import CARD, Manifest
from thorax.findings import FINDINGS
from training.report import Report

_COMMAND = "python -m training.evaluate --data labels.csv --images images --bundle {folder} --part {part} --out {part}.json"


def write_card(
    folder: Path,
    manifest: Manifest,
    figures: dict[str, Report],
    compared: dict[str, Report],
    notes: str,
    *,
    seed: int = 20,
) -> None:
    """`figures` has the reports of the parts `val` and `test`, `compared` one `brief` per way of weighing."""
    parts = [
        f"# {manifest.name} {manifest.version}",
        f"**{manifest.intended_use}**",
        notes.strip(),
        "## Figures on the test part",
        _parts_line(figures["test"], "never used for training, weights, thresholds or calibration"),
        _command(folder, "test", seed),
        _auc_table(figures["test"]),
        _detail_table(figures["test"]),
        _groups(figures["test"]),
        "## Figures on the validation part",
        _parts_line(figures["val"], "used for weights, thresholds and calibration, so these are too good"),
        _command(folder, "val", seed),
        _auc_table(figures["val"]),
        "## Ways of weighing",
        "Mean AUC and AUC per finding on the validation part; fitted weights were scored on patients that they\n"
        "were not fitted on (five folds, the mean of six ways to divide them).",
        _rows(compared),
        "## Members",
        _members(manifest),
        f"Licence: {manifest.licence}.",
    ]
    (folder / CARD).write_text("\n\n".join(part for part in parts if part) + "\n", "utf-8")


def _command(folder: Path, part: str, seed: int) -> str:
    name = "models/default" if folder.name == "default" else folder.name
    cut = "" if seed == 20 else f" --seed {seed}"
    return f"```\n{_COMMAND.format(folder=name, part=part)}{cut}\n```"


def _parts_line(figures: Report, said: str) -> str:
    return f"{figures['n']} images of {figures['patients']} patients, {said}."


def _auc_table(figures: Report) -> str:
    ensemble = figures["ensemble"]
    low, high = ensemble["mean_auc_95"]
    interval = ["95 % interval", f"{low:.3f}–{high:.3f}", *_intervals(ensemble)]
    return _rows({**figures["backbones"], "**ensemble**": ensemble}) + "\n" + _row([*interval, ""])


def _rows(rows: dict[str, Report]) -> str:
    header = [["AUC", "mean", *(f.label for f in FINDINGS), "ECE"], ["---"] * (len(FINDINGS) + 3)]
    body = [
        [name, f"{r['mean_auc']:.3f}", *(_figure(r["auc"][f]) for f in FINDINGS), f"{r['ece']:.3f}"]
        for name, r in rows.items()
    ]
    return "\n".join(_row(cells) for cells in [*header, *body])


def _intervals(ensemble: Report) -> list[str]:
    return [f"{ensemble['auc_95'][f][0]:.3f}–{ensemble['auc_95'][f][1]:.3f}" for f in FINDINGS]


def _detail_table(figures: Report) -> str:
    ensemble = figures["ensemble"]
    lines = [_row(["at the threshold", *(f.label for f in FINDINGS)]), _row(["---"] * (len(FINDINGS) + 1))]
    for key in ("thresholds", "sensitivity", "specificity", "average_precision", "ece_by_finding"):
        lines.append(_row([key.replace("_", " "), *(_figure(ensemble[key][f]) for f in FINDINGS)]))
    return "\n".join(lines) + f"\n\nAll five right: {ensemble['all_five_right']:.3f} of the images."


def _groups(figures: Report) -> str:
    titles = {"by_view": "view", "by_source": "source", "by_native_px": "native resolution"}
    lines = [_row(["group", "images", "mean AUC", *(f.label for f in FINDINGS)])]
    lines.append(_row(["---"] * (len(FINDINGS) + 3)))
    for key, title in titles.items():
        for value, row in figures.get(key, {}).items():
            aucs = [_figure(row["auc"][f]) for f in FINDINGS]
            lines.append(_row([f"{title} {value}", str(row["n"]), _figure(row["mean_auc"]), *aucs]))
    return "\n".join(lines)


def _members(manifest: Manifest) -> str:
    header = ["backbone", "parameters", "input", "scaling", *(f"weight: {f.label}" for f in FINDINGS)]
    lines = [_row(header), _row(["---"] * len(header))]
    for spec in manifest.backbones:
        weights = [f"{w:.2f}" for w in manifest.weights[spec.name]]
        edge = f"{spec.input.size} px"
        lines.append(_row([spec.name, f"{spec.parameters:,}", edge, spec.normalisation, *weights]))
    return "\n".join(lines)


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"

"""Trains the recognition of pictures (`model_worker.decoding.recognition`) and measures it: `python -m training.recognition`.

Chest radiographs come from a labelled data set, split by patient; what is not one from drawings of ours and from files
that packages ship (`--others FOLDER…`: half of each folder's files trains, the other half measures; `--never FOLDER…`
measures only). Nothing that measures is trained with.
"""

import argparse
import csv
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn

from model_worker.decoding.recognition import CONVOLUTIONS, EDGE, OTHER, Shown, recognise, thumbnail
from training.pictures.chests import as_it_may_arrive, contact_sheet, detail, jigsaw
from training.pictures.drawings import DRAWINGS
from training.pictures.files import pictures_in
from training.pictures.grey import Grey, Random, squashed

CHANNELS = (12, 24, 40, 56)
HIDDEN = 48
SHARE = 0.35  # of the chests, drawn anew for each epoch
WEIGHTS = Path("model-worker/src/model_worker/decoding/recognition.npz")
HELD_OUT_DRAWINGS = ("page",)
"""A kind of drawing that only measures."""


def build_network() -> nn.Sequential:
    """The trained form; batch normalisation is folded away in `exported`."""
    layers: list[nn.Module] = []
    before = 1
    for (kernel, padding), channels in zip(CONVOLUTIONS, CHANNELS, strict=True):
        layers += [
            nn.Conv2d(before, channels, kernel, 2, padding, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        ]
        before = channels
    features = before * (EDGE // 16) ** 2
    head = [
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(features, HIDDEN),
        nn.ReLU(),
        nn.Linear(HIDDEN, OTHER + 1),
    ]
    return nn.Sequential(*layers, *head)


def exported(model: nn.Sequential) -> dict[str, np.ndarray]:
    """The weights as `recognition.npz` holds them, float16."""
    arrays: dict[str, Any] = {}
    for i in range(len(CHANNELS)):
        conv, norm = model[3 * i], model[3 * i + 1]
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        arrays[f"w{i}"] = conv.weight * scale[:, None, None, None]
        arrays[f"b{i}"] = norm.bias - norm.running_mean * scale
    for name, layer in (("4", model[-3]), ("5", model[-1])):
        arrays[f"w{name}"], arrays[f"b{name}"] = layer.weight, layer.bias
    return {name: a.detach().numpy().astype(np.float16) for name, a in arrays.items()}


def example(image: Grey, turns: int, inverted: bool) -> np.ndarray:
    """A thumbnail of a picture that was inverted and turned counter-clockwise."""
    return thumbnail(np.ascontiguousarray(np.rot90(255 - image if inverted else image, turns)))


def epoch(
    chests: Grey, others: Sequence[Grey], rng: Random, share: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Each chest of a random share upright and in one of the seven other ways, and as many pictures of something else."""
    x, y = [], []
    picks = rng.choice(len(chests), int(share * len(chests)), replace=False)
    for i in picks:
        image = as_it_may_arrive(chests[i], rng)
        other_way = int(rng.integers(1, OTHER))
        for way in (0, other_way):
            x.append(example(image, way % 4, way >= 4))
            y.append(way)
    for _ in picks:
        image = something_else(chests, others, rng)
        x.append(example(image, int(rng.integers(4)), bool(rng.integers(2))))
        y.append(OTHER)
    return torch.from_numpy(np.stack(x))[:, None], torch.tensor(y)


def something_else(chests: Grey, others: Sequence[Grey], rng: Random) -> Grey:
    """A picture that is not a whole chest."""
    kind = rng.random()
    chest = chests[rng.integers(len(chests))]
    if kind < 0.15:
        return detail(chest, rng)
    if kind < 0.28:
        return jigsaw(chest, rng)
    if kind < 0.33:
        return contact_sheet([chests[i] for i in rng.integers(0, len(chests), 6)], rng)
    if kind < 0.60:
        kinds = [name for name in DRAWINGS if name not in HELD_OUT_DRAWINGS]
        return as_it_may_arrive(DRAWINGS[str(rng.choice(kinds))](rng), rng)
    image = others[rng.integers(len(others))]
    if rng.random() < 0.4:
        image = detail(image, rng)
    if rng.random() < 0.15:
        image = jigsaw(image, rng)
    return as_it_may_arrive(image, rng)


def train(chests: Grey, others: Sequence[Grey], epochs: int, seed: int) -> nn.Sequential:
    """AdamW on fresh pictures each epoch, with the learning rate in one cycle."""
    torch.manual_seed(seed)
    rng, model = np.random.default_rng(seed), build_network()
    optimiser = torch.optim.AdamW(model.parameters(), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, 4e-3, total_steps=epochs * (int(3 * SHARE * len(chests)) // 128 + 2)
    )
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.002)
    for n in range(epochs):
        x, y = epoch(chests, others, rng, SHARE)
        model.train()
        total = 0.0
        for batch in torch.randperm(len(y)).split(128):
            loss = loss_of(model(x[batch]), y[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += float(loss) * len(batch)
        print(f"epoch {n + 1}: loss {total / len(y):.4f}", flush=True)
    return model.eval()


# --- figures -----------------------------------------------------------------------------------------------------


def measure(chests: Grey, others: dict[str, list[Grey]]) -> dict[str, Any]:
    """What `recognise`, as the worker runs it, makes of pictures that it was not trained with."""
    ways = {(turns, inverted): [0, 0, 0] for turns in range(4) for inverted in (False, True)}
    for image in chests:
        for (turns, inverted), counts in ways.items():
            shown = recognise(np.ascontiguousarray(np.rot90(255 - image if inverted else image, turns)))
            right = shown == Shown(chest=True, turns=turns, inverted=inverted)
            counts[0 if right else 1 if not shown.chest else 2] += 1
    figures: dict[str, Any] = {
        f"turned {90 * turns}{' inverted' if inverted else ''}": {
            "right": right / len(chests),
            "refused": refused / len(chests),
            "wrong": wrong / len(chests),
        }
        for (turns, inverted), (right, refused, wrong) in ways.items()
    }
    refused = {name: [not recognise(image).chest for image in images] for name, images in others.items()}
    figures["refused"] = {name: f"{sum(r)} of {len(r)}" for name, r in refused.items()}
    every = [r for rs in refused.values() for r in rs]
    figures["refused in all"] = sum(every) / len(every)
    return figures


# --- data --------------------------------------------------------------------------------------------------------


def chests_of(folder: Path, without: Path | None) -> tuple[Grey, Grey]:
    """The training (85 %) and validation pictures of a data set with `labels.csv`, split by patient."""
    barred = {row["image"] for row in csv.DictReader(without.open())} if without else set()
    parts: tuple[list[Grey], list[Grey]] = [], []
    for row in csv.DictReader((folder / "labels.csv").open()):
        if row["image"] in barred:
            continue
        image = cv2.imread(str(folder / "images" / row["image"]), cv2.IMREAD_GRAYSCALE)
        parts[_hash(row["patient_id"]) % 100 >= 85].append(squashed(image))
    return np.stack(parts[0]), np.stack(parts[1])


def others_of(folders: Sequence[Path], never: Sequence[Path]) -> tuple[list[Grey], dict[str, list[Grey]]]:
    """Pictures to train with, and to measure with by folder. A file is in one of the two, with all its slices."""
    training: list[Grey] = []
    measuring: dict[str, list[Grey]] = {}
    for folder in (*folders, *never):
        for name, image in pictures_in(folder):
            if folder in never or _hash(name) % 2:
                measuring.setdefault(folder.name, []).append(image)
            else:
                training.append(image)
    return training, measuring


def _hash(text: str) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chests", type=Path, required=True, help="a folder with images/ and labels.csv")
    parser.add_argument("--without", type=Path, help="a CSV whose `image` column names images to leave out")
    parser.add_argument("--others", type=Path, nargs="*", default=[], help="folders of other pictures")
    parser.add_argument("--never", type=Path, nargs="*", default=[], help="folders that only measure")
    parser.add_argument("--phantoms", type=Path, nargs="*", default=[], help="drawn chests, trained with")
    parser.add_argument("--epochs", type=int, default=16, help="0: only measure the weights of --out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    options = parser.parse_args()
    training, validation = chests_of(options.chests, options.without)
    phantoms = [squashed(cv2.imread(str(p), cv2.IMREAD_GRAYSCALE)) for p in options.phantoms]
    others, measuring = others_of(options.others, options.never)
    print(f"{len(training)} and {len(validation)} chests, {len(others)} other pictures", flush=True)
    if options.epochs:
        chests = np.stack([*training, *phantoms * (len(training) // 100)])
        np.savez_compressed(options.out, **exported(train(chests, others, options.epochs, options.seed)))
    rng = np.random.default_rng(99)
    measuring |= {name: [DRAWINGS[name](rng) for _ in range(100)] for name in HELD_OUT_DRAWINGS}
    measuring["details of chests"] = [detail(image, rng) for image in validation[:200]]
    print(json.dumps(measure(validation, measuring), indent=1))


if __name__ == "__main__":
    main()

"""Cuts a data set into train, validation and test by patient, seeded, each finding spread over all three."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

PARTS = ("train", "val", "test")
CHOICES = ("all", "all-but-test", *PARTS)
"""What a command can be told to take."""


def split_by_patient(
    patients: Sequence[str],
    labels: npt.NDArray[np.float32],
    seed: int = 20,
    shares: tuple[float, float, float] = (0.70, 0.15, 0.15),
) -> npt.NDArray[np.str_]:
    """The part of each image, [N] of PARTS. `labels` is [N, F] with 1 for present.

    A patient's stratum is the rarest finding that any of their images shows. Inside a stratum patients stand in
    the order of a hash of seed and id, so the cut depends on nothing else, least of all on the order of rows.
    """
    positive = labels == 1
    rarity = np.argsort(positive.sum(0), kind="stable")
    strata: dict[int, list[str]] = defaultdict(list)
    images: dict[str, list[int]] = defaultdict(list)
    for i, patient in enumerate(patients):
        images[patient].append(i)
    for patient, rows in images.items():
        shown = positive[rows].any(0)
        strata[next((int(f) for f in rarity if shown[f]), -1)].append(patient)
    parts = np.empty(len(patients), dtype="<U5")
    for members in strata.values():
        for patient, part in _cut(sorted(members, key=lambda p: _order(seed, p)), images, shares):
            parts[images[patient]] = part
    return parts


def taken(parts: npt.NDArray[np.str_], choice: str) -> npt.NDArray[np.bool_]:
    """Which images [N] of these `parts` [N] are of one of CHOICES."""
    if choice.startswith("all"):
        return (parts != "test") | (choice == "all")
    return parts == choice


def _order(seed: int, patient: str) -> str:
    return hashlib.sha256(f"{seed}:{patient}".encode()).hexdigest()


def _cut(
    members: list[str], images: dict[str, list[int]], shares: tuple[float, float, float]
) -> list[tuple[str, str]]:
    """Give each patient in turn to the part that lacks the largest share of its images."""
    total = sum(len(images[p]) for p in members)
    have = [0.0, 0.0, 0.0]
    given = []
    for patient in members:
        lacking = [share * total - n for share, n in zip(shares, have, strict=True)]
        part = int(np.argmax(lacking))
        have[part] += len(images[patient])
        given.append((patient, PARTS[part]))
    return given

"""`python -m training.distil CHECKPOINT`: writes what a teacher sees, for students that start from nothing."""

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.checkpoint import averaged_classifier, load_checkpoint
from training.datasets import read_table
from training.images import Images, load_images
from training.splits import split_by_patient

AXES = 64


def look(classifier: torch.nn.Module, pixels: Images) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Probabilities [N, 5] and pooled features [N, K] of uint8 [N, s, s] images."""
    device = next(classifier.parameters()).device
    seen: list[tuple[Tensor, Tensor]] = []
    with torch.inference_mode():
        for first in range(0, len(pixels), 64):
            logits, pooled = classifier(torch.from_numpy(pixels[first : first + 64].copy()).to(device))
            seen.append((torch.sigmoid(logits.float()).cpu(), pooled.float().cpu()))
    return torch.cat([p for p, _ in seen]).numpy(), torch.cat([z for _, z in seen]).numpy()


def main_axes(features: NDArray[np.float32], axes: int = AXES) -> NDArray[np.float32]:
    """Features on their `axes` main axes, [N, axes], half-whitened: the first has variance 1, and a later one's
    share of the loss falls with the root of its deviation, so that noise at the end weighs little."""
    centred = features - features.mean(0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    turned = centred @ directions[:axes].T
    deviation = np.maximum(turned.std(0), 1e-6)
    return np.asarray(turned / np.sqrt(deviation * deviation[0]), np.float32)


def main() -> None:
    """The command line: only images of the train part are looked at."""
    parser = argparse.ArgumentParser(description="Write a teacher's probabilities and features.")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--split-seed", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("build/training/teacher.npz"))
    arguments = parser.parse_args()
    table = read_table(arguments.data)
    table = table.take(split_by_patient(table.patients, table.labels, arguments.split_seed) == "train")
    table, pixels = load_images(table, arguments.images, arguments.size, arguments.out.parent / "images")
    classifier = averaged_classifier(load_checkpoint(arguments.checkpoint))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    probabilities, features = look(classifier.to(device), pixels)
    np.savez(arguments.out, images=table.images, probabilities=probabilities, features=main_axes(features))
    print(f"wrote {arguments.out}: {len(table)} images")


if __name__ == "__main__":
    main()

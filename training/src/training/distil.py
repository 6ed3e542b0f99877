"""`python -m training.distil CHECKPOINT`: writes what a teacher sees, for students that start from nothing."""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from training.axes import Axes
from training.backbones import Classifier
from training.checkpoint import averaged_classifier, load_checkpoint
from training.datasets import read_table
from training.images import Images, load_images
from training.splits import split_by_patient

_SAMPLE = 512
"""Images whose maps the main axes are found on: at 224 px, 100,000 places of the finer map."""


def batches(classifier: Classifier, pixels: Images) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """By batches: probabilities [N, 5], the middle and the final maps of uint8 [N, s, s] images, all float."""
    device = next(classifier.parameters()).device
    with torch.inference_mode():
        for first in range(0, len(pixels), 32):
            images = torch.from_numpy(pixels[first : first + 32].copy()).to(device)
            middle, final = (maps.float() for maps in classifier.both_maps(images))
            yield classifier.probabilities(classifier.answer(final)[0]), middle, final


def answers(classifier: Classifier, pixels: Images) -> dict[str, NDArray[np.generic]]:
    """What `targets.load_teacher` reads, all but the images' names."""
    step = max(1, len(pixels) // _SAMPLE)
    _, *samples = (torch.cat(part) for part in zip(*batches(classifier, pixels[::step]), strict=True))
    middle_axes, final_axes = (Axes(sample) for sample in samples)
    seen = [
        (probabilities.cpu().numpy(), middle_axes(middle), final_axes(final))
        for probabilities, middle, final in tqdm(
            batches(classifier, pixels), "looking", -(-len(pixels) // 32)
        )
    ]
    return {
        name: np.concatenate(part)
        for name, part in zip(("probabilities", "middle", "final"), zip(*seen, strict=True), strict=True)
    }


def main() -> None:
    """The command line: only images of the train part are looked at."""
    parser = argparse.ArgumentParser(description="Write a teacher's probabilities and maps.")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--split-seed", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("build/training/teacher.npz"))
    try:
        distil(parser.parse_args())
    except ValueError as error:
        raise SystemExit(str(error)) from error


def distil(arguments: argparse.Namespace) -> None:
    """Look at the images of the train part, and write what was seen."""
    table = read_table(arguments.data)
    table = table.take(split_by_patient(table.patients, table.labels, arguments.split_seed) == "train")
    table, pixels = load_images(table, arguments.images, arguments.size, arguments.out.parent / "images")
    classifier = averaged_classifier(load_checkpoint(arguments.checkpoint))
    classifier.mixed = True
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    np.savez(arguments.out, images=table.images, **answers(classifier.to(device), pixels))  # type: ignore[arg-type]
    print(f"wrote {arguments.out}: {len(table)} images")


if __name__ == "__main__":
    main()

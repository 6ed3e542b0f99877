"""`python -m thorax_offline.golden FOLDER`: a bundle still answers its golden image as on the day that it was made.

A change of a library, a graph's storage or our own preparation may shift every answer a little without an error
anywhere. `golden.json` beside the manifest keeps what the bundle said of `golden.png`; `--write IMAGE` makes both.
"""

import argparse
import math
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from thorax import telemetry
from thorax.bundle import GOLDEN, GOLDEN_IMAGE, Manifest
from thorax.cascade import answering
from thorax.ensemble import combine
from thorax.errors import Code, CodedError
from thorax.findings import FINDINGS, Finding
from thorax.operating_points import ManifestPart, Share
from thorax_offline.reader import Reader, load_bundle

TOLERANCE = 0.05
"""Of the log odds, so that a rare finding is held as closely as a common one: 5 % of a small probability."""


class Golden(ManifestPart):
    """What a bundle said of its golden image: `bundle` is its digest, the probabilities are the calibrated ensemble's.

    `first`: what the first networks of its cascade say alone, so that both of a cascade's ways to an answer are held.
    """

    bundle: str
    probabilities: dict[Finding, Share]
    first: dict[Finding, Share] | None = None
    tolerance: float = TOLERANCE


def write(folder: Path, image: Path) -> Golden:
    """Copy the PNG `image` into a bundle's folder, and write beside it what the bundle says of it."""
    reader = load_bundle(folder)
    own = folder / GOLDEN_IMAGE
    if not (own.exists() and own.samefile(image)):
        shutil.copyfile(image, own)
    golden = _answered(reader)
    (folder / GOLDEN).write_text(golden.model_dump_json(indent=1) + "\n", "utf-8")
    return golden


def check(folder: Path) -> str:
    """One line when all is as it was. Raises CodedError(BUNDLE_INVALID) with every finding that is off."""
    path = folder / GOLDEN
    if not path.is_file():
        return (
            f"{path} is missing. Write it: python -m thorax_offline.golden {folder} --write samples/chest.png"
        )
    try:
        golden = Golden.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise CodedError(Code.BUNDLE_INVALID, f"{path}: {error.errors()[0]['msg']}.") from error
    reader = load_bundle(folder)
    if golden.bundle != reader.bundle.digest:
        raise CodedError(
            Code.BUNDLE_INVALID, f"{path} was written for bundle {golden.bundle[:12]}. Write it anew."
        )
    if (golden.first is None) != (reader.bundle.manifest.cascade is None):
        raise CodedError(
            Code.BUNDLE_INVALID, f"{path} does not hold the cascade's first networks. Write it anew."
        )
    answered = _answered(reader)
    ways = [(golden.probabilities, answered.probabilities), (golden.first or {}, answered.first or {})]
    if wrong := [each for said, says in ways for each in _off(said, says, golden.tolerance)]:
        raise CodedError(Code.BUNDLE_INVALID, f"{folder / GOLDEN_IMAGE}: {'; '.join(wrong)}.")
    return f"{GOLDEN_IMAGE}: as expected, within {golden.tolerance:g} of the log odds"


def _answered(reader: Reader) -> Golden:
    """What the bundle says of its golden image now."""
    manifest = reader.bundle.manifest
    own = reader.predict(reader.bundle.folder / GOLDEN_IMAGE, full=True).backbones
    first = {name: own[name] for name in manifest.cascade.first} if manifest.cascade else None
    return Golden(
        bundle=reader.bundle.digest,
        probabilities=_ensemble(manifest, own),
        first=None if first is None else _ensemble(answering(manifest, first), first),
    )


def _ensemble(manifest: Manifest, own: dict[str, NDArray[np.float32]]) -> dict[Finding, float]:
    probabilities = combine(manifest, own).probabilities
    return {finding: round(float(p), 6) for finding, p in zip(FINDINGS, probabilities, strict=True)}


def _off(said: dict[Finding, float], says: dict[Finding, float], tolerance: float) -> Iterator[str]:
    for finding, expected in said.items():
        if abs(_log_odds(says[finding]) - _log_odds(expected)) > tolerance:
            yield f"{finding} is {says[finding]:.4f}, expected {expected:.4f}"


def _log_odds(probability: float) -> float:
    p = min(max(probability, 1e-6), 1 - 1e-6)
    return math.log(p / (1 - p))


def main() -> int:
    """The command line; 1 and one sentence for a bundle that answers otherwise."""
    parser = argparse.ArgumentParser(description="Hold a bundle against its golden image.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--write", type=Path, metavar="IMAGE", help="make golden.json of this PNG")
    arguments = parser.parse_args()
    telemetry.configure("golden", level="ERROR", form="console")
    try:
        if arguments.write:
            write(arguments.folder, arguments.write)
        print(check(arguments.folder))
    except (CodedError, OSError) as error:
        print(error.detail if isinstance(error, CodedError) else error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Which backbones of a bundle answer an image: with a cascade the first ones, and the rest where these are not sure. Pure functions."""

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from thorax.bundle import Cascade, Manifest
from thorax.ensemble import Ensemble, combine


def asked_first(manifest: Manifest, *, full: bool) -> tuple[str, ...]:
    """The backbones that every image is given to, in the manifest's order; all of them if `full`, or without a cascade."""
    first = manifest.cascade.first if manifest.cascade and not full else None
    return tuple(b.name for b in manifest.backbones if first is None or b.name in first)


def answering(manifest: Manifest, asked: Collection[str]) -> Manifest:
    """The manifest by which those that were asked answer: the first ones alone have weights and a calibration of their own."""
    cascade = manifest.cascade
    if cascade is None or {*asked} != {*cascade.first}:
        return manifest
    changed = {
        "backbones": tuple(b for b in manifest.backbones if b.name in cascade.first),
        "weights": cascade.weights,
        "calibration": cascade.calibration,
        "cascade": None,
    }
    return manifest.model_copy(update=changed)


def still_to_ask(
    manifest: Manifest, asked: Collection[str], probabilities: Mapping[str, NDArray[np.floating]]
) -> tuple[str, ...]:
    """The rest of the backbones, where the first ones were asked and are not sure of an image, or are not all there; else none.

    `probabilities`: each backbone's `[5]`, rounded as the database does, so that whoever asks comes to the same answer.
    """
    cascade = manifest.cascade
    if cascade is None or {*asked} != {*cascade.first}:
        return ()
    stored = {name: np.asarray(five, np.float32) for name, five in probabilities.items()}
    if {*stored} == {*cascade.first} and _sure(cascade, combine(answering(manifest, asked), stored)):
        return ()
    return tuple(b.name for b in manifest.backbones if b.name not in cascade.first)


def unsure(
    probabilities: NDArray[np.floating],
    disagreement: NDArray[np.floating],
    bands: NDArray[np.floating],
    limits: NDArray[np.floating],
) -> NDArray[np.bool_]:
    """Whether the first ones' answers `[..., 5]` are in a band `[5, 2]`, or apart by more than a limit `[5]`: `[...]`."""
    near = (probabilities >= bands[:, 0]) & (probabilities < bands[:, 1])
    return np.asarray((near | (disagreement > limits)).any(-1))


def _sure(cascade: Cascade, first: Ensemble) -> bool:
    bands, limits = np.array(cascade.bands), np.array(cascade.disagreement)
    return not unsure(first.probabilities, first.disagreement, bands, limits)

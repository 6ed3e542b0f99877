"""One image file to findings and maps: the workers' sandbox and graphs, the aggregator's ensemble, one after the other."""

from collections.abc import Collection
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from model_worker.backbone import Backbone, Prediction
from model_worker.decoding.attributes import DicomAttributes
from model_worker.sandbox.answers import Decoded
from model_worker.sandbox.client import decode
from thorax import bundle as bundles
from thorax.bundle import Bundle
from thorax.cascade import answering, asked_first, still_to_ask
from thorax.ensemble import combine
from thorax.errors import Code, CodedError
from thorax.findings import FINDINGS, Finding
from thorax.heatmaps import fuse
from thorax.image_headers import HEAD_BYTES, sniff
from thorax.image_warnings import ImageWarning
from thorax.operating_points import Verdict


@dataclass(frozen=True)
class FindingReading:
    """One finding of one image, as the API answers it; `prevalence` and `times_the_average` are None where the bundle
    states none."""

    finding: Finding
    probability: float
    verdict: Verdict
    threshold: float
    prevalence: float | None
    times_the_average: float | None
    disagreement: float


@dataclass(frozen=True)
class Reading:
    """What a bundle says of one image. Arrays have the findings in canonical order (`thorax.findings.FINDINGS`).

    `probabilities`: float64 `[5]`, calibrated, 0..1. `maps`: float16 `[5, 28, 28]`, 0..1, the share of the manifest's full
    value. `backbones`: the own probabilities of each network that ran, float32 `[5]`, not calibrated. `display_png`: see `image`.
    """

    path: Path
    findings: tuple[FindingReading, ...]
    probabilities: NDArray[np.float64]
    maps: NDArray[np.float16]
    backbones: dict[str, NDArray[np.float32]]
    warnings: tuple[ImageWarning, ...]
    dicom_attributes: DicomAttributes | None
    display_png: bytes

    @property
    def image(self) -> NDArray[np.uint8]:
        """The image as it was analysed: uint8 `[rows, columns]`, upright, bone light, longest side at most 1024."""
        pixels = cv2.imdecode(np.frombuffer(self.display_png, np.uint8), cv2.IMREAD_GRAYSCALE)
        return np.asarray(pixels, np.uint8)


class Reader:
    """A bundle with its graphs loaded. Safe to call from several threads; each call uses one core."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self._backbones = [Backbone(bundle, spec) for spec in bundle.manifest.backbones]

    def predict(self, path: str | PathLike[str], *, force: bool = False, full: bool = False) -> Reading:
        """Read a DICOM, PNG or JPEG file of a frontal chest radiograph.

        Raises CodedError with the API's codes: UNSUPPORTED_MEDIA, UNREADABLE_IMAGE, NOT_A_CHEST, NOT_FRONTAL, … `force`
        turns a clinical refusal into a warning. `full` asks all backbones, also where the bundle's cascade would not.
        """
        manifest, data = self.bundle.manifest, _bytes(Path(path))
        inputs = [spec.input for spec in manifest.backbones]
        decoded = decode(data, sniff(data[:HEAD_BYTES]), inputs, force=force)
        answers = self._ask(asked_first(manifest, full=full), decoded)
        first = {name: answer.probabilities[0] for name, answer in answers.items()}
        answers |= self._ask(still_to_ask(manifest, first, first), decoded)
        backbones = {name: answer.probabilities[0] for name, answer in answers.items()}
        manifest = answering(manifest, backbones)
        ensemble = combine(manifest, backbones)
        return Reading(
            Path(path),
            tuple(
                self._finding(finding, float(p), float(d))
                for finding, p, d in zip(FINDINGS, ensemble.probabilities, ensemble.disagreement, strict=True)
            ),
            ensemble.probabilities,
            fuse(manifest, {name: answer.maps[0] for name, answer in answers.items()}),
            backbones,
            decoded.warnings,
            decoded.dicom_attributes,
            decoded.display_png,
        )

    def _ask(self, names: Collection[str], decoded: Decoded) -> dict[str, Prediction]:
        """One image's predictions by these backbones, as batches of one."""
        asked = (b for b in self._backbones if b.spec.name in names)
        return {b.spec.name: b.predict(decoded.inputs[b.spec.input.key][None]) for b in asked}

    def _finding(self, finding: Finding, probability: float, disagreement: float) -> FindingReading:
        manifest = self.bundle.manifest
        prevalence = manifest.prevalence(finding)
        return FindingReading(
            finding,
            probability,
            manifest.verdict(finding, probability),
            manifest.thresholds[FINDINGS.index(finding)],
            prevalence,
            probability / prevalence if prevalence else None,
            disagreement,
        )


def load_bundle(folder: str | PathLike[str]) -> Reader:
    """Open a bundle's folder and load its graphs. Raises CodedError (BUNDLE_MISSING, BUNDLE_INVALID)."""
    return Reader(bundles.load_bundle(Path(folder)))


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CodedError(Code.UNREADABLE_IMAGE, f"The file can't be opened: {error.strerror}.") from error

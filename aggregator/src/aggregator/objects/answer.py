"""What the objects say: the answer to a study, image by image."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from thorax.findings import FINDINGS, Finding
from thorax.operating_points import Verdict


@dataclass(frozen=True)
class Said:
    """What the ensemble says of one finding in one image; `probability` and `threshold` lie in 0..1."""

    finding: Finding
    probability: float
    threshold: float
    positive: bool
    verdict: Verdict


@dataclass(frozen=True)
class AnalysedImage:
    """One image. `source`: its header without pixels. `display`: grey uint8 `[h, w]`, upright. `maps`: `[5, h, w]` in
    0..1 over the upright image, None where they are erased. `orientation`: how stored pixels become upright ones, as EXIF numbers it. `warnings`: their
    details.

    Without findings it was refused; `refusal` is then the stable code, and `reason` a sentence.
    """

    source: Dataset
    said: tuple[Said, ...] = ()
    maps: NDArray[np.floating] | None = None
    cuts: tuple[float, ...] = (0.5,) * len(FINDINGS)
    display: NDArray[np.uint8] | None = None
    orientation: int = 1
    refusal: str = ""
    reason: str = ""
    warnings: frozenset[str] = frozenset()

    @property
    def is_grey(self) -> bool:
        """Whether its pixels are grey values, which a presentation state of grey values is for (PS3.3 A.33.1)."""
        said = str(self.source.get("PhotometricInterpretation") or "").replace(" ", "").upper()
        return said in ("MONOCHROME1", "MONOCHROME2")

    @property
    def likely(self) -> tuple[Said, ...]:
        """The findings that are likely."""
        return tuple(said for said in self.said if said.verdict is Verdict.LIKELY)


@dataclass(frozen=True)
class Predecessor:
    """The SR of an earlier version of the answer."""

    series_instance_uid: str
    sop_instance_uid: str


@dataclass(frozen=True)
class Answer:
    """The answer to one study, by a bundle (name, version, digest), with when it was ready (aware)."""

    model: str
    version: str
    digest: str
    ready_at: datetime
    images: tuple[AnalysedImage, ...]
    predecessor: Predecessor | None = None

    @property
    def analysed(self) -> tuple[AnalysedImage, ...]:
        """The images that were not refused."""
        return tuple(image for image in self.images if image.said)

"""What every decoder returns, and how a clinical refusal is overruled."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from model_worker.decoding.attributes import DicomAttributes
from thorax.errors import CodedError
from thorax.image_warnings import ImageWarning, WarningCode

DISPLAY_EDGE = 1024  # of the picture that is kept for display, the longest


@dataclass(frozen=True)
class DecodedImage:
    """`grey`: uint8, as it is to be shown: light where X-rays were stopped, upright, perhaps halved some times.

    `rows` and `columns` are its native size. `orientation`: how it was turned (see `decoding.orientation`).
    """

    grey: NDArray[np.uint8]
    rows: int
    columns: int
    orientation: int
    warnings: tuple[ImageWarning, ...]
    dicom_attributes: DicomAttributes | None = None


@dataclass
class Notes:
    """What is to be told about one image. With `force`, refusals of what it shows become warnings too."""

    force: bool = False
    warnings: list[ImageWarning] = field(default_factory=list)

    def warn(self, code: WarningCode, detail: str) -> None:
        """Add a warning: one sentence, without patient data."""
        self.warnings.append(ImageWarning(code, detail))

    def check(self, refusing: Callable[[], None]) -> None:
        """Run a clinical check; what it raises is overruled by `force`."""
        try:
            refusing()
        except CodedError as error:
            if not self.force:
                raise
            self.warn(WarningCode.OVERRULED, error.detail)

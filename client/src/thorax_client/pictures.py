"""Pictures and maps as arrays. Pillow and NumPy are imported when the first is wanted."""

from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Maps:
    """Where the networks looked. `ensemble` and each of `backbones`: float16 `[5, h, w]`, rows in the order of `findings`.

    `ensemble` is 0..1; `backbones` have their own values. On one scale `ensemble * full[:, None, None]` is in `unit`, and a
    place is drawn from `cuts` (float `[5]`, shares of `full`) on; the three are None where the bundle has no scale.
    """

    findings: tuple[str, ...]
    ensemble: "NDArray[np.float16]"
    backbones: "dict[str, NDArray[np.float16]]"
    unit: str | None = None
    full: "NDArray[np.float64] | None" = None
    cuts: "NDArray[np.float64] | None" = None

    def __getitem__(self, finding: str) -> "NDArray[np.float16]":
        """The ensemble's map of one finding, float16 `[h, w]`."""
        found: NDArray[np.float16] = self.ensemble[self.findings.index(finding)]
        return found


def read_maps(npz: bytes) -> Maps:
    """The arrays of a `heatmaps.npz`."""
    import numpy as np

    with np.load(BytesIO(npz), allow_pickle=False) as archive:
        prefix = "backbone_"
        names = [name for name in archive.files if name.startswith(prefix)]
        return Maps(
            tuple(str(finding) for finding in archive["findings"]),
            archive["ensemble"],
            {name.removeprefix(prefix): archive[name] for name in names},
            str(archive["unit"]) if "unit" in archive.files else None,
            archive["full"] if "full" in archive.files else None,
            archive["cuts"] if "cuts" in archive.files else None,
        )


def read_png(png: bytes) -> "NDArray[np.uint8]":
    """A PNG's pixels: uint8 `[rows, columns]`, or `[rows, columns, 3 or 4]` in colour."""
    import numpy as np
    from PIL import Image

    with Image.open(BytesIO(png), formats=["PNG"]) as picture:
        return np.array(picture, np.uint8)

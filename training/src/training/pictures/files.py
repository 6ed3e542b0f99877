"""Pictures in files of any kind."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from training.pictures.grey import Grey, normalised, squashed


def pictures_in(folder: Path) -> Iterator[tuple[str, Grey]]:
    """Every readable picture, DICOM file or volume's slice under a folder, with the path that it came from."""
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        for image in _read(path):
            if min(image.shape) >= 24 and np.ptp(image) > 0:
                yield str(path.relative_to(folder)), squashed(normalised(image))


def _read(path: Path) -> list[npt.NDArray[np.floating]]:
    suffix = path.suffix.lower()
    try:
        if suffix in (".png", ".jpg", ".jpeg", ".webp", ".tif", ".gif", ".bmp"):
            image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
            return [] if image is None else [image]
        if suffix == ".dcm":
            import pydicom

            pixels = pydicom.dcmread(path, force=True).pixel_array
            pixels = pixels if pixels.ndim == 2 else pixels[0] if pixels.ndim == 4 else pixels
            return [
                pixels.mean(-1) if pixels.ndim == 3 and pixels.shape[-1] == 3 else p
                for p in np.atleast_3d(pixels.T).T
            ][:4]
        if suffix in (".gz", ".nii", ".mgz", ".par", ".hdr", ".img"):
            import nibabel

            return _slices(np.asarray(nibabel.load(path).dataobj))
        if suffix in (".npy", ".npz"):
            arrays = np.load(path, allow_pickle=False)
            found = [arrays] if suffix == ".npy" else [arrays[name] for name in arrays.files]
            return [s for a in found for s in _slices(a)]
    except Exception as error:
        print(f"skipped {path.name}: {type(error).__name__}")
    return []


def _slices(volume: npt.NDArray[np.generic]) -> list[npt.NDArray[np.floating]]:
    """A volume's middle slices and its projections along each axis, which look like radiographs."""
    if volume.dtype.kind not in "iuf" or volume.ndim < 2 or min(volume.shape[:2]) < 24:
        return []
    while volume.ndim > 3:
        volume = volume[..., 0]
    values = volume.astype(np.float32)
    if values.ndim == 2:
        return [values]
    planes = []
    for axis in range(3):
        n = values.shape[axis]
        planes += [values.take(int(n * at), axis) for at in (0.35, 0.5, 0.65)]
        planes += [values.mean(axis), values.max(axis)]
    return [p for p in planes if max(p.shape) <= 8 * min(p.shape)]

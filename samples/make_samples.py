"""Makes the two synthetic chest radiographs that the repository ships: images of no real person.

X-rays are projected through ellipsoids and tubes (Beer-Lambert: the film darkens by exp(-sum of mu x path)), then
blurred, given noise, and mapped as a display would. One chest has an enlarged heart and nothing else, the other none
of the five findings. `python samples/make_samples.py` writes chest.png, chest-16bit.png, chest.jpg and chest.dcm (the
enlarged heart) and normal.png beside itself, always with the same bytes.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import UID, DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

SIZE = 896
HERE = Path(__file__).resolve().parent
ROOT = "2.25.107340000000000000000000000000"  # a UUID-derived root (PS3.5 B.2) of our own making
Field = NDArray[np.float64]
Words = NDArray[np.uint16]

Y, X = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]  # image plane; x to the image's right, y down


@dataclass(frozen=True)
class Chest:
    """What the two chests differ in. `heart` is its width and depth against the body's; `vessels` their density;
    `breath` how far the domes of the diaphragm are down, `domes` how round they are; `grain` and `gamma` the film's."""

    heart: float
    vessels: float
    breath: float
    domes: float
    grain: float
    gamma: float


ENLARGED_HEART = Chest(heart=1.5, vessels=1.8, breath=0.06, domes=1.2, grain=0.12, gamma=1.15)
NORMAL = Chest(heart=0.95, vessels=0.8, breath=0.0, domes=1.5, grain=0.02, gamma=1.4)


def ellipsoid(
    x: float, y: float, rx: float, ry: float, rz: float, turn: float = 0.0, power: float = 2
) -> Field:
    """Path length of each ray through an ellipsoid with these centre and radii, turned by degrees."""
    a = np.deg2rad(turn)
    u, v = (X - x) * np.cos(a) + (Y - y) * np.sin(a), -(X - x) * np.sin(a) + (Y - y) * np.cos(a)
    inside = np.clip(1 - np.abs(u / rx) ** power - np.abs(v / ry) ** power, 0, None)
    return np.asarray(2 * rz * np.sqrt(inside))


def tube(points: Field, radius: float, wall: float = 0.0) -> Field:
    """Path length through a bone along points `[n, 2]` (x, y): solid, or a hollow cortex of thickness `wall`."""
    path = np.zeros((SIZE, SIZE))
    pixels = (points + 1) / 2 * (SIZE - 1)
    margin = radius * SIZE / 2 + 3
    low = np.clip(pixels.min(0) - margin, 0, SIZE - 1).astype(int)
    high = np.clip(pixels.max(0) + margin, 1, SIZE).astype(int)
    line = np.ones((high[1] - low[1], high[0] - low[0]), np.uint8)
    if not line.size:
        return path
    fixed = np.rint((pixels - low) * 8).astype(np.int32).reshape(-1, 1, 2)
    cv2.polylines(line, [fixed], False, 0, 1, cv2.LINE_8, 3)
    distance = cv2.distanceTransform(line, cv2.DIST_L2, 5).astype(np.float64) * 2 / SIZE
    solid = np.sqrt(np.clip(radius**2 - distance**2, 0, None))
    marrow = np.sqrt(np.clip((radius - wall) ** 2 - distance**2, 0, None)) if wall else 0
    path[low[1] : high[1], low[0] : high[0]] = 2 * (solid - 0.75 * marrow)
    return path


def blur(image: Field, sigma: float) -> Field:
    """Gaussian blur, sigma in pixels."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), dtype=np.float64)


def ribs() -> Field:
    """Ten pairs: the back part runs out and slightly down, the front part comes back steeply and fainter."""
    total = np.zeros((SIZE, SIZE))
    t = np.linspace(0, 1, 60)
    for n in range(10):
        reach = 0.36 + 0.30 * np.sin(np.pi * (n + 1.2) / 13)
        top = -0.78 + 0.135 * n
        for side in (-1, 1):
            back_x = 0.07 + (reach - 0.07) * np.sin(t * np.pi / 2)
            back_y = top - 0.07 * np.sin(np.pi * t) + 0.16 * t**2
            total += 1.0 * tube(np.stack([side * back_x, back_y], 1), 0.027, 0.008)
            if 0 < n < 8:
                front_x = reach - (reach - 0.16) * t**1.3
                front_y = back_y[-1] + (0.26 + 0.012 * n) * t - 0.05 * np.sin(np.pi * t)
                total += 0.55 * tube(np.stack([side * front_x, front_y], 1), 0.030, 0.007)
    return total


def spine() -> Field:
    """Vertebrae with paler discs between, pedicles and spinous processes."""
    total = np.zeros((SIZE, SIZE))
    for n in range(15):
        y = -0.98 + 0.137 * n
        total += ellipsoid(0, y, 0.072 + 0.0015 * n, 0.058, 0.11, power=6)
        total += 0.35 * ellipsoid(0, y + 0.02, 0.014, 0.035, 0.10)
        for side in (-1, 1):
            total += 0.4 * ellipsoid(side * 0.043, y - 0.012, 0.014, 0.021, 0.10)
            total += 0.3 * ellipsoid(side * 0.105, y - 0.01, 0.05, 0.018, 0.05, side * -12)
    return total


def girdle() -> Field:
    """Clavicles, shoulder blades and upper arms."""
    t = np.linspace(0, 1, 40)
    total = np.zeros((SIZE, SIZE))
    for side in (-1, 1):
        x, y = side * (0.07 + 0.60 * t), -0.60 - 0.13 * t + 0.03 * np.sin(2 * np.pi * t)
        total += 1.3 * tube(np.stack([x, y], 1), 0.028, 0.010)
        blade = np.array([[0.72, -0.62], [0.58, -0.48], [0.60, -0.2], [0.66, -0.02], [0.76, -0.3]])
        total += 0.7 * tube(blade * [side, 1], 0.022, 0.006)
        total += 0.12 * ellipsoid(side * 0.67, -0.33, 0.09, 0.30, 0.2, side * 6)
        arm = np.array([[0.83, -0.60], [0.93, -0.35], [1.12, 0.05]])
        total += 1.5 * tube(arm * [side, 1], 0.055, 0.014) + 0.9 * ellipsoid(
            side * 0.82, -0.63, 0.085, 0.085, 0.07
        )
    return total


def vessels(rng: np.random.Generator) -> Field:
    """Branching lung vessels: from either hilum outwards, ever thinner."""
    total = np.zeros((SIZE, SIZE))

    def grow(x: float, y: float, angle: float, radius: float) -> None:
        if radius < 0.0022:
            return
        length = 0.05 + 5 * radius * rng.uniform(0.7, 1.3)
        bend = np.cumsum(np.r_[angle, rng.normal(0, 0.08, 6)])
        points = np.array([x, y]) + np.cumsum(np.c_[np.cos(bend), np.sin(bend)] * length / 7, axis=0)
        total[:] = total + tube(points, radius)
        for turn in (rng.uniform(0.15, 0.5), -rng.uniform(0.15, 0.5)):
            grow(points[-1, 0], points[-1, 1], bend[-1] + turn, radius * rng.uniform(0.66, 0.8))

    for side in (-1, 1):
        for angle in np.deg2rad([-70, -45, -15, 15, 40, 62, 80]):
            grow(side * 0.15, -0.14, angle if side > 0 else np.pi - angle, 0.0155)
    return total


def attenuation(rng: np.random.Generator, chest: Chest) -> Field:
    """The sum of mu x path along each ray, water = 1, the body about 1 unit thick."""
    body = ellipsoid(0, 0.3, 0.90, 1.75, 0.58, power=2.6)
    body = np.maximum(body, 0.55 * ellipsoid(0, -1.05, 0.27, 0.6, 0.62, power=2.6))
    body = np.maximum(body, 0.9 * ellipsoid(0, -0.55, 0.98, 0.36, 0.42, power=2.6))
    for side in (-1, 1):
        body = np.maximum(body, 0.8 * ellipsoid(side * 0.95, 0.05, 0.17, 0.85, 0.3))
    right = ellipsoid(-0.36, -0.04, 0.29, 0.78, 0.43, 7)
    left = ellipsoid(0.37, -0.02, 0.285, 0.80, 0.43, -7)
    right_edge = 0.36 + chest.breath + 2.6 * chest.domes * (X + 0.28) ** 2
    left_edge = 0.42 + chest.breath + 2.4 * chest.domes * (X - 0.33) ** 2
    dome_right, dome_left = (1 / (1 + np.exp((Y - edge) / 0.012)) for edge in (right_edge, left_edge))
    wide, high = chest.heart, 0.25 * chest.heart**0.5
    heart = np.maximum(
        ellipsoid(0.12 * wide, 0.26, 0.30 * wide, high, 0.30 * wide, 32),
        ellipsoid(-0.05 * wide, 0.16, 0.17 * wide, high, 0.25 * wide),
    )
    middle = np.maximum(
        ellipsoid(0, -0.2, 0.115, 0.9, 0.30, power=3), ellipsoid(0.10, -0.33, 0.085, 0.10, 0.25)
    )
    solid = np.clip((heart + middle) / 0.36, 0, 1)
    air = (right * dome_right + left * dome_left) * (1 - 0.93 * solid)
    trachea = tube(np.array([[0.0, -1.0], [0.005, -0.55], [0.015, -0.30]]), 0.05)
    bubble = ellipsoid(0.33, 0.58, 0.12, 0.07, 0.15, -15)
    bones = 2.3 * ribs() + 0.45 * blur(spine(), 3) + 1.5 * girdle()
    soft = body - 0.80 * air - 0.8 * trachea - 0.7 * bubble + 0.25 * (heart + 0.6 * middle)
    branches = chest.vessels * vessels(rng) * (air > 0.05)
    return np.asarray(np.clip(soft, 0, None) + bones * (body > 0) + branches)


def radiograph(chest: Chest) -> Words:
    """The display values, 12 bits, bone light: uint16 `[SIZE, SIZE]`, 0..4095."""
    rng = np.random.default_rng(20200501)
    path = blur(attenuation(rng, chest), 1.4)
    path = path + chest.grain * blur(rng.normal(size=path.shape), 6)
    photons = rng.poisson(9000 * np.exp(-2.2 * path) + 30)
    film = -np.log(blur(photons / 9030, 0.8))
    film = film + 0.45 * (film - blur(film, 40))  # detail enhancement, as vendors apply it
    low, high = np.percentile(film, [2, 99.6])
    grey = np.clip((film - low) / (high - low), 0, 1) ** chest.gamma
    letter = np.array([[0.87, -0.91], [0.87, -0.83], [0.91, -0.83]])
    grey = np.maximum(grey, tube(letter, 0.009) > 0)
    return np.asarray(grey * 4095 + 0.5).astype(np.uint16)


def coded(code: Code) -> Dataset:
    """An item of a code sequence (PS3.3, table 8.8-1)."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = (
        code.value,
        code.scheme_designator,
        code.meaning,
    )
    return item


def write_dicom(path: Path, image: Words) -> None:
    """A DX image for presentation (PS3.3 A.26), explicit VR little endian, of a synthetic patient."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = DigitalXRayImageStorageForPresentation, UID(f"{ROOT}3")
    ds.StudyInstanceUID, ds.SeriesInstanceUID = UID(f"{ROOT}1"), UID(f"{ROOT}2")
    ds.PatientName, ds.PatientID = "SYNTHETIC^CHEST", "SYNTHETIC-1"
    ds.PatientBirthDate = ds.PatientSex = ds.StudyTime = ds.ReferringPhysicianName = ds.AccessionNumber = ""
    ds.StudyDate, ds.StudyID, ds.SeriesNumber, ds.InstanceNumber = "20200501", "1", 1, 1
    ds.Modality, ds.BodyPartExamined, ds.ViewPosition = "DX", "CHEST", "PA"
    ds.PresentationIntentType, ds.PresentationLUTShape = "FOR PRESENTATION", "IDENTITY"
    ds.PixelIntensityRelationship, ds.PixelIntensityRelationshipSign = "LOG", -1
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = image.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.WindowCenter, ds.WindowWidth, ds.RescaleIntercept, ds.RescaleSlope = 2048, 4096, 0, 1
    ds.ImagerPixelSpacing, ds.BurnedInAnnotation, ds.Manufacturer = [0.4, 0.4], "NO", "Thorax samples"
    ds.PatientOrientation, ds.LossyImageCompression = ["L", "F"], "00"
    ds.ImageType, ds.ImageLaterality, ds.RescaleType = ["ORIGINAL", "PRIMARY", ""], "U", "US"
    ds.DetectorType = ds.PositionerType = ""
    ds.AcquisitionContextSequence = []
    ds.AnatomicRegionSequence = [coded(codes.cid4031.Chest)]
    ds.ViewCodeSequence = [coded(codes.cid4010.PosteroAnterior)]
    ds.ViewCodeSequence[0].ViewModifierCodeSequence = []
    ds.PixelData = image.astype("<u2").tobytes()
    ds["PixelData"].VR = "OW"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dcmwrite(path, ds, enforce_file_format=True)


def main() -> None:
    """Write the five files."""
    image = radiograph(ENLARGED_HEART)
    eight, normal = ((words / 4095 * 255 + 0.5).astype(np.uint8) for words in (image, radiograph(NORMAL)))
    small = cv2.resize(image, (448, 448), interpolation=cv2.INTER_AREA).astype(np.uint16)
    best = [cv2.IMWRITE_PNG_COMPRESSION, 9]
    cv2.imwrite(str(HERE / "chest.png"), eight, best)
    cv2.imwrite(str(HERE / "normal.png"), normal, best)
    cv2.imwrite(str(HERE / "chest-16bit.png"), (small * (65535 / 4095)).astype(np.uint16), best)
    cv2.imwrite(str(HERE / "chest.jpg"), eight, [cv2.IMWRITE_JPEG_QUALITY, 92])
    write_dicom(HERE / "chest.dcm", small)


if __name__ == "__main__":
    main()

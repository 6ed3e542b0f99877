#!/usr/bin/env bash
# Expected: compressing a data set lossily marks it as such. PS3.3 C.7.6.1.1.5 asks for Lossy Image Compression (0028,2110) = 01 on every
#           image that ever was compressed lossily, with its ratio (0028,2112) and method (0028,2114), so that readers are warned.
# Happens:  Dataset.compress() with JPEG 2000 at 20:1 changes pixel values and the transfer syntax, and writes none of the three. After
#           decompressing, the file says nothing about its past.
# Versions: pydicom 3.0.2, pylibjpeg-openjpeg 2.6.0. Date: 2026-11-27.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pydicom==3.0.2 pylibjpeg==2.1.0 pylibjpeg-openjpeg==2.6.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import sys
from importlib.metadata import version

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, JPEG2000, generate_uid

print("pydicom", version("pydicom"), "pylibjpeg-openjpeg", version("pylibjpeg-openjpeg"))

noise = np.random.default_rng(1).integers(0, 60, (256, 256))
pixels = (np.add.outer(np.arange(256), np.arange(256)) * 4 + noise).astype(np.uint16)
ds = Dataset()
ds.file_meta = FileMetaDataset()
ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
ds.SOPClassUID, ds.SOPInstanceUID = ComputedRadiographyImageStorage, generate_uid()
ds.Rows, ds.Columns = pixels.shape
ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 12, 11
ds.PixelData = pixels.tobytes()
ds["PixelData"].VR = "OW"

ds.compress(JPEG2000, j2k_cr=[20])
error = int(np.abs(ds.pixel_array.astype(int) - pixels).max())
ds.decompress()
marks = [name for name in ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod") if name in ds]
print("largest change of a pixel:", error, "of 4095")
print("attributes that tell of it, after decompressing:", marks or "none")
if error == 0 or marks:
    sys.exit("The behaviour has changed.")
print("As found: lossy pixels, unmarked.")
PYTHON

#!/usr/bin/env bash
# Expected: after `Dataset.decompress()` everything in the data set is what its new transfer syntax, Explicit VR Little Endian, says. An Icon Image
#           Sequence (0088,0200) of a compressed file may be compressed, too, as the file is (PS3.5, A.4).
# Happens:  pydicom decompresses the image, not the icon within it, which stays encapsulated where all pixels are to be native (PS3.5, A.2). pydicom
#           writes this file and reads it again without a warning; dcmconv refuses to convert it, and dcm2json to write it as JSON.
#           dcmdrle of dcmtk decompresses both. Delete IconImageSequence before decompressing, or decompress its items, too.
# Versions: pydicom 3.0.2, numpy 2.4.6, dcmtk 3.6.7 (Debian 12). Date: 2026-11-27.
# Needs:    the Debian package dcmtk.
set -euo pipefail
command -v dcmconv >/dev/null || { echo "Install the Debian package dcmtk first." >&2; exit 2; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pydicom==3.0.2 numpy==2.4.6
cd "$folder"
dcmconv --version | sed -n 1p
"$folder/venv/bin/python" -W error - <<'PYTHON'
import subprocess
import sys

import pydicom
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, RLELossless, SecondaryCaptureImageStorage, generate_uid

print("pydicom", pydicom.__version__, "(warnings are errors here)")


def compressed(size, icon=None):
    """A square image of one grey, compressed by RLE; with an icon, if one is given."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID, made.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
    made.Rows = made.Columns = size
    made.BitsAllocated = made.BitsStored = 8
    made.HighBit, made.PixelRepresentation, made.SamplesPerPixel, made.PhotometricInterpretation = 7, 0, 1, "MONOCHROME2"
    made.PixelData = bytes([100]) * size * size
    made["PixelData"].VR = "OB"
    made.compress(RLELossless)
    if icon:
        made.IconImageSequence = [icon]
    return made


def of_icon(image):
    """An image as an item of Icon Image Sequence: what PS3.3, C.7.6.1.1.6 allows, the pixels as they are."""
    item = Dataset()
    item.update({element.tag: element for element in image if element.tag.group in (0x0028, 0x7FE0)})
    return item


def run(*command):
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300)
    print(f"{' '.join(command):33} exit code {ran.returncode:2} {ran.stderr.strip()[:100]!r}")
    return ran.returncode == 0


def lengths(name):
    """The length of the pixels of the image and of its icon, and whether each is encapsulated."""
    read = dcmread(name)
    found = [(len(part.PixelData), part["PixelData"].is_undefined_length) for part in (read, read.IconImageSequence[0])]
    print(f"{name}: {read.file_meta.TransferSyntaxUID.name}; (length, encapsulated) of image and icon: {found}")
    return found


compressed(64, of_icon(compressed(32))).save_as("rle.dcm", enforce_file_format=True)
image = dcmread("rle.dcm")
image.decompress()
image.save_as("pydicom.dcm", enforce_file_format=True)
alone = compressed(64)
alone.decompress()
alone.save_as("without.dcm", enforce_file_format=True)
works = [
    run("dcmdrle", "rle.dcm", "dcmtk.dcm"),
    run("dcmconv", "+ti", "without.dcm", "x.dcm"),
    run("dcmconv", "+ti", "dcmtk.dcm", "x.dcm"),
    run("dcm2json", "dcmtk.dcm", "x.json"),
    run("dcmconv", "+ti", "pydicom.dcm", "x.dcm"),
    run("dcm2json", "pydicom.dcm", "x.json"),
]
by_pydicom, by_dcmtk = lengths("pydicom.dcm"), lengths("dcmtk.dcm")
if works != [True] * 4 + [False] * 2 or by_dcmtk != [(4096, False), (1024, False)] or by_pydicom[0] != (4096, False) or not by_pydicom[1][1]:
    sys.exit("The behaviour has changed.")
print("As found: the icon is compressed still, and dcmtk doesn't take the file.")
PYTHON

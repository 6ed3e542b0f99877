#!/usr/bin/env bash
# Expected: a DICOMweb client asks for the same transfer syntax whether it retrieves an instance alone or with its series.
# Happens:  dicomweb-client's `retrieve_instance` asks for `transfer-syntax=*`, which is the stored one; `retrieve_series`, `retrieve_study` and
#           their iterators name none, which is Explicit VR Little Endian (PS3.18, 8.7.3). From a server that keeps to the standard a compressed
#           image therefore arrives compressed alone and decompressed with its series: other bytes, another Transfer Syntax UID, another digest.
#           Pass media_types=(("application/dicom", "*"),) to have the stored one from each.
# Versions: dicomweb-client 0.61.2. Date: 2026-11-27.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet dicomweb-client==0.61.2 pydicom==3.0.2 numpy==2.3.5
cat >"$folder/ask.py" <<'PYTHON'
import io
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pydicom
from dicomweb_client.api import DICOMwebClient
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, RLELossless, SecondaryCaptureImageStorage, generate_uid


def image():
    """A valid 64 x 64 image, stored as RLE Lossless."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    made.StudyInstanceUID, made.SeriesInstanceUID, made.Modality = generate_uid(), generate_uid(), "OT"
    made.Rows = made.Columns = 64
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PixelRepresentation = 1, "MONOCHROME2", 0
    made.BitsAllocated = made.BitsStored = 8
    made.HighBit = 7
    made.PixelData = np.arange(4096, dtype=np.uint8).tobytes()
    made.compress(RLELossless)
    return made


stored, asked = image(), []


def encoded(accept):
    """The instance as PS3.18, 8.7.3 has it: stored for `*`, Explicit VR Little Endian where no syntax is named."""
    chosen = pydicom.dcmread(io.BytesIO(file))
    if "transfer-syntax=*" not in accept:
        chosen.decompress()
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, chosen, enforce_file_format=True)
    return buffer.getvalue()


class Server(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        asked.append(self.headers["Accept"])
        body = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + encoded(asked[-1]) + b"\r\n--b--\r\n"
        self.send_response(200)
        self.send_header("Content-Type", 'multipart/related; type="application/dicom"; boundary=b')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *rest):
        pass


buffer = io.BytesIO()
pydicom.dcmwrite(buffer, stored, enforce_file_format=True)
file = buffer.getvalue()
server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = DICOMwebClient(f"http://127.0.0.1:{server.server_port}")
study, series, instance = stored.StudyInstanceUID, stored.SeriesInstanceUID, stored.SOPInstanceUID
alone = client.retrieve_instance(study, series, instance)
(with_series,) = client.retrieve_series(study, series)
(with_study,) = client.retrieve_study(study)
for name, accept, got in zip(
    ("retrieve_instance", "retrieve_series", "retrieve_study"), asked, (alone, with_series, with_study), strict=True
):
    print(f"{name:18} Accept: {accept:75} -> {got.file_meta.TransferSyntaxUID.name}, {len(got.PixelData)} bytes")
syntaxes = [got.file_meta.TransferSyntaxUID for got in (alone, with_series, with_study)]
if syntaxes != [RLELossless, ExplicitVRLittleEndian, ExplicitVRLittleEndian]:
    sys.exit("The behaviour has changed.")
print("As found: alone as it is stored, with its series decompressed.")
PYTHON
"$folder/venv/bin/python" "$folder/ask.py"

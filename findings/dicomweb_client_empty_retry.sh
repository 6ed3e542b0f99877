#!/usr/bin/env bash
# Expected: a DICOMweb client that tries a STOW-RS request again sends the same request again; if it can't, it raises the error of the first try.
# Happens:  dicomweb-client sends what is larger than its chunk size (1 MB, so nearly every radiograph) from a generator, which the first try uses up.
#           After a 503 of a proxy (or 408, 429, 504) the second try has an empty body. Orthanc answers an empty STOW-RS with 200, so `store_instances`
#           returns without an error and the image is nowhere. Smaller ones are sent again whole. Read Referenced SOP Sequence (0008,1199) of the
#           answer, or pass a chunk_size larger than any message, or call `set_http_retry_params(retry=False)`.
# Versions: dicomweb-client 0.61.2, Orthanc 1.10.1 with DICOMweb plugin 1.7 (Debian 12), pydicom 3.0.2, requests 2.34.2. Date: 2026-11-27.
# Needs:    the Debian packages orthanc and orthanc-dicomweb, not running as a service: `Orthanc` on PATH.
set -euo pipefail
command -v Orthanc >/dev/null || { echo "Install the Debian packages orthanc and orthanc-dicomweb first." >&2; exit 2; }
folder=$(mktemp -d)
trap 'kill "${orthanc:-}" 2>/dev/null || true; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet dicomweb-client==0.61.2 pydicom==3.0.2 requests==2.34.2
cat >"$folder/orthanc.json" <<JSON
{"Name": "finding", "StorageDirectory": "$folder/db", "HttpPort": 18042, "DicomPort": 14242, "RemoteAccessAllowed": false,
 "AuthenticationEnabled": false, "Plugins": ["/usr/share/orthanc/plugins/libOrthancDicomWeb.so"]}
JSON
Orthanc "$folder/orthanc.json" >"$folder/log" 2>&1 &
orthanc=$!
Orthanc --version | sed -n 1p
cat >"$folder/send.py" <<'PYTHON'
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

import requests
from dicomweb_client.api import DICOMwebClient
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

print("dicomweb-client", version("dicomweb-client"))
ORTHANC = "http://127.0.0.1:18042"
bodies = []


class Proxy(BaseHTTPRequestHandler):
    """A proxy before Orthanc. It answers each sender's first try with 503, as HAProxy does while the server behind it restarts."""

    protocol_version = "HTTP/1.1"

    def body(self):
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers["Content-Length"]))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def do_POST(self):
        body = self.body()
        bodies.append(len(body))
        status, content = 503, b""
        if len(bodies) > 1:
            kept = {name: self.headers[name] for name in ("Content-Type", "Accept")}
            answer = requests.post(ORTHANC + self.path, data=body, headers=kept, timeout=300)
            status, content = answer.status_code, answer.content
        self.send_response(status)
        self.send_header("Content-Type", "application/dicom+json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *rest):
        pass


def image(size):
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID, made.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
    made.StudyInstanceUID, made.SeriesInstanceUID, made.Modality, made.PatientID = generate_uid(), generate_uid(), "OT", "1"
    made.Rows = made.Columns = size
    made.BitsAllocated = made.BitsStored = 8
    made.HighBit, made.PixelRepresentation, made.SamplesPerPixel, made.PhotometricInterpretation = 7, 0, 1, "MONOCHROME2"
    made.PixelData = bytes(size * size)
    made["PixelData"].VR = "OB"
    return made


def send(size):
    """The bytes of each try, how many instances the answer names as stored, and how many more Orthanc has."""
    bodies.clear()
    before = requests.get(ORTHANC + "/statistics", timeout=60).json()["CountInstances"]
    client = DICOMwebClient(f"http://127.0.0.1:{proxy.server_port}/dicom-web")
    client.set_http_retry_params(wait_exponential_multiplier=1)  # tries again at once
    answer = client.store_instances([image(size)])
    more = requests.get(ORTHANC + "/statistics", timeout=60).json()["CountInstances"] - before
    print(f"{size} x {size} pixels: bodies of {bodies} bytes, no exception, {len(answer.ReferencedSOPSequence or [])} named, {more} in Orthanc")
    return [length > size * size for length in bodies], len(answer.ReferencedSOPSequence or []), more


for _ in range(100):
    try:
        requests.get(ORTHANC + "/system", timeout=60)
        break
    except requests.ConnectionError:
        time.sleep(0.2)
proxy = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
threading.Thread(target=proxy.serve_forever, daemon=True).start()
small, large = send(512), send(1024)
if small != ([True, True], 1, 1) or large != ([True, False], 0, 0) or bodies[1] != 0:
    sys.exit("The behaviour has changed.")
print("As found: the second try of the large image is empty, and nobody says so.")
PYTHON
"$folder/venv/bin/python" -W ignore "$folder/send.py"

#!/usr/bin/env bash
# Expected: an HTTP client's Host header names the port, where it is not the scheme's default (RFC 9110, 7.2).
# Happens:  dicomweb-client sets Host itself, to the host's name without the port, for everything but its streaming calls. A server that makes its
#           links from Host (BulkDataURI in metadata, Retrieve URL in search results) therefore answers links to port 80 or 443, and the client's own
#           `retrieve_bulkdata` of such a link fails. `iter_series` and the like send the port, so the same server gives the same client two links.
# Versions: dicomweb-client 0.61.2, requests 2.34.2. Date: 2026-11-27.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet dicomweb-client==0.61.2 requests==2.34.2
cat >"$folder/ask.py" <<'PYTHON'
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests
from dicomweb_client.api import DICOMwebClient

hosts = []


class Server(BaseHTTPRequestHandler):
    """Answers the metadata of an instance; its pixels are behind a link made from Host, as RFC 9110 allows."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        hosts.append(self.headers["Host"])
        link = f"http://{self.headers['Host']}/bulkdata/1"
        body = json.dumps([{"7FE00010": {"vr": "OW", "BulkDataURI": link}}]).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/dicom+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *rest):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}"
requests.get(url, timeout=5)
(metadata,) = DICOMwebClient(url).retrieve_study_metadata("1.2.3")
plain, asked = (host == f"127.0.0.1:{server.server_port}" for host in hosts)
print(f"requests alone     Host with port: {plain}")
print(f"dicomweb-client    Host with port: {asked}, the link it got: {metadata['7FE00010']['BulkDataURI']}")
if (plain, asked) != (True, False):
    sys.exit("The behaviour has changed.")
print("As found: the port is missing, so links made from Host lead elsewhere.")
PYTHON
"$folder/venv/bin/python" "$folder/ask.py"

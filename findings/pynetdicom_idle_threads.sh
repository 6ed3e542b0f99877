#!/usr/bin/env bash
# Expected: a DICOM association on which nobody speaks costs nothing: its thread waits in a select until the peer sends something. Peers keep associations
#           open for minutes, and a server takes ten or a hundred of them.
# Happens:  each association of pynetdicom has two threads, on either side, and each of them looks a thousand times per second whether there is
#           something to do (1 ms is the sleep between two looks, not configurable by AE). Five idle associations wake a process some ten thousand
#           times per second, and all these threads want the interpreter's lock that the working ones need. Release associations, keep
#           `maximum_associations` low, or accept them in a process of their own. The server without associations is quiet: two looks per second.
# Versions: pynetdicom 3.0.4, pydicom 3.0.2, Linux (counts the context switches of its threads). Date: 2026-11-28.
set -euo pipefail
[[ -r /proc/self/task ]] || { echo "Needs Linux's /proc." >&2; exit 2; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pynetdicom==3.0.4 pydicom==3.0.2
cat >"$folder/peer.py" <<'PYTHON'
import sys

from pynetdicom import AE
from pynetdicom.sop_class import Verification

entity = AE()
entity.add_requested_context(Verification)
associations = [entity.associate("127.0.0.1", int(sys.argv[1])) for _ in range(int(sys.argv[2]))]
print("open" if all(association.is_established for association in associations) else "failed", flush=True)
sys.stdin.read()
for association in associations:
    association.release()
PYTHON
"$folder/venv/bin/python" - "$folder/peer.py" <<'PYTHON'
import os
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

from pynetdicom import AE
from pynetdicom.sop_class import Verification

SECONDS = 4


def switches():
    """How often this process's threads have gone to sleep and been woken."""
    texts = [(task / "status").read_text() for task in Path("/proc/self/task").iterdir()]
    return sum(int(line.split()[1]) for text in texts for line in text.splitlines() if line.startswith("voluntary_ctxt"))


def watch(text):
    """Wake-ups per second while nobody does anything."""
    woken, used = switches(), sum(os.times()[:2])
    time.sleep(SECONDS)
    rate, share = (switches() - woken) / SECONDS, (sum(os.times()[:2]) - used) / SECONDS
    print(f"{text:26} {rate:7.0f} wake-ups per second, {share:.1%} of one core")
    return rate


print("pynetdicom", version("pynetdicom"))
entity = AE()
entity.add_supported_context(Verification)
server = entity.start_server(("127.0.0.1", 0), block=False)
rates = [watch("no association")]
for count in (1, 5):
    command = [sys.executable, sys.argv[1], str(server.server_address[1]), str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as peer:
        if peer.stdout.readline().strip() != "open":
            sys.exit("The associations were not accepted.")
        rates.append(watch(f"{count} idle association(s)"))
        peer.stdin.close()
    time.sleep(2)
server.shutdown()
if not (rates[0] < 50 and rates[1] > 300 and rates[2] > 2 * rates[1]):
    sys.exit("The behaviour has changed.")
print("As found: an idle association is looked at all the time.")
PYTHON

#!/usr/bin/env bash
# Expected: a DICOM server that no peer talks to leaves the process alone: it waits in a select.
# Happens:  each pynetdicom server asks for a full garbage collection (`gc.collect()`) after every 60 turns of its loop, each half a second, whether a peer
#           came or not. It holds the interpreter's lock while it looks at every object of the process, so where the server's neighbours hold many
#           (caches, data sets, a model), all threads stand still every 30 s, and each further server of the process adds its own. The objects that a
#           program keeps for good can be taken out by `gc.freeze()` before the server starts.
# Versions: pynetdicom 3.0.4, pydicom 3.0.2. Date: 2026-11-27.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pynetdicom==3.0.4 pydicom==3.0.2
"$folder/venv/bin/python" - <<'PYTHON'
import gc
import sys
import threading
import time

import pynetdicom
from pynetdicom import AE
from pynetdicom.sop_class import Verification

print("pynetdicom", pynetdicom.__version__, "Python", sys.version.split()[0])
kept = [{"number": number} for number in range(1_000_000)]  # what a program may hold beside its server
pauses = []


def watch(phase, about):
    """Called by the garbage collector before and after each collection."""
    if about["generation"] == 2:
        pauses.append([threading.current_thread().name, time.perf_counter()]) if phase == "start" else pauses[-1].append(time.perf_counter())


def idle(seconds):
    """The pauses of full collections within so many seconds in which nobody does anything."""
    gc.collect()
    pauses.clear()
    gc.callbacks.append(watch)
    time.sleep(seconds)
    gc.callbacks.remove(watch)
    complete = [pause for pause in pauses if len(pause) == 3]
    print(f"  {len(complete)} full collections in {seconds} s:", [f"{1000 * (end - start):.0f} ms in {name}" for name, start, end in complete])
    return len(complete)


def serve():
    entity = AE("IDLE")
    entity.add_supported_context(Verification)
    return entity.start_server(("127.0.0.1", 0), block=False)


print("no server:")
none = idle(40)
print("one server, no peer:")
servers = [serve()]
one = idle(40)
print("and after gc.freeze():")
gc.freeze()
idle(40)
for server in servers:
    server.shutdown()
if none or not one:
    sys.exit("The behaviour has changed.")
print("As found: the idle server makes the whole process wait.")
PYTHON

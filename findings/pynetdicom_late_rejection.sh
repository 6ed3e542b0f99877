#!/usr/bin/env bash
# Expected: when a peer rejects an association (A-ASSOCIATE-RJ) and closes the connection, as Orthanc does, pynetdicom's requestor says
#           `is_rejected`, and `acceptor.primitive` names the reason. A sender can then tell "wrong AE title" from "peer is away".
# Happens:  if the requestor's thread looks a moment late (a busy machine, or a handler of EVT_REQUESTED that takes its time), the connection
#           is closed already, and it says `is_aborted`, as for a peer that was never reached. The rejection has been received all the same: it
#           waits unread in the association's queue (`dul.peek_next_pdu()`). Without a handler this was seen in 2 of 150 associations with
#           Orthanc on two cores. A sender that retries only what may pass would try a permanent refusal again.
# Versions: pynetdicom 3.0.4, pydicom 3.0.2. Date: 2026-11-27.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pynetdicom==3.0.4 pydicom==3.0.2
"$folder/venv/bin/python" - <<'PYTHON'
import socket
import sys
import threading
import time

import pydicom
import pynetdicom
from pynetdicom import AE, evt
from pynetdicom.sop_class import Verification

print("pynetdicom", pynetdicom.__version__, "pydicom", pydicom.__version__)
REJECTION = bytes.fromhex("03 00 00000004 00 01 01 07")  # permanent, by the service user, called AE title (PS3.8, 9.3.4)


def associate(handler_s):
    """What the requestor says of a peer that rejects and closes, if a handler of EVT_REQUESTED takes so long."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def reject():
            connection, _ = listener.accept()
            connection.recv(65536)
            connection.sendall(REJECTION)
            if not handler_s:
                time.sleep(0.5)  # this peer closes later
            connection.close()

        peer = threading.Thread(target=reject)
        peer.start()
        sender = AE()
        sender.add_requested_context(Verification)
        association = sender.associate(
            *listener.getsockname(), evt_handlers=[(evt.EVT_REQUESTED, lambda _: time.sleep(handler_s))]
        )
        waiting = association.dul.peek_next_pdu()
        peer.join()
    told = "rejected" if association.is_rejected else "aborted" if association.is_aborted else "neither"
    return told, type(waiting).__name__, getattr(waiting, "reason_str", None)


early, late = associate(0), associate(0.3)
print("looks in time:", early)
print("looks late:   ", late)
sys.exit(0 if early[0] == "rejected" and late[:2] == ("aborted", "A_ASSOCIATE") else 1)
PYTHON

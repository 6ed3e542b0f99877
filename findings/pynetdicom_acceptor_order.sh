#!/usr/bin/env bash
# Expected: in a DICOM association the acceptor takes the first transfer syntax that the requestor proposes and that it supports, since the
#           requestor lists what it can send. A sender that offers [JPEG 2000, Explicit VR Little Endian] can then send its JPEG 2000 file.
# Happens:  pynetdicom's acceptor takes the first of *its own* list that was proposed. If that list begins with Explicit VR Little Endian,
#           the context is accepted with it, and the sender's compressed file cannot be sent although both sides know JPEG 2000.
#           (PS3.8 9.3.3 lets the acceptor choose any of those proposed.)
# Versions: pynetdicom 3.0.4, pydicom 3.0.2. Date: 2026-11-27.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pynetdicom==3.0.4 pydicom==3.0.2
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import pydicom
import pynetdicom
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless
from pynetdicom import AE, evt
from pynetdicom.sop_class import ComputedRadiographyImageStorage as CR

print("pynetdicom", pynetdicom.__version__, "pydicom", pydicom.__version__)


def agreed(acceptor_list, proposed):
    """The transfer syntax on which an association over loopback agrees."""
    acceptor = AE()
    acceptor.add_supported_context(CR, acceptor_list)
    server = acceptor.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, lambda _: 0)])
    sender = AE()
    sender.add_requested_context(CR, proposed)
    association = sender.associate("127.0.0.1", server.socket.getsockname()[1])
    found = association.accepted_contexts[0].transfer_syntax[0]
    association.release()
    server.shutdown()
    return found


proposed = [JPEG2000Lossless, ExplicitVRLittleEndian]
first = agreed([ExplicitVRLittleEndian, JPEG2000Lossless], proposed)
second = agreed([JPEG2000Lossless, ExplicitVRLittleEndian], proposed)
print("proposed:", [uid.name for uid in proposed])
print("acceptor lists Explicit VR Little Endian first:", first.name)
print("acceptor lists JPEG 2000 first:               ", second.name)
if (first, second) != (ExplicitVRLittleEndian, JPEG2000Lossless):
    sys.exit("The behaviour has changed.")
print("As found: the acceptor's order decides, not the sender's.")
PYTHON

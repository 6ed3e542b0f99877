#!/usr/bin/env bash
# Expected: `Webhook.sign` signs the moment that a datetime tells, whatever its time zone is.
# Happens:  it replaces the time zone by UTC and keeps the digits: an aware 14:00+02:00 is signed as 14:00 UTC, and the naive `datetime.now()` of a machine
#           east or west of Greenwich as another moment, too. A receiver that gets the true moment in `webhook-timestamp` finds no matching signature.
#           Pass `datetime.now(timezone.utc)`.
# Versions: standardwebhooks 1.1.0. Date: 2026-11-27.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet standardwebhooks==1.1.0
cat >"$folder/zones.py" <<'PYTHON'
import sys
from datetime import datetime, timedelta, timezone
from importlib.metadata import version

from standardwebhooks import Webhook, WebhookVerificationError

webhook, body = Webhook("whsec_" + "c2VjcmV0" * 4), '{"type": "finding"}'


def accepted(zone):
    now = datetime.now(zone)
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": webhook.sign("msg_1", now, body),
    }
    try:
        webhook.verify(body, headers)
        found = True
    except WebhookVerificationError as error:
        found = str(error)
    print(f"now in {zone}: timestamp {headers['webhook-timestamp']} -> {found}")
    return found


print("standardwebhooks", version("standardwebhooks"))
zones = [timezone.utc, timezone(timedelta(hours=2)), timezone(timedelta(hours=-5))]
moment = datetime(2026, 11, 27, 12, tzinfo=timezone.utc)
signatures = {webhook.sign("msg_1", moment.astimezone(zone), body) for zone in zones}
print(f"one moment in {len(zones)} time zones: {len(signatures)} signatures")
if [accepted(zone) for zone in zones] != [True, *["No matching signature found"] * 2] or len(signatures) != 3:
    sys.exit("The behaviour has changed.")
print("As found: the digits are signed as if they were UTC.")
PYTHON
"$folder/venv/bin/python" "$folder/zones.py"

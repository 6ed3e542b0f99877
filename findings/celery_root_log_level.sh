#!/usr/bin/env bash
# Expected: with `worker_hijack_root_logger = False` Celery leaves the root logger as the program configured it.
# Happens:  only its handlers stay. `app.Worker(loglevel=...)`, which is also what `celery worker -l` calls, still sets the root logger's level,
#           "WARNING" where none is given: a program that logs at INFO says nothing more once its worker is made, and one that logs at WARNING
#           prints every library's INFO lines. Connect a receiver to `celery.signals.setup_logging` to keep both.
# Versions: celery 5.6.2. Date: 2026-11-27.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet celery==5.6.2
cat >"$folder/levels.py" <<'PYTHON'
import logging
import sys
import warnings

import celery
from celery import Celery, signals

warnings.simplefilter("ignore")  # of running as root


def level_after(own, asked, receiver):
    if receiver:
        signals.setup_logging.connect(receiver)
    logging.basicConfig(level=own, force=True)
    handlers = logging.getLogger().handlers[:]
    app = Celery("finding", broker="memory://")
    app.conf.worker_hijack_root_logger = False
    app.log.already_setup = False
    type(app.log)._setup = False
    app.Worker(pool="solo", **asked)
    signals.setup_logging.receivers.clear()
    found = logging.getLevelName(logging.getLogger().level)
    kept = logging.getLogger().handlers == handlers
    print(f"root at {own:7} Worker({asked}) receiver: {bool(receiver)!s:5} -> {found}, own handlers kept: {kept}")
    return found, kept


def receiver(**_arguments):
    pass


print("celery", celery.__version__)
found = [
    level_after("INFO", {}, None),
    level_after("WARNING", {"loglevel": "INFO"}, None),
    level_after("INFO", {}, receiver),
]
if found != [("WARNING", True), ("INFO", True), ("INFO", True)]:
    sys.exit("The behaviour has changed.")
print("As found: the handlers stay, the level doesn't.")
PYTHON
"$folder/venv/bin/python" "$folder/levels.py"

#!/usr/bin/env bash
# Expected: a task with `acks_late=True` and `reject_on_worker_lost=True` runs again when its worker is killed, once another worker is there; with Redis it
#           does after the visibility timeout. A database as broker, which keeps messages in a table, can't be worse at keeping them.
# Happens:  kombu's SQL transport (broker URL sqla+postgresql://..., sqla+sqlite://...) marks a message as invisible when a worker takes it, and nothing
#           makes it visible again: what a killed worker had taken is lost. The rows stay, with the arguments, also those of tasks that are done, so
#           the table grows with every task until `celery purge`, which takes the waiting ones, too.
# Versions: celery 5.7.0, kombu 5.7.0, SQLAlchemy 2.1.9. Date: 2026-11-27.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet celery==5.7.0 kombu==5.7.0 sqlalchemy==2.1.9
cd "$folder"
cat >tasks.py <<'PYTHON'
import os
import signal
from pathlib import Path

from celery import Celery

app = Celery(broker="sqla+sqlite:///broker.sqlite")
app.conf.update(task_acks_late=True, task_reject_on_worker_lost=True, worker_prefetch_multiplier=1, worker_enable_remote_control=False)


def note(line):
    with Path("ran").open("a") as file:
        file.write(line + "\n")


@app.task
def study(number):
    """Works on a study; the first worker loses its power at study 2."""
    note(f"{os.environ['WORKER']} began study {number}")
    if number == 2 and os.environ["WORKER"] == "first":
        os.kill(os.getpid(), signal.SIGKILL)
    note(f"{os.environ['WORKER']} ended study {number}")
PYTHON
cat >run.py <<'PYTHON'
import os
import sqlite3
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

from tasks import app, study

print(*(f"{name} {version(name)}" for name in ("celery", "kombu", "sqlalchemy")))


def worker(name):
    command = [sys.executable, "-m", "celery", "-A", "tasks", "worker", "-P", "solo", "--without-gossip", "--without-mingle", "-l", "ERROR"]
    return subprocess.Popen(command, env=os.environ | {"WORKER": name}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def ran(line):
    return Path("ran").exists() and line in Path("ran").read_text().splitlines()


def wait_for(condition):
    for _ in range(1500):
        if condition():
            return
        time.sleep(0.2)
    sys.exit("Nothing came within five minutes.")


for number in (1, 2, 3):
    study.delay(number)
worker("first").wait()
study.delay(4)
second = worker("second")
wait_for(lambda: ran("second ended study 4"))
time.sleep(20)  # for what might come yet
second.terminate()
second.wait()
print(Path("ran").read_text(), end="")
again = [number for number in (1, 2, 3, 4) if ran(f"second ended study {number}")]
rows = sqlite3.connect("broker.sqlite").execute("SELECT visible, count(*) FROM kombu_message GROUP BY visible").fetchall()
print("the second worker ended:", again, "rows of kombu_message (visible, count):", rows)
if 2 in again or not ran("first began study 2") or rows != [(0, 4)]:
    sys.exit("The behaviour has changed.")
print("As found: study 2 is lost, and all four messages are in the table still.")
PYTHON
"$folder/venv/bin/python" -W ignore run.py

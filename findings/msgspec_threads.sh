#!/usr/bin/env bash
# Expected: a library whose functions are said to be thread-safe (msgspec, pull request 402) can be called by several threads at once, also at first.
# Happens:  the process ends with SIGSEGV. The first decode of a Struct builds what is known of its type, and marks the type as known before its
#           fields are; in between, Python code reads the annotations, so that another thread may have its turn and decodes by half of it.
#           A `msgspec.json.Decoder(Type)` built before the threads start helps.
# Versions: msgspec 0.19.0 to 0.22.0, CPython 3.11 with its lock. Date: 2026-11-28.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet msgspec==0.22.0
cat >"$folder/race.py" <<'PYTHON'
import datetime
import sys
import threading
import uuid

import msgspec


class C(msgspec.Struct):
    a: int
    b: "dict[str, float]"


class B(msgspec.Struct):
    c: "list[C]"
    d: "C | None"
    e: "datetime.datetime | None"


class A(msgspec.Struct):
    b: "list[B]"
    i: "uuid.UUID"
    f: "B | None"


TEXT = msgspec.json.encode({"b": [{"c": [{"a": 1, "b": {"x": 1.0}}], "d": None, "e": None}], "i": str(uuid.uuid4()), "f": None})
if sys.argv[1] == "before":
    msgspec.json.Decoder(A)
sys.setswitchinterval(1e-6)
together = threading.Barrier(8)


def work():
    together.wait()
    msgspec.json.decode(TEXT, type=A)


threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
PYTHON
ended() { # how many of 40 processes a signal ended
  local count=0
  for _ in {1..40}; do
    "$folder/venv/bin/python" "$folder/race.py" "$1" >/dev/null 2>&1 || [ $? -lt 128 ] || count=$((count + 1))
  done 2>/dev/null
  echo "$count"
}
"$folder/venv/bin/python" -VV
first=$(ended first)
before=$(ended before)
echo "first decode by eight threads: $first of 40 processes ended by a signal; with a Decoder built before: $before"
((first > 0 && before == 0)) || { echo "The behaviour has changed."; exit 1; }
echo "As found: the first decode of a type must not be two threads'."

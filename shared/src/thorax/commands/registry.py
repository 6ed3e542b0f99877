"""The bundles that the platform knows: which is the default, which is a tenant's own, which is the shadow.

Every function works in the caller's transaction, as the schema's owner.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection, Row

from thorax import queries
from thorax.bundle import Bundle, Manifest

_SQL = queries.load(__file__)


@dataclass(frozen=True)
class Loading:
    """Which of a bundle's backbones no worker has loaded, and how many workers that have found it still load."""

    missing: tuple[str, ...]
    pending: int
    workers: int


def register(connection: Connection, found: Bundle) -> None:
    """Make a bundle known, or take over its new card."""
    values = {
        "digest": found.digest,
        "name": found.manifest.name,
        "version": found.manifest.version,
        "manifest": orjson.dumps(found.manifest.model_dump(mode="json")).decode(),
        "card": found.card,
    }
    connection.execute(_SQL["register"], values)


def known(connection: Connection) -> Sequence[Row[Any]]:
    """All registered bundles, the default first."""
    return connection.execute(_SQL["known"]).all()


def manifest(connection: Connection, digest: str) -> Manifest:
    """What a registered bundle says of itself, without what only a newer version knows."""
    stored = connection.execute(_SQL["manifest"], {"digest": digest})
    return Manifest.model_validate(stored.scalar_one(), extra="ignore")


def activate(connection: Connection, digest: str, tenant: UUID | None = None) -> None:
    """New jobs of everybody, or of one tenant, use this bundle from now on."""
    if tenant:
        connection.execute(_SQL["activate_for_tenant"], {"tenant": tenant, "digest": digest})
        return
    connection.execute(_SQL["lock"])
    connection.execute(_SQL["step_down"], {"digest": digest})
    connection.execute(_SQL["activate"], {"digest": digest})


def deactivate(connection: Connection, tenant: UUID) -> bool:
    """The tenant's new jobs use the default again; False if they did so before."""
    return connection.execute(_SQL["deactivate_for_tenant"], {"tenant": tenant}).rowcount > 0


def preload(connection: Connection, digest: str) -> None:
    """Have the workers load it, and keep it for ten minutes though nothing uses it."""
    connection.execute(_SQL["preload"], {"digest": digest})


def loading(connection: Connection, digest: str, backbones: Sequence[str]) -> Loading:
    """How far the living workers are with loading a bundle."""
    rows = connection.execute(_SQL["loading"], {"digest": digest}).all()
    have = {name for row in rows if row.loaded for name in row.backbones}
    pending = sum(row.found and not row.loaded for row in rows)
    return Loading(tuple(name for name in backbones if name not in have), pending, len(rows))


def shadow(connection: Connection, digest: str, share: float, past_hours: int = 0) -> None:
    """From now on (and for jobs of the hours past) this bundle repeats a share of the jobs that succeed."""
    unshadow(connection, but=digest)
    connection.execute(_SQL["start_shadow"], {"digest": digest, "share": share, "hours": past_hours})


def unshadow(connection: Connection, but: str = "") -> None:
    """End the use of any bundle (but this one) as a shadow, and delete what it has not finished."""
    connection.execute(_SQL["end_shadows"], {"digest": but})
    connection.execute(_SQL["delete_unfinished_shadow_jobs"], {"digest": but})

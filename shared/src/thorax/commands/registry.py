"""The bundles that the platform knows: which is the default, which is a tenant's own, which is the shadow.

Every function works in the caller's transaction, as the schema's owner.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection, Row, text

from thorax.bundle import Bundle, Manifest

_REGISTER = text("""
insert into bundles (digest, name, version, manifest, card)
values (:digest, :name, :version, cast(:manifest as jsonb), :card)
on conflict (digest) do update set card = excluded.card""")
_LIST = text("""
select digest, name, version, active, shadow_share, registered_at,
  (select count(*) from tenant_bundles where bundle_digest = digest) as tenants,
  (select count(*) from workers where digest = any(loaded) and seen_at > now() - interval '30 seconds') as workers
from bundles order by active desc, registered_at desc""")
_STEP_DOWN = text("update bundles set active = false where active and digest <> :digest")
_ACTIVATE = text("update bundles set active = true, shadow_share = null where digest = :digest")
_ACTIVATE_FOR = text("""
insert into tenant_bundles (tenant_id, bundle_digest) values (:tenant, :digest)
on conflict (tenant_id) do update set bundle_digest = excluded.bundle_digest, activated_at = now()""")
_DEACTIVATE_FOR = text("delete from tenant_bundles where tenant_id = :tenant")
_WANT = text("update bundles set preload_until = now() + interval '10 minutes' where digest = :digest")
_LOADING = text("""
select id, backbones, :digest = any(bundles) as found, :digest = any(loaded) as loaded from workers
where service = 'model-worker' and seen_at > now() - interval '30 seconds'""")
_NO_SHADOW = text(
    "update bundles set shadow_share = null where shadow_share is not null and digest <> :digest"
)
_SHADOW = text("""
update bundles set shadow_share = :share, shadow_seen = now() - make_interval(hours => :hours)
where digest = :digest""")
_UNFINISHED = text("""
delete from jobs where shadow_of is not null and state in ('queued', 'running') and bundle_digest <> :digest""")


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
    connection.execute(_REGISTER, values)


def known(connection: Connection) -> Sequence[Row[Any]]:
    """All registered bundles, the default first."""
    return connection.execute(_LIST).all()


def manifest(connection: Connection, digest: str) -> Manifest:
    """What a registered bundle says of itself."""
    stored = connection.execute(text("select manifest from bundles where digest = :d"), {"d": digest})
    return Manifest.model_validate(stored.scalar_one())


def activate(connection: Connection, digest: str, tenant: UUID | None = None) -> None:
    """New jobs of everybody, or of one tenant, use this bundle from now on."""
    if tenant:
        connection.execute(_ACTIVATE_FOR, {"tenant": tenant, "digest": digest})
        return
    connection.execute(text("lock table bundles in share row exclusive mode"))
    connection.execute(_STEP_DOWN, {"digest": digest})
    connection.execute(_ACTIVATE, {"digest": digest})


def deactivate(connection: Connection, tenant: UUID) -> bool:
    """The tenant's new jobs use the default again; False if they did so before."""
    return connection.execute(_DEACTIVATE_FOR, {"tenant": tenant}).rowcount > 0


def want(connection: Connection, digest: str) -> None:
    """Have the workers load it, and keep it for ten minutes though nothing uses it."""
    connection.execute(_WANT, {"digest": digest})


def loading(connection: Connection, digest: str, backbones: Sequence[str]) -> Loading:
    """How far the workers that live are with loading a bundle."""
    rows = connection.execute(_LOADING, {"digest": digest}).all()
    have = {name for row in rows if row.loaded for name in row.backbones}
    pending = sum(row.found and not row.loaded for row in rows)
    return Loading(tuple(name for name in backbones if name not in have), pending, len(rows))


def shadow(connection: Connection, digest: str, share: float, past_hours: int = 0) -> None:
    """From now on (and for jobs of the hours past) this bundle repeats a share of the jobs that succeed."""
    unshadow(connection, but=digest)
    connection.execute(_SHADOW, {"digest": digest, "share": share, "hours": past_hours})


def unshadow(connection: Connection, but: str = "") -> None:
    """No bundle (but this one) is a shadow any longer, and what it has not finished goes."""
    connection.execute(_NO_SHADOW, {"digest": but})
    connection.execute(_UNFINISHED, {"digest": but})

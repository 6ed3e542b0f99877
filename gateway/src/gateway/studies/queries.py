"""SQL about studies that arrive image by image. Confined to one tenant, but for `add_due_jobs`."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.tables import Arrival, Job

_FILE = text("select file_instance(:tenant, :study, :sop, cast(:image as jsonb), cast(:route as jsonb))")
_SETTLE = text("select jobs, next_in_s from settle_studies(:at_most)")


async def file_instance(
    connection: AsyncConnection,
    tenant_id: UUID,
    *,
    study: str,
    sop: str,
    image: dict[str, Any],
    route: dict[str, Any],
) -> str:
    """File one image under its study (see the function in the schema): `filed`, `known`, `conflict` or `full`."""
    values = {"tenant": tenant_id, "study": study, "sop": sop}
    values |= {"image": orjson.dumps(image).decode(), "route": orjson.dumps(route).decode()}
    return str((await connection.execute(_FILE, values)).scalar_one())


@dataclass(frozen=True)
class Settled:
    """A job that a study got when it had been quiet."""

    job: UUID
    tenant: UUID
    images: int


async def add_due_jobs(connection: AsyncConnection, at_most: int) -> tuple[list[Settled], float]:
    """Add a job for each study that is quiet, in any tenant.

    Returns the jobs, and in how many seconds the next study is due (infinity: none waits).
    """
    jobs, next_in_s = (await connection.execute(_SETTLE, {"at_most": at_most})).one()
    return [Settled(UUID(job["job"]), UUID(job["tenant"]), job["images"]) for job in jobs], next_in_s


async def hurry(connection: AsyncConnection, tenant_id: UUID, study: str) -> UUID | None:
    """Let a study settle now if it has not yet; its id, or None if no DICOM peer sent the tenant such a study."""
    own = (Arrival.tenant_id == tenant_id, Arrival.study_instance_uid == study)
    await connection.execute(
        update(Arrival).where(*own, Arrival.settles_at.is_not(None)).values(settles_at=func.now())
    )
    return (await connection.execute(select(Arrival.study_id).where(*own))).scalar()


async def newest_job(connection: AsyncConnection, study_id: UUID) -> UUID | None:
    """The job that analysed (or analyses) all of a study."""
    query = select(Job.id).where(Job.study_id == study_id).order_by(Job.created_at.desc()).limit(1)
    return (await connection.execute(query)).scalar()

"""SQL about the instances that DICOMweb serves: DICOM files whose identifiers the door could read. Confined to one tenant."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Row, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.tables import Instance, Study
from thorax.errors import Code

AnyRow = Row[*tuple[Any, ...]]


async def instances(
    connection: AsyncConnection, tenant_id: UUID, study: str, series: str | None, sop: str | None
) -> Sequence[AnyRow]:
    """The instances of a study, a series, or the one. Of a UID that came several times, the image that came first."""
    query = (
        select(
            Instance.id,
            Instance.series_instance_uid,
            Instance.sop_instance_uid,
            Instance.transfer_syntax,
            Instance.size_bytes,
            Instance.sha256,
            Instance.forms,
        )
        .distinct(Instance.sop_instance_uid)
        .join(Study, Study.id == Instance.study_id)
        .where(Study.tenant_id == tenant_id, Study.study_instance_uid == study)
        .where(Instance.tenant_id == tenant_id, Instance.transfer_syntax.is_not(None))
        .where(Instance.error_code.is_distinct_from(str(Code.INSTANCE_CONFLICT)))
        .order_by(Instance.sop_instance_uid, Instance.contests.is_not(None), Study.created_at)
    )
    if series is not None:
        query = query.where(Instance.series_instance_uid == series)
    if sop is not None:
        query = query.where(Instance.sop_instance_uid == sop)
    return (await connection.execute(query)).all()


async def want_forms(connection: AsyncConnection, ids: Sequence[UUID]) -> None:
    """Ask the workers for the forms of images that have none yet."""
    waiting = (Instance.id.in_(ids), Instance.forms.is_(None), Instance.forms_wanted_at.is_(None))
    await connection.execute(update(Instance).where(*waiting).values(forms_wanted_at=func.now()))


async def forms(connection: AsyncConnection, ids: Sequence[UUID]) -> dict[UUID, dict[str, Any] | None]:
    """The forms of images, None while they are being made."""
    query = select(Instance.id, Instance.forms).where(Instance.id.in_(ids))
    return {row.id: row.forms for row in await connection.execute(query)}

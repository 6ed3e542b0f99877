"""SQL about many jobs at once: the worklist, in each order, and a patient's earlier studies."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Float,
    Row,
    Select,
    Uuid,
    and_,
    case,
    cast,
    exists,
    func,
    literal,
    literal_column,
    or_,
    select,
    tuple_,
)
from sqlalchemy.dialects.postgresql import JSONB, aggregate_order_by
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import aliased

from gateway.jobs.repository import SUPERSEDED_BY
from gateway.tables import Arrival, BundleRow, ErasedJob, Instance, Job, Study, StudyFinding
from thorax.findings import Finding
from thorax.states import JobState, Priority

AnyRow = Row[*tuple[Any, ...]]
COMMITTED_WITHIN = timedelta(seconds=10)
REMEMBERED = timedelta(hours=24)  # which jobs were erased
# A call costs 40 µs of Postgres, so it is made only for studies that have no title of their own.
_TITLE = case(
    (Study.title != "", Study.title),
    else_=func.study_title(Study.id, Study.title, Study.study_date, Study.accession),
)


class Order(StrEnum):
    """How a worklist is sorted; `suspicion`: furthest above a threshold first."""

    NEWEST = "newest"
    OLDEST = "oldest"
    TITLE = "title"
    SUSPICION = "suspicion"


def _key(order: Order, finding: str | None) -> ColumnElement[Any]:
    """What an order sorts by; ties are broken by the job's id. With a finding, only that one is suspicious."""
    if order is Order.TITLE:
        return func.lower(func.left(_TITLE, 100))
    if order is not Order.SUSPICION:
        return Job.created_at.expression
    above = _log_odds(StudyFinding.probability) - _log_odds(StudyFinding.threshold)
    of_study = select(func.max(above)).where(
        StudyFinding.job_id == Job.id, StudyFinding.instance_id.is_(None)
    )
    if finding:
        of_study = of_study.where(StudyFinding.finding == finding)
    return func.coalesce(of_study.scalar_subquery(), -100.0)


def _log_odds(share: Any) -> ColumnElement[float]:
    """As `thorax.operating_points.margin` counts."""
    p = func.least(func.greatest(cast(share, Float(53)), 1e-9), 1 - 1e-9)
    return func.ln(p / (1 - p))


@cache
def _jobs() -> Select[*tuple[Any, ...]]:
    """Each job as a list shows it. Its study's `findings` are asked for job by job: for many jobs at once Postgres would
    check the policy of `study_findings` by a table of all jobs.
    """
    own = (Instance.study_id == Job.study_id, Instance.position < Job.images_below)
    of_file = (Instance.id, Instance.file_name, Instance.sop_instance_uid, Instance.view_position)
    pairs = (part for column in of_file for part in (literal(column.key), column))
    files = select(
        func.jsonb_agg(aggregate_order_by(func.jsonb_build_object(*pairs), Instance.position))
    ).where(*own)
    finding: Any = StudyFinding.__table__
    findings = select(func.json_agg(finding.table_valued())).where(
        StudyFinding.job_id == Job.id, StudyFinding.instance_id.is_(None)
    )
    columns = [
        *Job.__table__.columns,
        literal_column(SUPERSEDED_BY.format(job="jobs.id"), Uuid()).label("superseded_by"),
        *(_TITLE.label("title"), Study.study_instance_uid, Study.study_date, Study.accession, Study.patient),
        *(BundleRow.name.label("bundle_name"), BundleRow.version.label("bundle_version")),
        func.coalesce(files.scalar_subquery(), literal([], JSONB)).label("files"),
        findings.scalar_subquery().label("findings"),
        Arrival.source,
    ]
    shown = select(*columns).join(Study, Study.id == Job.study_id).join(BundleRow)
    shown = shown.outerjoin(Arrival, Arrival.study_id == Job.study_id)
    return shown.where(Job.shadow_of.is_(None))


@dataclass(frozen=True)
class Filters:
    """What the jobs of a list have in common; None: any. `bundle`: a digest or a name. `patient`: a pseudonym."""

    state: JobState | None = None
    priority: Priority | None = None
    finding: Finding | None = None
    title: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    study_instance_uid: str | None = None
    accession: str | None = None
    patient: str | None = None
    bundle: str | None = None


def _conditions(f: Filters) -> Iterator[ColumnElement[bool]]:
    same: dict[Any, Any] = {
        Job.state: f.state,
        Job.priority: f.priority and f.priority.rank,
        Study.study_instance_uid: f.study_instance_uid,
        Study.accession: f.accession,
        Study.patient: f.patient and bytes.fromhex(f.patient),
    }
    yield from (column == value for column, value in same.items() if value is not None)
    if f.created_after:
        yield Job.created_at >= f.created_after
    if f.created_before:
        yield Job.created_at < f.created_before
    if f.title:
        yield _TITLE.icontains(f.title, autoescape=True)
    if f.bundle:
        yield or_(BundleRow.digest == f.bundle, BundleRow.name == f.bundle)
    if f.finding:
        of_study = (StudyFinding.job_id == Job.id, StudyFinding.instance_id.is_(None))
        yield exists().where(*of_study, StudyFinding.finding == f.finding, StudyFinding.positive)


async def page(
    connection: AsyncConnection,
    tenant_id: UUID,
    *,
    limit: int,
    order: Order,
    after: tuple[Any, UUID] | None,
    filters: Filters,
) -> Sequence[AnyRow]:
    """Jobs from after the cursor; each row's `key` is what it is sorted by."""
    key = _key(order, filters.finding)
    down = order in (Order.NEWEST, Order.SUSPICION)
    query = _jobs().add_columns(key.label("key")).where(Job.tenant_id == tenant_id).limit(limit)
    query = query.order_by(*((key.desc(), Job.id.desc()) if down else (key, Job.id)))
    if after:
        place, cursor = tuple_(key, Job.id), tuple_(literal(after[0]), literal(after[1]))
        query = query.where(place < cursor if down else place > cursor)
    query = query.where(*_conditions(filters))
    return (await connection.execute(query)).all()


async def current(
    connection: AsyncConnection, tenant_id: UUID, since: datetime | None, limit: int
) -> Sequence[AnyRow]:
    """Open jobs, and those that ended after `since` or shortly before: a commit takes its time. The latest first."""
    wanted: ColumnElement[bool] = Job.state.in_((JobState.QUEUED, JobState.RUNNING))
    if since:
        wanted = or_(wanted, Job.finished_at > since - COMMITTED_WITHIN)
    query = _jobs().where(Job.tenant_id == tenant_id, wanted)
    return (await connection.execute(query.order_by(Job.finished_at.desc().nulls_first()).limit(limit))).all()


async def erased(connection: AsyncConnection, tenant_id: UUID, since: datetime, limit: int) -> Sequence[UUID]:
    """Jobs that were erased after `since` or shortly before, within `REMEMBERED`."""
    query = select(ErasedJob.job_id).where(ErasedJob.tenant_id == tenant_id)
    query = query.where(ErasedJob.erased_at > since - COMMITTED_WITHIN)
    return (await connection.execute(query.limit(limit))).scalars().all()


async def some(connection: AsyncConnection, job_ids: Sequence[UUID]) -> Sequence[AnyRow]:
    """Those of these jobs that there are."""
    return (await connection.execute(_jobs().where(Job.id.in_(job_ids)))).all()


async def now(connection: AsyncConnection) -> datetime:
    """The database's clock, when the transaction began."""
    found: datetime = (await connection.execute(select(func.now()))).scalar_one()
    return found


async def patient_known(connection: AsyncConnection, job_id: UUID) -> bool | None:
    """Whether the job's study says, by one id, of whom it is; None if the job is not known."""
    query = select(func.coalesce(func.octet_length(Study.patient), 0) > 0)
    return (await connection.execute(query.join(Job).where(Job.id == job_id))).scalar()


async def priors(connection: AsyncConnection, job_id: UUID, limit: int) -> Sequence[AnyRow]:
    """Analysed studies of the same patient that are earlier than the job's own, newest first.

    By their own dates, where they have one, as old studies are often sent after the new one.
    """
    own_job, own = aliased(Job), aliased(Study)
    own_time = _time(own.study_date, own_job.created_at, own_job.id)
    time = _time(Study.study_date, Job.created_at, Job.id)
    query = (
        _jobs()
        .join(own, and_(own.patient == Study.patient, own.tenant_id == Study.tenant_id))
        .join(own_job, own_job.study_id == own.id)
        .where(own_job.id == job_id, Job.id != job_id, Job.state == JobState.SUCCEEDED)
        .where(func.octet_length(own.patient) > 0, tuple_(*time) < tuple_(*own_time))
    )
    return (await connection.execute(query.order_by(*(part.desc() for part in time)).limit(limit))).all()


def _time(study_date: Any, created_at: Any, job_id: Any) -> tuple[Any, ...]:
    days = (func.to_char(moment, "YYYY-MM-DD") for moment in (study_date, func.timezone("UTC", created_at)))
    return func.coalesce(*days), created_at, job_id

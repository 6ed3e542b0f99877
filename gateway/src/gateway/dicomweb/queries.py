"""SQL about the instances that DICOMweb serves: DICOM files whose identifiers the door could read. Confined to one tenant."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import Row, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.dicomweb.keys import Query, days, grams, is_pattern, like, listed, prefix
from gateway.tables import Derived, Instance, Study
from thorax.errors import Code
from thorax.queries import statement

AnyRow = Row[*tuple[Any, ...]]

# A study that came several times is several rows: the first that has an image to serve stands for them. Subqueries with a limit are
# answered for one study after the other by an index, where a join would read all of a tenant's. They are booleans, as the planner would
# take `id = (…)` to match one row, and sort all studies rather than stop at the limit.
_SHOWN = """
  select s.study_instance_uid, s.study_date, s.accession from studies s
  where s.tenant_id = :tenant and s.study_instance_uid is not null {conditions}
    and (not s.ambiguous or (
      select o.id = s.id from studies o where o.tenant_id = :tenant and o.study_instance_uid = s.study_instance_uid
        and exists (select from instances i where i.study_id = o.id and i.transfer_syntax is not null)
      order by o.ambiguous, o.created_at, o.id limit 1))"""
# Of a UID that came several times it is the image that came first.
_MEMBERS = """(
    select distinct on (i.sop_instance_uid) i.sop_instance_uid, i.series_instance_uid, i.modality, i.sop_class_uid,
      i.transfer_syntax, i.rows, i.columns, false as made
    from studies o join instances i on i.study_id = o.id
    where o.tenant_id = :tenant and o.study_instance_uid = shown.study_instance_uid
      and i.transfer_syntax is not null and i.error_code is distinct from 'instance_conflict'
    order by i.sop_instance_uid, i.contests is not null, o.created_at)
    union all
    select d.sop_instance_uid, d.series_instance_uid, d.modality, d.sop_class_uid, d.transfer_syntax, null, null, true
    from derived d where d.tenant_id = :tenant and d.study_instance_uid = shown.study_instance_uid
      and is_current(d.job_id)"""
_OF_STUDY = """
    select count(*) as study_instances, count(distinct series_instance_uid) as study_series,
      array_agg(distinct modality) as modalities from"""
_OF_SERIES = """
    select series_instance_uid, min(modality) as modality, count(*) as series_instances, bool_or(made) as made
    from member where series_instance_uid is not null group by series_instance_uid"""


def _below(columns: str, order: str) -> str:
    """What studies have below them; of the newest studies, as far as the limit."""
    return f"""
select shown.*, of_it.* from ({_SHOWN}) as shown cross join lateral (
  with member as materialized ({_MEMBERS}), of_study as ({_OF_STUDY} member), of_series as ({_OF_SERIES})
  select of_study.*, of_series.modality as series_modality, of_series.series_instances, {columns} where true {{within}}) as of_it
order by shown.study_date desc nulls last, shown.study_instance_uid, of_it.made, {order} limit :limit offset :offset"""  # noqa: S608 - made of constants


_STATEMENTS = {
    "study": f"""
with shown as ({_SHOWN} order by s.study_date desc nulls last, s.study_instance_uid limit :limit offset :offset)
select shown.*, of_it.* from shown cross join lateral ({_OF_STUDY} ({_MEMBERS}) as member) as of_it
order by shown.study_date desc nulls last, shown.study_instance_uid""",  # noqa: S608
    "series": _below(
        "of_series.series_instance_uid, of_series.made from of_study, of_series", "of_it.series_instance_uid"
    ),
    "instance": _below(
        "member.* from of_study, of_series join member using (series_instance_uid)",
        "of_it.series_instance_uid, of_it.sop_instance_uid",
    ),
}
_TABLE = {"series": "of_series", "instance": "member"}
_COLUMNS = {
    "SeriesInstanceUID": "series_instance_uid",
    "SOPInstanceUID": "sop_instance_uid",
    "SOPClassUID": "sop_class_uid",
    "Modality": "modality",
}
_HOLDING = """and s.study_instance_uid in (
      select o.study_instance_uid from instances i join studies o on o.id = i.study_id
      where i.tenant_id = :tenant and i.{column} {matches} and i.transfer_syntax is not null
      union all
      select d.study_instance_uid from derived d where d.tenant_id = :tenant and d.{column} {matches})"""
_CONDITIONS = {
    "AccessionNumber": "and s.accession = :accession",
    "StudyDate": "and s.study_date between coalesce(cast(:since as date), '-infinity') and coalesce(cast(:until as date), 'infinity')",
    "ModalitiesInStudy": """and s.id in (
      select i.study_id from instances i
      where i.tenant_id = :tenant and i.modality = any(cast(:modalities as text[])) and i.transfer_syntax is not null
      union all
      select o.id from derived d join studies o on o.tenant_id = :tenant and o.study_instance_uid = d.study_instance_uid
      where d.tenant_id = :tenant and d.modality = any(cast(:modalities as text[])) and is_current(d.job_id))""",
}
# Of a modality that many studies have the newest are soon found by looking at one study after the other.
_COMMON_MODALITY = """and coalesce(
      (select true from instances i where i.tenant_id = :tenant and i.study_id = s.id
       and i.modality = any(cast(:modalities as text[])) and i.transfer_syntax is not null limit 1),
      (select true from derived d where d.tenant_id = :tenant and d.study_instance_uid = s.study_instance_uid
       and d.modality = any(cast(:modalities as text[])) and is_current(d.job_id) limit 1))"""
_IS_COMMON = text("""
select count(*) = :many from (
  select 1 from instances i where i.tenant_id = :tenant and i.modality = any(cast(:modalities as text[]))
    and i.transfer_syntax is not null
  union all
  select 1 from derived d where d.tenant_id = :tenant and d.modality = any(cast(:modalities as text[])) limit :many) as found""")
_MANY = 1000
# `like` may leak what it sees, so that under row-level security no index answers it; a range does not. A pattern with wildcards at both
# ends is looked up by its grams; what many studies have, or what has none, is found in the order of studies, by an index that has both.
_PATTERN = "and s.accession like :accession"
_BEGINS = "and s.accession >= :first and s.accession < :last"
_CONTAINING = text("select studies_containing(:tenant, cast(:parts as text[]), :accession, :many)")
_AMONG = "and s.id = any(cast(:among as uuid[]))"
_ENDS = "and s.accession_reversed >= :ending and s.accession_reversed < :ended"
_GREATEST = "\U0010ffff"
# What the last job of a study that has ended says is made for whoever looks at it.
_DERIVE = statement("""
with said as (
  select distinct on (j.study_id) j.id, j.tenant_id from studies s join jobs j on j.study_id = s.id
  where s.tenant_id = :tenant and s.study_instance_uid = :study and j.state in ('succeeded', 'failed')
  order by j.study_id, j.created_at desc),
asked as (
  insert into derivations (job_id, tenant_id)
  select id, tenant_id from said where not exists (select from derivations d where d.job_id = said.id)
  on conflict do nothing returning true)
select exists (select from asked)
  or exists (select from said join derivations d on d.job_id = said.id where d.made_at is null
    and (d.attempts < :derivation_attempts or d.not_before > now()))""")


_SERVED = (
    Instance.id,
    Instance.series_instance_uid,
    Instance.sop_instance_uid,
    Instance.transfer_syntax,
    Instance.size_bytes,
    Instance.sha256,
    Instance.sop_class_uid,
    Instance.modality,
    Instance.forms,
)


async def search(connection: AsyncConnection, tenant_id: UUID, level: str, query: Query) -> Sequence[AnyRow]:
    """What matches of a level (study, series or instance), that of the newest Study Date first. Raises CodedError(VALIDATION)."""
    common = False
    if modalities := _modalities(query):
        values = {"tenant": tenant_id, "modalities": listed(modalities), "many": _MANY}
        common = bool((await connection.execute(_IS_COMMON, values)).scalar())
    among = await _containing(connection, tenant_id, query.matches.get("AccessionNumber", ""))
    statement, values = statement_of(tenant_id, level, query, common_modality=common, among=among)
    return (await connection.execute(_parsed(statement), values)).all()


_parsed = lru_cache(256)(text)  # as many as there are sets of keys, about


async def _containing(connection: AsyncConnection, tenant_id: UUID, value: str) -> Sequence[UUID] | None:
    """The studies whose accession number is like a value with wildcards at both ends; None if they are many, or another index is
    better."""
    parts = grams(value)
    if not parts or not is_pattern(value) or prefix(value) or prefix(value[::-1]):
        return None
    values = {"tenant": tenant_id, "parts": parts, "accession": like(value), "many": _MANY}
    found = (await connection.execute(_CONTAINING, values)).scalars().all()
    return found if len(found) < _MANY else None


def statement_of(
    tenant_id: UUID,
    level: str,
    query: Query,
    *,
    common_modality: bool = False,
    among: Sequence[UUID] | None = None,
) -> tuple[str, dict[str, Any]]:
    """The SQL of `search`, and its values. `among`: the only studies that may match."""
    values: dict[str, Any] = {"tenant": tenant_id, "limit": query.limit, "offset": query.offset}
    conditions, within = list[str](), list[str]()
    for keyword, value in query.matches.items():
        if column := _COLUMNS.get(keyword):
            matches, own = _one_of(column, value)
            within.append(f"and {_TABLE[level]}.{column} {matches}")
            if keyword != "Modality" and "StudyInstanceUID" not in query.matches:
                conditions.append(_HOLDING.format(column=column, matches=matches))
            values |= own
        elif keyword != "ModalitiesInStudy":
            condition, own = _of_study(keyword, value)
            conditions.append(condition)
            values |= own
    if modalities := _modalities(query):
        values["modalities"] = listed(modalities)
        conditions.append(_COMMON_MODALITY if common_modality else _CONDITIONS["ModalitiesInStudy"])
    if among is not None:
        conditions.append(_AMONG)
        values["among"] = list(among)
    return _STATEMENTS[level].format(conditions=" ".join(conditions), within=" ".join(within)), values


def _modalities(query: Query) -> str | None:
    """Of which a study has one; those of a series as well, unless the study is known anyhow."""
    of_series = None if "StudyInstanceUID" in query.matches else query.matches.get("Modality")
    return query.matches.get("ModalitiesInStudy", of_series)


def _of_study(keyword: str, value: str) -> tuple[str, dict[str, Any]]:
    """A condition, and its values."""
    if keyword == "StudyDate":
        since, until = days(value)
        return _CONDITIONS[keyword], {"since": since, "until": until}
    if keyword == "StudyInstanceUID":
        matches, values = _one_of("study_instance_uid", value)
        return f"and s.study_instance_uid {matches}", values
    if is_pattern(value):
        return _of_pattern(value)
    return _CONDITIONS[keyword], {"accession": value.strip()}


def _one_of(name: str, value: str) -> tuple[str, dict[str, Any]]:
    """That a column is one of a list, and the values. Of a list Postgres expects ten values, and plans each search anew, which takes
    several times as long as the search of one."""
    found = listed(value)
    if len(found) == 1:
        return f"= :{name}", {name: found[0]}
    return f"= any(cast(:{name} as text[]))", {name: found}


def _of_pattern(value: str) -> tuple[str, dict[str, Any]]:
    conditions, values = [_PATTERN], {"accession": like(value)}
    if begins := prefix(value):
        conditions.append(_BEGINS)
        values |= {"first": begins, "last": begins + _GREATEST}
    if ends := prefix(value[::-1]):
        conditions.append(_ENDS)
        values |= {"ending": ends, "ended": ends + _GREATEST}
    return " ".join(conditions), values


async def instances(
    connection: AsyncConnection, tenant_id: UUID, study: str, series: str | None, sop: str | None
) -> Sequence[AnyRow]:
    """The instances of a study, a series, or the one, and then what Thorax made of them: of a whole study what its last
    job says.

    Of a UID that came several times it is the image that came first.
    """
    query = (
        select(*_SERVED)
        .distinct(Instance.sop_instance_uid)
        .join(Study, Study.id == Instance.study_id)
        .where(Study.tenant_id == tenant_id, Study.study_instance_uid == study)
        .where(Instance.tenant_id == tenant_id, Instance.transfer_syntax.is_not(None))
        .where(Instance.error_code.is_distinct_from(str(Code.INSTANCE_CONFLICT)))
        .order_by(Instance.sop_instance_uid, Instance.contests.is_not(None), Study.created_at)
    )
    derived = (
        select(*(getattr(Derived, column.key) for column in _SERVED))
        .where(Derived.tenant_id == tenant_id, Derived.study_instance_uid == study)
        .order_by(Derived.modality.desc(), Derived.sop_instance_uid)
    )
    if series is None and sop is None:
        derived = derived.where(func.is_current(Derived.job_id))
    came = await connection.execute(_within(query, Instance, series, sop))
    made = await connection.execute(_within(derived, Derived, series, sop))
    return [*came, *made]


def _within(query: Any, table: Any, series: str | None, sop: str | None) -> Any:
    wanted = {table.series_instance_uid: series, table.sop_instance_uid: sop}
    return query.where(*(column == uid for column, uid in wanted.items() if uid is not None))


async def derivation_open(connection: AsyncConnection, tenant_id: UUID, study: str) -> bool:
    """Ask for a study's answers as DICOM objects; whether they are still being made."""
    return bool((await connection.execute(_DERIVE, {"tenant": tenant_id, "study": study})).scalar())


async def want_forms(connection: AsyncConnection, ids: Sequence[UUID]) -> None:
    """Ask the workers for the forms of images that have none yet."""
    for table in (Instance, Derived):
        waiting = (table.id.in_(ids), table.forms.is_(None), table.forms_wanted_at.is_(None))
        await connection.execute(update(table).where(*waiting).values(forms_wanted_at=func.now()))


async def forms(connection: AsyncConnection, ids: Sequence[UUID]) -> dict[UUID, dict[str, Any] | None]:
    """The forms of images, None while they are being made."""
    queries = [select(table.id, table.forms).where(table.id.in_(ids)) for table in (Instance, Derived)]
    return {row.id: row.forms for query in queries for row in await connection.execute(query)}

"""The model worker's SQL: which bundles to load, and what its steps write.

`PREPARED`, `FAILED`, `PREDICTED` and `INFERRED` are CTEs for `ledger.complete`: they write for the rows of `held` only.
"""

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import numpy as np
import orjson
from numpy.typing import NDArray
from sqlalchemy import Connection, text

from model_worker.decoding.attributes import DicomAttributes
from model_worker.sandbox.answers import Decoded
from thorax.forms import Forms
from thorax.work.answer import laid_out

Prediction = tuple[NDArray[np.float32], NDArray[np.float16]]  # probabilities [5], maps [5, h, w]

# The default first, the shadow last; a bundle about to become active (`preload_until`) is not a shadow.
_WANTED = text("""
select b.digest, not (b.active or t.bundle_digest is not null or coalesce(b.preload_until > now(), false)) as shadow
from bundles b left join (select distinct bundle_digest from tenant_bundles) t on t.bundle_digest = b.digest
where b.active or t.bundle_digest is not null or b.preload_until > now() or b.shadow_share is not null
order by shadow, b.active desc, b.digest""")
_STUDY = text("""
update studies set study_instance_uid = :study_instance_uid, study_date = :study_date, accession = :accession
where id = (select study_id from instances where id = :id)""")
_ASIDE = text("""
select id, contests from instances where state = 'received' and error_code = 'instance_conflict'
limit 1 for update skip locked""")
_CHORES = text("""
select exists (select from instances where forms_wanted_at is not null) as forms,
  exists (select from derived where forms_wanted_at is not null) as forms_of_derived,
  exists (select from instances where state = 'received' and error_code = 'instance_conflict') as aside""")
_WANTED_ONE = "select id from instances where forms_wanted_at is not null order by forms_wanted_at limit 1 for update skip locked"
_MADE = "update instances set forms = cast(:forms as jsonb), forms_wanted_at = null where id = :id"
_WANTED_FORMS, _FORMS = (  # of what came, and of what Thorax made of it
    (text(query), text(query.replace("instances", "derived"))) for query in (_WANTED_ONE, _MADE)
)
_DECIDE = text("select decide_conflict(:id, :same)")
_PATIENT = text("select remember_patient(study_id, :digest) from instances where id = :id")

PREPARED = """
image as (
  update instances set state = 'prepared', error_code = null, error_detail = null, rows = :rows, columns = :columns,
    sop_instance_uid = :sop, series_instance_uid = :series, modality = :modality, view_position = :view,
    orientation = :orientation, warnings = cast(:warnings as jsonb)
  where id in (select instance_id from held))"""
FAILED = """
image as (
  update instances set state = 'failed', error_code = :code, error_detail = :detail, warnings = '[]'
  where id in (select instance_id from held))"""
PREDICTED = """
predicted as (
  insert into predictions (job_id, instance_id, backbone, probabilities, maps, map_shape)
  select held.job_id, held.instance_id, held.backbone, p.probabilities,
    substring(cast(:grids as bytea) from p.first for p.bytes), p.shape
  from jsonb_to_recordset(:predicted) as p (
    step bigint, probabilities real[], first integer, bytes integer, shape smallint[])
  join held on held.id = p.step
  on conflict (job_id, instance_id, backbone) do update set probabilities = excluded.probabilities,
    maps = excluded.maps, map_shape = excluded.map_shape)"""
# The same where one image was prepared: by the names of the backbones, which have no steps yet.
INFERRED = (
    PREDICTED.replace("held.backbone", "p.step")
    .replace("step bigint", "step text")
    .replace("join held on held.id = p.step", "cross join held")
)


def prediction_values(answers: Mapping[int, Prediction] | Mapping[str, Prediction]) -> dict[str, Any]:
    """The values of `PREDICTED`, of answers by their steps' ids; of `INFERRED`, by the backbones' names."""
    places, grids = laid_out([maps for _, maps in answers.values()])
    rows = [
        {"step": step, "probabilities": five.tolist(), **place}
        for (step, (five, _)), place in zip(answers.items(), places, strict=True)
    ]
    return {"predicted": orjson.dumps(rows).decode(), "grids": grids}


def image_values(decoded: Decoded) -> dict[str, Any]:
    """The values of `PREPARED`."""
    attributes = decoded.dicom_attributes
    return {
        "rows": decoded.rows,
        "columns": decoded.columns,
        "orientation": decoded.orientation,
        "warnings": json.dumps([warning._asdict() for warning in decoded.warnings]),
        "sop": attributes and attributes.sop_instance_uid,
        "series": attributes and attributes.series_instance_uid,
        "modality": attributes and attributes.modality,
        "view": attributes and attributes.view_position,
    }


def wanted_bundles(connection: Connection) -> tuple[list[str], str | None]:
    """The digests to keep loaded, the default first, and the shadow's digest."""
    rows = connection.execute(_WANTED).all()
    wanted = [row.digest for row in rows if not row.shadow]
    return wanted, next((row.digest for row in rows if row.shadow), None)


def record_study(connection: Connection, instance_id: UUID, attributes: DicomAttributes) -> None:
    """What a DICOM file says about its study and, as a digest, its patient."""
    study = {name: getattr(attributes, name) for name in ("study_instance_uid", "study_date", "accession")}
    if any(study.values()):
        connection.execute(_STUDY, {**study, "id": instance_id})
    if attributes.patient:
        connection.execute(_PATIENT, {"id": instance_id, "digest": bytes.fromhex(attributes.patient)})


def image_aside(connection: Connection) -> tuple[UUID, UUID] | None:
    """An image that was kept aside, and the one that came before under its SOP Instance UID; locked."""
    row = connection.execute(_ASIDE).first()
    return (row.id, row.contests) if row else None


def decide_conflict(connection: Connection, instance_id: UUID, *, same: bool) -> None:
    """Whether an image that was kept aside has the same pixels as the one before (see the function in the schema)."""
    connection.execute(_DECIDE, {"id": instance_id, "same": same})


def chores(connection: Connection) -> tuple[bool, bool]:
    """Whether somebody waits for forms of an image, and whether one was kept aside to be compared."""
    row = connection.execute(_CHORES).one()
    return row.forms or row.forms_of_derived, row.aside


def wanted_forms(connection: Connection) -> UUID | None:
    """The DICOM object whose forms somebody has waited for the longest, an image before what was made of one; locked."""
    for query in _WANTED_FORMS:
        if row := connection.execute(query).first():
            return UUID(str(row.id))
    return None


def record_forms(connection: Connection, instance_id: UUID, forms: Forms) -> None:
    """Which forms of an object there are; nobody waits any longer."""
    for query in _FORMS:  # ids are never used twice
        connection.execute(query, {"id": instance_id, "forms": orjson.dumps(forms).decode()})

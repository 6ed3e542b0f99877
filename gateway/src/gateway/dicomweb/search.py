"""HTTP for QIDO-RS (PS3.18, 10.6): which studies, series and instances a tenant has stored."""

from collections.abc import Sequence
from typing import Any

import orjson
from fastapi import APIRouter, Depends, Request, Response

from gateway.dicomweb import queries
from gateway.dicomweb.accept import accepted
from gateway.dicomweb.answer import JSON
from gateway.dicomweb.keys import INSTANCE_KEYS, SERIES_KEYS, STUDY_KEYS, Query, listed, parse
from gateway.dicomweb.retrieve import SERIES, STUDY, Asked, of_series, of_study
from gateway.images.endpoints import HEADERS
from thorax.errors import Code
from thorax.http.database import tenant_autocommit
from thorax.http.parameters import ANY_QUERY
from thorax.http.problems import responses

router = APIRouter(prefix="/dicomweb", tags=["DICOM"])

_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "What matches; an empty list if nothing does.", "content": {JSON: {}}},
    **responses(
        *(Code.UNAUTHENTICATED, Code.FORBIDDEN, Code.UNKNOWN_PARAMETER, Code.VALIDATION, Code.NOT_ACCEPTABLE)
    ),
}
_HOW: dict[str, Any] = {"openapi_extra": ANY_QUERY, "responses": _ANSWERS, "response_class": Response}
_Sets = list[dict[str, Any]]


@router.get("/studies", **_HOW)
async def search_studies(request: Request, asked: Asked) -> Response:
    """Search studies by Study Instance UID, Study Date, Accession Number and modality, the newest first."""
    query = parse(request.query_params.multi_items(), STUDY_KEYS)
    async with tenant_autocommit(request.app.state.engine, asked.tenant_id) as connection:
        rows = await queries.studies(connection, asked.tenant_id, query)
    return _answer(asked.accept, [_study(asked.root, row) for row in rows])


@router.get(f"{STUDY}/series", **_HOW)
async def search_series(request: Request, asked: Asked, target: Any = Depends(of_study)) -> Response:
    """Search the series of a study."""
    query = parse(request.query_params.multi_items(), SERIES_KEYS)
    rows = await _instances(asked, target)
    series: dict[str, list[Any]] = {}
    for row in _matching(rows, query, {"SeriesInstanceUID": "series_instance_uid", "Modality": "modality"}):
        series.setdefault(row.series_instance_uid, []).append(row)
    found = [_series(asked.root, target.study, uid, rows) for uid, rows in sorted(series.items())]
    return _answer(asked.accept, found[query.offset :][: query.limit])


@router.get(f"{STUDY}/instances", **_HOW)
async def search_study_instances(request: Request, asked: Asked, target: Any = Depends(of_study)) -> Response:
    """Search the instances of a study."""
    return await _search_instances(request, asked, target, SERIES_KEYS | INSTANCE_KEYS)


@router.get(f"{SERIES}/instances", **_HOW)
async def search_instances(request: Request, asked: Asked, target: Any = Depends(of_series)) -> Response:
    """Search the instances of a series."""
    return await _search_instances(request, asked, target, INSTANCE_KEYS)


async def _search_instances(request: Request, asked: Asked, target: Any, keys: dict[str, str]) -> Response:
    query = parse(request.query_params.multi_items(), keys)
    columns = {"SeriesInstanceUID": "series_instance_uid", "Modality": "modality"}
    columns |= {"SOPInstanceUID": "sop_instance_uid", "SOPClassUID": "sop_class_uid"}
    rows = _matching(await _instances(asked, target), query, columns)
    page = rows[query.offset :][: query.limit]
    return _answer(asked.accept, [_instance(asked.root, target.study, row) for row in page])


async def _instances(asked: Asked, target: Any) -> list[Any]:
    rows = await asked.archive.rows(asked.tenant_id, target)
    return [row for row in rows if row.series_instance_uid]


def _matching(rows: Sequence[Any], query: Query, columns: dict[str, str]) -> list[Any]:
    """Rows of one study that match all keys: a UID or one of a list, a modality."""
    wanted = {columns[keyword]: listed(value) for keyword, value in query.matches.items()}
    return [row for row in rows if all(getattr(row, name) in values for name, values in wanted.items())]


def _answer(accept: str, found: _Sets) -> Response:
    accepted(accept, JSON, "application/json")
    return Response(orjson.dumps(found), media_type=JSON, headers=HEADERS)


def _element(vr: str, *values: Any) -> dict[str, Any]:
    kept = [value for value in values if value not in (None, "")]
    return {"vr": vr, "Value": kept} if kept else {"vr": vr}


def _study(root: str, row: Any) -> dict[str, Any]:
    """One study (PS3.18, table 10.6.3-3). What is known of a patient is a keyed hash, so that these values are empty."""
    day = row.study_date.strftime("%Y%m%d") if row.study_date else None
    return {
        "00080005": _element("CS", "ISO_IR 192"),
        "00080020": _element("DA", day),
        "00080030": _element("TM"),
        "00080050": _element("SH", row.accession),
        "00080056": _element("CS", "ONLINE"),
        "00080061": _element("CS", *(row.modalities or ())),
        "00080090": _element("PN"),
        "00081190": _element("UR", f"{root}/studies/{row.study_instance_uid}"),
        "00100010": _element("PN"),
        "00100020": _element("LO"),
        "00100030": _element("DA"),
        "00100040": _element("CS"),
        "0020000D": _element("UI", row.study_instance_uid),
        "00200010": _element("SH"),
        "00201206": _element("IS", row.series),
        "00201208": _element("IS", row.instances),
    }


def _series(root: str, study: str, uid: str, rows: Sequence[Any]) -> dict[str, Any]:
    """One series (PS3.18, table 10.6.3-4)."""
    return {
        "00080005": _element("CS", "ISO_IR 192"),
        "00080060": _element("CS", rows[0].modality),
        "00081190": _element("UR", f"{root}/studies/{study}/series/{uid}"),
        "0020000D": _element("UI", study),
        "0020000E": _element("UI", uid),
        "00200011": _element("IS"),
        "00201209": _element("IS", len(rows)),
    }


def _instance(root: str, study: str, row: Any) -> dict[str, Any]:
    """One instance (PS3.18, table 10.6.3-5); its size is known once it is prepared."""
    url = f"{root}/studies/{study}/series/{row.series_instance_uid}/instances/{row.sop_instance_uid}"
    return {
        "00080005": _element("CS", "ISO_IR 192"),
        "00080016": _element("UI", row.sop_class_uid),
        "00080018": _element("UI", row.sop_instance_uid),
        "00080056": _element("CS", "ONLINE"),
        "00080060": _element("CS", row.modality),
        "00081190": _element("UR", url),
        "00083002": _element("UI", row.transfer_syntax),
        "0020000D": _element("UI", study),
        "0020000E": _element("UI", row.series_instance_uid),
        "00200013": _element("IS"),
    }

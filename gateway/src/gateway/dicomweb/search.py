"""HTTP for QIDO-RS (PS3.18, 10.6): which studies, series and instances a tenant has stored."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson
from fastapi import APIRouter, Depends, Request, Response

from gateway.dicomweb import queries, results
from gateway.dicomweb.accept import accepted
from gateway.dicomweb.answer import JSON
from gateway.dicomweb.archive import Target
from gateway.dicomweb.asked import ROOT, SERIES, STUDY, Asked, of_series, of_study
from gateway.dicomweb.keys import INSTANCE_KEYS, SERIES_KEYS, STUDY_KEYS, parse
from gateway.engine import engine_of
from gateway.images.endpoints import HEADERS
from gateway.studies.header import is_uid
from thorax.errors import Code
from thorax.http.database import tenant_autocommit
from thorax.http.parameters import ANY_QUERY
from thorax.http.problems import responses

router = APIRouter(prefix=ROOT, tags=["DICOM"])

_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "What matches; an empty list if nothing does.", "content": {JSON: {}}},
    **responses(
        *(Code.UNAUTHENTICATED, Code.FORBIDDEN, Code.UNKNOWN_PARAMETER, Code.VALIDATION, Code.NOT_ACCEPTABLE)
    ),
}
_HOW: dict[str, Any] = {"openapi_extra": ANY_QUERY, "responses": _ANSWERS, "response_class": Response}
_LEVELS = {
    "study": (results.study, STUDY_KEYS),
    "series": (results.series, SERIES_KEYS),
    "instance": (results.instance, INSTANCE_KEYS),
}


@router.get("/studies", **_HOW)
async def search_studies(request: Request, asked: Asked) -> Response:
    """Search studies by Study Instance UID, Study Date, Accession Number and modality, the newest first."""
    return await _search(request, asked, "study")


@router.get("/series", **_HOW)
async def search_all_series(request: Request, asked: Asked) -> Response:
    """Search the series of all studies, by their keys and those of their study; of the newest study first."""
    return await _search(request, asked, "study", "series")


@router.get("/instances", **_HOW)
async def search_all_instances(request: Request, asked: Asked) -> Response:
    """Search the instances of all studies, by their keys and those of their series and study; of the newest study first."""
    return await _search(request, asked, "study", "series", "instance")


@router.get(f"{STUDY}/series", **_HOW)
async def search_series(request: Request, asked: Asked, target: Any = Depends(of_study)) -> Response:
    """Search the series of a study."""
    return await _search(request, asked, "series", within=target)


@router.get(f"{STUDY}/instances", **_HOW)
async def search_study_instances(request: Request, asked: Asked, target: Any = Depends(of_study)) -> Response:
    """Search the instances of a study."""
    return await _search(request, asked, "series", "instance", within=target)


@router.get(f"{SERIES}/instances", **_HOW)
async def search_instances(request: Request, asked: Asked, target: Any = Depends(of_series)) -> Response:
    """Search the instances of a series."""
    return await _search(request, asked, "instance", within=target)


async def _search(request: Request, asked: Asked, *levels: str, within: Target | None = None) -> Response:
    """What is found of the last of the levels. Each is matched by its keys, and its attributes are in the answer (PS3.18, 10.6.3.3).

    Those of a level above are, where `includefield` names them.
    """
    accepted(asked.accept, JSON, "application/json")
    keys = {key: tag for level in levels for key, tag in _LEVELS[level][1].items()}
    query, rows = parse(request.query_params.multi_items(), keys), list[Any]()
    if within is None or all(is_uid(uid) for uid in (within.study, within.series) if uid is not None):
        if within:
            named = {"StudyInstanceUID": within.study, "SeriesInstanceUID": within.series}
            matches = {**query.matches, **{key: uid for key, uid in named.items() if uid}}
            query = replace(query, matches=matches)
            await asked.archive.derived(asked.tenant_id, within)
        async with tenant_autocommit(engine_of(request), asked.tenant_id) as connection:
            rows += await queries.search(connection, asked.tenant_id, levels[-1], query)
    found = [_data_set(asked.root, levels, query.fields, row) for row in rows]
    return Response(orjson.dumps(found), media_type=JSON, headers=HEADERS)


def _data_set(root: str, levels: Sequence[str], fields: frozenset[str], row: Any) -> dict[str, Any]:
    """A row with the attributes of `levels`, and of the others above the last those in `fields`."""
    values: results.Values = {}
    for level, (attributes, _) in _LEVELS.items():
        of_level = attributes(root, row)
        wanted = of_level if level in levels else fields & of_level.keys()
        values |= {keyword: of_level[keyword] for keyword in wanted}
        if level == levels[-1]:
            break
    return results.data_set(values)

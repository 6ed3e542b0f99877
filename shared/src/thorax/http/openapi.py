"""The OpenAPI document: what FastAPI makes of the endpoints, with every error described as it is really sent."""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from thorax.errors import Code
from thorax.http.parameters import takes_any_query
from thorax.http.problems import MEDIA_TYPE, Problem, responses

_PROBLEM = {"$ref": "#/components/schemas/Problem"}


def install(app: FastAPI) -> None:
    """Make `app.openapi()` describe each 4xx and 5xx as a problem document with examples."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def operation_id(route: APIRoute) -> str:
    """An operation's id: its function's name. Those of the open API, which share functions, end in `_anonymous`."""
    anonymous = "/anonymous/" in route.path and "anonymous" not in route.name
    return f"{route.name}_anonymous" if anonymous else route.name


def merged(mine: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Two services' documents as one; ValueError if they use one name for two things."""
    components = {kind: dict(entries) for kind, entries in mine["components"].items()}
    for kind, entries in other.get("components", {}).items():
        known = components.setdefault(kind, {})
        for name, entry in entries.items():
            if known.setdefault(name, entry) != entry:
                raise ValueError(f"two services each have a {kind[:-1]} {name}")
    return {**mine, "paths": {**mine["paths"], **other["paths"]}, "components": components}


def _document(app: FastAPI) -> dict[str, Any]:
    found = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
        servers=app.servers or None,
    )
    schemas: dict[str, Any] = found.setdefault("components", {}).setdefault("schemas", {})
    # FastAPI describes its own form of a 422, which these services never send.
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas.setdefault("Problem", Problem.model_json_schema(ref_template="#/components/schemas/{model}"))
    schemas |= schemas["Problem"].pop("$defs", {})
    for methods in found["paths"].values():
        for operation in methods.values():
            _mend(operation)
    return found


def _mend(operation: dict[str, Any]) -> None:
    answers = operation["responses"]
    for answer in answers.values():
        kinds = answer.get("content", {})
        if MEDIA_TYPE in kinds:
            answer["content"] = {MEDIA_TYPE: {**kinds[MEDIA_TYPE], "schema": _PROBLEM}}
    if not takes_any_query(operation):
        _add(answers, Code.UNKNOWN_PARAMETER)
    if "422" in answers:  # it may always be about a parameter, besides what the endpoint itself names
        _add(answers, Code.VALIDATION)


def _add(answers: dict[str, Any], code: Code) -> None:
    """A code that each endpoint may answer with, beside those of the same status that it names itself."""
    general = responses(code)[code.status]
    answer = answers.setdefault(str(code.status), {"description": ""})
    kinds = answer.get("content", {})
    own = kinds.get(MEDIA_TYPE, {}).get("examples", {})
    if str(code) not in own:
        words = [general["description"], answer["description"] if own else ""]
        answer["description"] = ", ".join(filter(None, words))
    examples = {**general["content"][MEDIA_TYPE]["examples"], **own}
    others = {} if own or code is Code.VALIDATION else kinds  # OAuth's own form of an error
    answer["content"] = {**others, MEDIA_TYPE: {"schema": _PROBLEM, "examples": examples}}

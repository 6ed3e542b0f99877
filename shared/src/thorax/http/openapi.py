"""The OpenAPI document: what FastAPI makes of the endpoints, with every error described as it is really sent."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from thorax.errors import Code
from thorax.http.problems import MEDIA_TYPE, Problem, responses

_PROBLEM = {"$ref": "#/components/schemas/Problem"}


def install(app: FastAPI) -> None:
    """Make `app.openapi()` describe each 4xx and 5xx as a problem document with examples."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _document(app: FastAPI) -> dict[str, Any]:
    found = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    schemas: dict[str, Any] = found["components"]["schemas"]
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
    for status, answer in operation["responses"].items():
        kinds = answer.get("content", {})
        if MEDIA_TYPE in kinds:
            answer["content"] = {MEDIA_TYPE: {**kinds[MEDIA_TYPE], "schema": _PROBLEM}}
        if status == "422":
            _add_validation(answer)


def _add_validation(answer: dict[str, Any]) -> None:
    """A 422 may always be about a parameter, besides what the endpoint itself names."""
    general = responses(Code.VALIDATION)[422]
    own = answer.get("content", {}).get(MEDIA_TYPE, {}).get("examples", {})
    answer["content"] = {
        MEDIA_TYPE: {"schema": _PROBLEM, "examples": {**general["content"][MEDIA_TYPE]["examples"], **own}}
    }
    if str(Code.VALIDATION) not in own:
        words = [general["description"], answer["description"] if own else ""]
        answer["description"] = ", ".join(filter(None, words))

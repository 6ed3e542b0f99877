"""Query parameters that an endpoint does not have are refused: a filter with a misspelt name would return everything.

So are those that are there twice, of which all but one would be ignored, and names in a path that nothing can have.
"""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from fastapi import Request

from thorax.errors import Code, CodedError

PRINTED = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$"
"""Pattern of free text: no control characters and no line breaks. PostgreSQL's text can't hold NUL."""
ANY_QUERY: dict[str, Any] = {"x-any-query": True}
"""`openapi_extra` of an endpoint that reads the query itself, as QIDO-RS does for attribute names."""
_NAME = re.compile(r"[A-Za-z_][\w.-]{0,39}", re.ASCII)


def takes_any_query(operation: dict[str, Any]) -> bool:
    """Whether an operation of the OpenAPI document reads the query itself."""
    return ANY_QUERY.items() <= operation.items()


async def refuse_unknown_parameters(request: Request) -> None:
    """A dependency of a whole app: CodedError(UNKNOWN_PARAMETER) with the names that the OpenAPI document has;
    VALIDATION for one of them that is there twice and is not a list.

    What is not in the document, such as the page, takes any.
    """
    if not request.query_params:
        return
    methods = request.app.openapi()["paths"].get(getattr(request.scope.get("route"), "path", ""), {})
    operation = methods.get(request.method.lower())
    if operation is None or takes_any_query(operation):
        return
    asked = {p["name"]: p["schema"] for p in operation.get("parameters", ()) if p["in"] == "query"}
    known = sorted(asked)
    for name in request.query_params:
        if name not in known:
            what = f"`{name}`" if _NAME.fullmatch(name) else "One"  # other text could be anything
            raise CodedError(
                Code.UNKNOWN_PARAMETER,
                f"{what} is not a parameter here. Known: {', '.join(known) or 'none'}.",
                parameters=known,
            )
    refuse_repeated(name for name, _ in request.query_params.multi_items() if not _is_list(asked[name]))


def _is_list(schema: dict[str, Any]) -> bool:
    return schema.get("type") == "array" or any(map(_is_list, schema.get("anyOf", ())))


def refuse_repeated(names: Iterable[str]) -> None:
    """Raises CodedError(VALIDATION) for a name that is there twice. `names`: known ones, for they are shown."""
    for name, times in Counter(names).items():
        if times > 1:
            raise CodedError(Code.VALIDATION, f"The URL has `{name}` {times} times. Give it one value.")


async def refuse_unprintable_paths(request: Request) -> None:
    """A dependency of a whole app: CodedError(NOT_FOUND) if a part of the path holds what no name does, such as NUL,
    which PostgreSQL's text can't hold."""
    if not all(str(part).isprintable() for part in request.path_params.values()):
        raise CodedError(Code.NOT_FOUND, "Nothing has this name.")

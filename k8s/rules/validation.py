"""What an API server refuses by its code, and values that it takes and that mislead: schemas/validation.yaml."""

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

from rules.objects import Object, Rendered


def complaints(rendered: Rendered) -> Iterator[str]:
    """Every value that is out of bounds, with its place."""
    for each in rendered.objects:
        yield from _of(json.dumps(each))


@functools.cache
def _schema() -> dict[str, Any]:
    return dict(yaml.safe_load((Path(__file__).parents[1] / "schemas/validation.yaml").read_text()))


@functools.cache
def _validator(kind: str) -> Draft202012Validator:
    schema = _schema()
    own = [{"$ref": f"#/$defs/{name}"} for name in ("named", "int32", kind) if name in schema["$defs"]]
    return Draft202012Validator({**schema, "allOf": own})


@functools.cache
def _of(text: str) -> list[str]:
    """What is wrong in an object, as JSON. Most objects are the same in each overlay."""
    each: Object = json.loads(text)
    errors = _validator(each["kind"]).iter_errors(each)
    return [f"{name(each)}: {error.json_path.removeprefix('$.')}: {error.message}" for error in errors]


def name(each: Object) -> str:
    """How a complaint names an object that may have no name."""
    about = each.get("metadata")
    return f"{each['kind']} {about.get('name', 'without a name') if isinstance(about, dict) else 'without a name'}"

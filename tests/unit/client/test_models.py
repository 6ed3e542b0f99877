"""The client's models against the services' own OpenAPI document: the same fields, with the same types."""

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

from thorax_client import models

ROOT = Path(__file__).parents[3]
SCHEMAS = {
    models.Finding: "FindingView",
    models.Failure: "ErrorView",
    models.Warning: "WarningView",
    models.Image: "ImageView",
    models.Progress: "Progress",
    models.Bundle: "BundleView",
    models.Study: "StudyView",
    models.Job: "JobView",
    models.JobSummary: "JobSummary",
    models.JobPage: "JobPage",
    models.Receipt: "Accepted",
    models.Model: "ModelView",
    models.ModelList: "ModelList",
    models.Backbone: "BackboneView",
    models.File: "FileView",
    models.Grid: "Grid",
    models.Grids: "MapsView",
    models.Scale: "MapScaleView",
    models.Stage: "Stage",
    models.Token: "TokenAnswer",
    models.Secret: "ClientWithSecret",
}
LEFT_OUT = {
    models.Receipt: {"id"},  # the same as `job_id`
    models.Token: {"token_type", "scope", "refresh_token"},
    models.Secret: {"name", "scopes", "created_at", "last_used_at", "old_secret_until"},
}


@cache
def document() -> dict[str, Any]:
    spec = importlib.util.spec_from_file_location("openapi", ROOT / "web/openapi.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return dict(module.document()["components"]["schemas"])


def kind(schema: dict[str, Any], schemas: dict[str, Any]) -> Any:
    """A field's type without what a client may ignore: enumerations are strings, integers are numbers, names differ."""
    if "$ref" in schema:
        return kind(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    if "anyOf" in schema:
        return sorted((kind(one, schemas) for one in schema["anyOf"]), key=str)
    if schema.get("type") == "array":
        return ["array of", kind(schema["items"], schemas)]
    if "properties" in schema:
        return "object"
    if schema.get("type") == "object":
        inner = schema.get("additionalProperties")
        return ["map of", kind(inner, schemas)] if isinstance(inner, dict) else "object"
    return schema.get("format") or schema.get("type")


def test_every_model_is_compared() -> None:
    mine = {m for m in vars(models).values() if isinstance(m, type) and issubclass(m, models.Answer)}
    assert mine - {models.Answer} == set(SCHEMAS)


@pytest.mark.parametrize("model", SCHEMAS, ids=lambda model: model.__name__)
def test_fields_are_those_of_the_api(model: type[models.Answer]) -> None:
    (_, defs) = msgspec.json.schema_components([model])
    own, theirs = defs[model.__name__]["properties"], document()[SCHEMAS[model]]["properties"]
    assert own.keys() == theirs.keys() - LEFT_OUT.get(model, set())
    for name, field in own.items():
        mine, other = kind(field, defs), kind(theirs[name], document())
        assert mine == other or name == "timings", f"{name}: {mine} is {other} there"


def test_the_findings_are_those_of_the_api() -> None:
    assert list(models.FINDINGS) == document()["Finding"]["enum"]
    assert set(document()["JobState"]["enum"]) > models.FINAL

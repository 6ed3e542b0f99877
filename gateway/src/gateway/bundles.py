"""The model bundles, as the API shows them: what answers, how good it is, and what it is not for."""

from collections.abc import Iterable, Iterator
from typing import Any
from uuid import UUID

import structlog
from fastapi import APIRouter, Request
from pydantic import BaseModel, Field, ValidationError
from sqlalchemy import Row

from gateway import queries
from gateway.engine import engine_of
from gateway.jobs.rows import map_scale
from gateway.jobs.schemas import DISCLAIMER, MapScaleView
from thorax.bundle import Manifest
from thorax.errors import Code, CodedError
from thorax.findings import FINDINGS, Finding
from thorax.http.database import tenant_autocommit
from thorax.http.problems import responses
from thorax.operating_points import FindingPoints
from thorax.states import ANONYMOUS_TENANT

router = APIRouter(prefix="/v1/models", tags=["models"])
_log = structlog.get_logger(__name__)


class BackboneView(BaseModel):
    """One backbone: its input, its size, and its weight in the ensemble for each finding."""

    name: str
    sha256: str
    parameters: int
    input_size: int
    normalisation: str
    weights: dict[Finding, float] = Field(
        description="Share of the ensemble; the shares of a finding sum to 1."
    )


class ModelView(BaseModel):
    """A registered model bundle, with its card and its figures."""

    name: str
    version: str
    digest: str
    active: bool = Field(description="Whether the caller's new jobs use it.")
    default: bool = Field(description="Whether tenants without a bundle of their own use it.")
    shadow: bool = Field(description="Whether it repeats jobs for comparison. Its answers are not shown.")
    findings: list[Finding]
    thresholds: dict[Finding, float]
    operating_points: dict[Finding, FindingPoints] | None = Field(
        description="From `likely` on a finding is likely, below `unlikely` unlikely; null in bundles of format 1."
    )
    map_scale: MapScaleView | None = Field(description="Null in bundles of format 1.")
    backbones: list[BackboneView]
    metrics: dict[str, Any] = Field(description="Measured AUCs, and the data they were measured on.")
    licence: str
    intended_use: str
    card: str = Field(description="The model card in Markdown.")
    disclaimer: str = DISCLAIMER


class ModelList(BaseModel):
    """All registered bundles, the active one first."""

    items: list[ModelView]


@router.get("", responses=responses(Code.UNAVAILABLE))
async def list_models(request: Request) -> ModelList:
    """List the registered model bundles with card, backbones, weights, thresholds and measured AUCs. Open to everybody."""
    tenant = await _tenant(request)
    async with tenant_autocommit(engine_of(request), tenant) as connection:
        rows = await queries.bundles(connection, tenant)
    return ModelList(items=[*_views(rows)])


async def _tenant(request: Request) -> UUID:
    """The caller's tenant; the open API's for a request without a valid token."""
    try:
        caller = await request.app.state.authenticator.authenticate(request)
    except CodedError:
        return ANONYMOUS_TENANT
    tenant_id: UUID = caller.tenant_id
    return tenant_id


def _views(rows: Iterable[Row[*tuple[Any, ...]]]) -> Iterator[ModelView]:
    """Without those in a format that only a newer version knows, which no worker of this one loads."""
    for row in rows:
        try:
            yield _view(row)
        except ValidationError:
            _log.warning("bundle_unknown_format", digest=row.digest)


def _view(row: Row[*tuple[Any, ...]]) -> ModelView:
    manifest = Manifest.model_validate(row.manifest, extra="ignore")
    points = manifest.operating_points
    sums = [sum(row[i] for row in manifest.weights.values()) for i in range(len(FINDINGS))]
    return ModelView(
        name=manifest.name,
        version=manifest.version,
        digest=row.digest,
        active=row.in_use,
        default=row.active,
        shadow=row.shadow_share is not None,
        findings=list(FINDINGS),
        thresholds=dict(zip(FINDINGS, manifest.thresholds, strict=True)),
        operating_points=points and dict(zip(FINDINGS, points, strict=True)),
        map_scale=map_scale(row.manifest.get("maps")),
        backbones=[
            BackboneView(
                name=spec.name,
                sha256=spec.sha256,
                parameters=spec.parameters,
                input_size=spec.input.size,
                normalisation=spec.normalisation,
                weights={f: manifest.weights[spec.name][i] / sums[i] for i, f in enumerate(FINDINGS)},
            )
            for spec in manifest.backbones
        ],
        metrics=manifest.metrics,
        licence=manifest.licence,
        intended_use=manifest.intended_use,
        card=row.card,
    )

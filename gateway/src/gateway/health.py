"""Liveness of the gateway and readiness of the platform."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from gateway import queries
from gateway.engine import engine_of
from thorax.errors import CodedError
from thorax.states import ALIVE_S
from thorax.version import VERSION

router = APIRouter(tags=["operations"])
_log = structlog.get_logger(__name__)


class Readiness(BaseModel):
    """Ready, or what is missing."""

    ready: bool
    missing: list[str] = Field(examples=[["worker for xception: none seen in the last 30 s"]])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Liveness: the event loop runs. Restarting the gateway would mend nothing that this does not see."""
    return {"status": "alive", "version": VERSION}


@router.get("/readyz", responses={503: {"model": Readiness}})
async def readyz(request: Request, response: Response) -> Readiness:
    """Readiness: whether an upload sent now would be accepted and analysed. Names what is missing."""
    checks: dict[str, Callable[[Request], Awaitable[list[str]]]] = {
        "database": _platform,
        "capacity": _capacity,
        "blob store": _blobs,
        "broker": _broker,
        "auth-service": _keys,
    }
    found = await asyncio.gather(*(_run(name, check, request) for name, check in checks.items()))
    missing = [reason for reasons in found for reason in reasons]
    if missing:
        response.status_code = 503
        response.headers["Retry-After"] = "5"
    return Readiness(ready=not missing, missing=missing)


async def _run(name: str, check: Callable[[Request], Awaitable[list[str]]], request: Request) -> list[str]:
    try:
        return await asyncio.wait_for(check(request), 3)
    except CodedError as error:
        return [f"{name}: {error.detail}"]
    except Exception as error:  # a probe answers, whatever breaks behind it
        _log.warning("not_ready", part=name, error=type(error).__name__)
        return [f"{name}: {getattr(error, 'strerror', None) or type(error).__name__}"]


async def _platform(request: Request) -> list[str]:
    """The active bundle, and a live worker for each kind of work on it."""
    async with engine_of(request).connect() as connection:
        bundle = await queries.active_bundle(connection)
        rows = await queries.live_workers(connection)
    if bundle is None:
        return ["model bundle: none is active"]
    serving = [row for row in rows if bundle.digest in row.bundles]
    have = {kind for row in rows for kind in row.kinds} | {
        f"infer.{b}" for row in serving for b in row.backbones
    }
    need = ["prepare", "aggregate", "sweep", *(f"infer.{b['name']}" for b in bundle.manifest["backbones"])]
    return [f"worker for {kind}: none seen in the last {ALIVE_S} s" for kind in need if kind not in have]


async def _capacity(request: Request) -> list[str]:
    """Whether less work waits than the high-water mark."""
    await request.app.state.acceptance.check_capacity()
    return []


async def _blobs(request: Request) -> list[str]:
    await asyncio.to_thread(request.app.state.blobs.check)
    return []


async def _broker(request: Request) -> list[str]:
    await request.app.state.redis.ping()
    return []


async def _keys(request: Request) -> list[str]:
    cache = request.app.state.keys
    if not cache.ready:
        await asyncio.to_thread(cache, "any")
    return [] if cache.ready else ["auth-service: its public keys could not be fetched"]

"""The FastAPI app: its parts, its lifespan, and what probes and Prometheus ask for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy.exc import SQLAlchemyError

from auth_service.endpoints import routers
from auth_service.keys import RELOAD_S
from auth_service.parts import Parts
from auth_service.repository import Repository
from auth_service.service.keys import load_keys
from thorax.http import openapi as http_document
from thorax.http import problems
from thorax.http.authentication import Authenticator
from thorax.http.middleware import BodyLimits, RequestTelemetry
from thorax.identity import AUDIENCE, TokenVerifier
from thorax.version import VERSION

SERVICE = "auth-service"
_log = structlog.get_logger(__name__)


def create_app(parts: Parts) -> FastAPI:
    """The app; it connects to the database when it starts, and goes on trying when there is none yet."""
    app = FastAPI(
        title="Thorax auth-service",
        description="Who may come in: people, machines, tokens, keys.",
        version=VERSION,
        openapi_url="/auth/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan,
    )
    app.state.parts = parts
    app.state.doorkeeper = Authenticator(TokenVerifier(parts.settings.issuer, AUDIENCE, parts.keyring))
    for router in routers:
        app.include_router(router)
    _add_probes(app)
    problems.install(app)
    http_document.install(app)
    app.add_middleware(BodyLimits)
    app.add_middleware(RequestTelemetry, service=SERVICE)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    parts: Parts = app.state.parts
    await _refresh(parts)
    app.state.keeper = asyncio.create_task(_keep(parts))
    yield
    app.state.keeper.cancel()
    await parts.engine.dispose()


async def _keep(parts: Parts) -> None:
    """Every half minute: the keys of other replicas and commands in, what has expired out."""
    while True:
        await asyncio.sleep(RELOAD_S if parts.keyring.ready else 1)
        await _refresh(parts)


async def _refresh(parts: Parts) -> None:
    try:
        async with parts.database() as session:
            repository = Repository(session)
            await load_keys(parts, repository)
            await repository.forget_old(parts.settings.session_idle)
            await session.commit()
    except (SQLAlchemyError, OSError) as error:
        _log.warning("database_away", error=type(error).__name__)


def _add_probes(app: FastAPI) -> None:
    @app.get("/healthz", include_in_schema=False)
    async def alive(request: Request) -> JSONResponse:
        """Dead when the task that refreshes the keys has died. An unreachable database does not ask for a restart."""
        dead = request.app.state.keeper.done()
        return JSONResponse({"status": "dead" if dead else "alive", "version": VERSION}, 503 if dead else 200)

    @app.get("/readyz", include_in_schema=False)
    async def ready(request: Request) -> JSONResponse:
        missing = await _missing(request.app.state.parts)
        return JSONResponse({"ready": not missing, "missing": missing}, 503 if missing else 200)

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


async def _missing(parts: Parts) -> list[str]:
    missing = [] if parts.keyring.ready else ["signing key"]
    try:
        async with parts.database() as session:
            return missing if await Repository(session).migrated() else [*missing, "migrations"]
    except (SQLAlchemyError, OSError):
        return [*missing, "database"]

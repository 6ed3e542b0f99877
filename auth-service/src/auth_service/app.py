"""The FastAPI app: its context, its lifespan, and the endpoints for probes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError

from auth_service import queries
from auth_service.accounts import administration
from auth_service.accounts import endpoints as accounts
from auth_service.clients import endpoints as clients
from auth_service.context import AppContext
from auth_service.keys import endpoints as keys
from auth_service.keys.keyring import RELOAD_S
from auth_service.keys.service import load_keys
from auth_service.sessions import endpoints as sessions
from auth_service.sessions import oauth
from thorax.http.app import add_middleware, new_app
from thorax.http.authentication import Authenticator
from thorax.http.background import background
from thorax.identity import AUDIENCE, TokenVerifier
from thorax.version import VERSION

SERVICE = "auth-service"
_log = structlog.get_logger(__name__)


def create_app(context: AppContext) -> FastAPI:
    """The app. It connects to the database at its start, and retries while the database is unreachable."""
    app = new_app(
        "Thorax auth-service",
        "Accounts, sessions, machine clients and signing keys.",
        _lifespan,
        [room.router for room in (oauth, keys, sessions, accounts, clients, administration)],
        openapi_url="/auth/openapi.json",
    )
    app.state.context = context
    app.state.authenticator = Authenticator(TokenVerifier(context.settings.issuer, AUDIENCE, context.keyring))
    _add_probes(app)
    add_middleware(app, context.settings.cors_origins)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    context: AppContext = app.state.context
    await refresh(context)
    async with background(_keep_fresh(context)) as [app.state.refresher]:
        yield
    await context.engine.dispose()


async def _keep_fresh(context: AppContext) -> None:
    while True:
        await asyncio.sleep(RELOAD_S if context.keyring.ready else 1)
        await refresh(context)


async def refresh(context: AppContext) -> None:
    """Load the keys, which other replicas and commands may have changed, and delete what has expired."""
    try:
        async with context.transaction() as tx:
            await load_keys(tx)
            await queries.delete_expired(tx.db, context.settings.session_idle)
    except (SQLAlchemyError, OSError) as error:
        _log.warning("database_away", error=type(error).__name__)


def _add_probes(app: FastAPI) -> None:
    @app.get("/healthz", include_in_schema=False)
    async def alive(request: Request) -> JSONResponse:
        """Dead when the task that refreshes the keys has died. An unreachable database does not ask for a restart."""
        dead = request.app.state.refresher.done()
        return JSONResponse({"status": "dead" if dead else "alive", "version": VERSION}, 503 if dead else 200)

    @app.get("/readyz", include_in_schema=False)
    async def ready(request: Request) -> JSONResponse:
        """Ready once it has a signing key, and then whatever becomes of the database, which all replicas share."""
        missing = [] if request.app.state.context.keyring.ready else ["signing key"]
        again = {"Retry-After": "2"} if missing else {}
        return JSONResponse({"ready": not missing, "missing": missing}, 503 if missing else 200, again)

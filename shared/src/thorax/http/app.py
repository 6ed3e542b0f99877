"""What the apps of all services have in common: strict parameters, problem documents, limits, telemetry, CORS."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from fastapi import APIRouter, Depends, FastAPI

from thorax.http import openapi, problems
from thorax.http.methods import HeadAsGet
from thorax.http.middleware import BodyLimits, RequestTelemetry
from thorax.http.parameters import refuse_unknown_parameters, refuse_unprintable_paths
from thorax.http.sharing import share
from thorax.version import VERSION

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def new_app(
    title: str, description: str, lifespan: Lifespan, routers: Iterable[APIRouter], **more: Any
) -> FastAPI:
    """An app with these endpoints and without FastAPI's own documentation, which asks a CDN; `more` is FastAPI's."""
    app = FastAPI(
        title=title,
        description=description,
        version=VERSION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=openapi.operation_id,
        dependencies=[Depends(refuse_unprintable_paths), Depends(refuse_unknown_parameters)],
        **more,
    )
    for router in routers:
        app.include_router(router)
    problems.install(app)
    openapi.install(app)
    return app


def add_middleware(
    app: FastAPI, cors_origins: Sequence[str], limits: Mapping[str, Any] | None = None
) -> None:
    """What every request passes, around the middleware that the app has already; `limits` are those of BodyLimits."""
    app.add_middleware(BodyLimits, **(limits or {}))
    app.add_middleware(RequestTelemetry)
    app.add_middleware(HeadAsGet)
    share(app, cors_origins)

"""The gateway's FastAPI app: what it is made of, and what it starts and stops."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx
from fastapi import FastAPI
from redis.asyncio import Redis

from gateway import admin, audit, auth_proxy, bundles, health, retention
from gateway.audit import Looks
from gateway.config import GatewaySettings
from gateway.deliveries import destinations, webhook_tests
from gateway.deliveries import endpoints as deliveries
from gateway.dicomweb import endpoints as dicomweb
from gateway.dicomweb import rendered, retrieve, search
from gateway.dicomweb.archive import Archive
from gateway.fhir import endpoints as fhir
from gateway.hints import HintSender
from gateway.images import endpoints as images
from gateway.jobs import endpoints as jobs
from gateway.jobs import events
from gateway.jobs.notifications import JobNotifications
from gateway.jobs.schemas import DISCLAIMER
from gateway.jobs.service import JobService
from gateway.jobs.worklist import Worklist
from gateway.readings import endpoints as readings
from gateway.site import api_docs, pages
from gateway.studies import endpoints as studies
from gateway.studies.filing import Filing
from gateway.studies.settling import Settling
from gateway.uploads import endpoints as uploads
from gateway.uploads.accept import Acceptance
from gateway.uploads.rate_limit import UploadRateLimit
from gateway.uploads.receive import Receiver
from thorax.http.app import add_middleware, new_app
from thorax.http.authentication import Authenticator
from thorax.http.background import background
from thorax.http.database import async_engine
from thorax.http.sharing import GzipJson
from thorax.identity import AUDIENCE, JwksCache, TokenVerifier
from thorax.storage import BlobStore
from thorax.work.hints import Hints

DESCRIPTION = f"""Send chest X-rays, poll the job, get five findings with a heatmap each.

**{DISCLAIMER}**

1. `POST /auth/register`, then `POST /auth/token` for a bearer token.
2. `POST /v1/jobs` with one to twenty images of a study: `202`, and everything is stored durably.
3. `GET /v1/jobs/{{id}}?wait=30` until `state` is `succeeded`.

Every error is a problem document (RFC 9457) with a stable [code](/problems), a sentence, and what to do.

**Versions.** The path has the major version. Within `/v1` parameters, fields, codes and values of enumerations are added, and
none is removed or renamed: ignore what you do not know. **Deprecation.** What a later version removes is marked `deprecated`
here and answers with `Deprecation` (RFC 9745) and `Sunset` (RFC 8594) six months before. Nothing is deprecated now."""


def create_app(settings: GatewaySettings) -> FastAPI:
    """Build the app. Nothing is opened before the server starts it."""
    routers = (
        *(uploads.router, dicomweb.router, retrieve.router, rendered.router, search.router, studies.router),
        *(jobs.jobs, events.router, images.jobs, fhir.router),
        *(jobs.anonymous, images.anonymous),
        *(destinations.router, webhook_tests.router, deliveries.router),
        *(bundles.router, readings.own, readings.administration),
        *(admin.router, audit.router, retention.router, health.router, auth_proxy.router),
        *(api_docs.router, pages.router),
    )
    servers = [{"url": "/", "description": "This server."}]
    app = new_app("Thorax", DESCRIPTION, _lifespan, routers, openapi_url=None, servers=servers)
    app.state.settings = settings
    app.state.notifications = JobNotifications(settings.listen_url)
    app.add_middleware(GzipJson, secret=("/v1/anonymous/", "/auth/"))
    bytes_of = {
        **dict.fromkeys(("/v1/jobs", "/v1/anonymous/jobs"), settings.max_body_bytes),
        **dict.fromkeys(("/dicomweb/studies", "/dicomweb/studies/"), settings.max_stow_bytes),
    }
    limits = {"limits": bytes_of, "idle_s": settings.body_idle_s, "total_s": settings.body_total_s}
    add_middleware(app, settings.cors_origins, limits)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    settings: GatewaySettings = app.state.settings
    database, redis = settings.database_url.get_secret_value(), settings.redis_url.get_secret_value()
    state = app.state
    state.engine = async_engine(database, pooled=settings.database_pooled)
    state.blobs = BlobStore(settings.blobs)
    state.redis = Redis.from_url(redis, socket_timeout=2, socket_connect_timeout=2)
    # A jar that takes no cookie: this client serves everybody, so one caller's session must not stay in it.
    jar = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    state.auth = httpx.AsyncClient(
        base_url=settings.auth_url, timeout=15, cookies=jar, verify=_over_tls(settings)
    )
    state.keys = JwksCache(lambda: _jwks(settings))
    state.authenticator = Authenticator(TokenVerifier(settings.issuer, AUDIENCE, state.keys), state.keys)
    state.upload_rate_limit = UploadRateLimit(settings)
    state.receiver = Receiver(settings, state.blobs)
    hints = HintSender(Hints(redis))
    state.acceptance = Acceptance(settings, state.engine, state.blobs, hints)
    state.worklist = Worklist(state.engine)
    state.looks = Looks(state.engine)
    state.jobs = JobService(state.engine, state.blobs, hints, state.notifications, state.looks)
    state.settling = Settling(state.engine, hints)
    state.filing = Filing(settings, state.engine, state.blobs, state.receiver, hints, state.settling)
    state.archive = Archive(state.engine, hints)
    # The first callers find the keys here; without auth-service the gateway starts all the same.
    await asyncio.to_thread(state.keys, "any")
    async with background(state.notifications.run(), state.settling.run()):
        yield
    await state.auth.aclose()
    await state.redis.aclose()
    await state.engine.dispose()


def _over_tls(settings: GatewaySettings) -> bool:
    """Whether certificates need checking; loading the authorities takes 10 MB, for nothing without TLS."""
    return settings.auth_url.startswith("https:")


def _jwks(settings: GatewaySettings) -> dict[str, object]:
    answer = httpx.get(
        f"{settings.auth_url}/auth/.well-known/jwks.json", timeout=10, verify=_over_tls(settings)
    )
    answer.raise_for_status()
    keys: dict[str, object] = answer.json()
    return keys

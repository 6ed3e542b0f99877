"""HTTP for destinations: where an administrator lets a tenant's results be sent, and who is told of them."""

from base64 import b64encode
from datetime import datetime
from secrets import token_bytes
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, Field, SecretStr

from gateway.config import GatewaySettings
from gateway.deliveries.addresses import ArchiveUrl, HttpsUrl, refuse_private
from gateway.engine import engine_of
from thorax import queries
from thorax.errors import Code, CodedError
from thorax.http.authentication import Admin
from thorax.http.database import tenant_autocommit
from thorax.http.problems import responses
from thorax.sealing import delivery_seal
from thorax.states import DestinationKind

router = APIRouter(prefix="/v1/admin/tenants/{tenant_id}", tags=["DICOM"])
_ERRORS = (Code.UNAUTHENTICATED, Code.FORBIDDEN)
_PUT = (*_ERRORS, Code.CSRF, Code.NOT_FOUND, Code.FEATURE_OFF)
_SQL = queries.load(__file__)
Name = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$", description="a name for people")]


class NewDestination(BaseModel):
    """A DICOMweb server that takes STOW-RS and answers WADO-RS, or a DICOM peer that takes C-STORE."""

    url: ArchiveUrl = Field(
        max_length=500,
        description="`https://…` of a DICOMweb server, or `dicom://[our AE title@]host:port/its AE title`; "
        "with `?tls=name` over TLS, by the operator's files of that name.",
        examples=[
            "https://pacs.example.org/dicom-web",
            "dicom://10.1.2.3:4242/ORTHANC",
            "dicom://pacs.example.org:2762/PACS?tls=hospital",
        ],
    )
    authorization: SecretStr | None = Field(
        default=None,
        max_length=4000,
        description="Value of the Authorization header. It can't be read back.",
        examples=["Basic dGhvcmF4OnNlY3JldA=="],
    )
    only_from: str | None = Field(
        default=None,
        pattern=r"^[ -\[\]-~]{1,16}$",  # PS3.5, section 6.2, AE
        description="Only results of studies that the DICOM peer of this AE title sent by C-STORE.",
        examples=["ORTHANC"],
    )


class NewWebhook(BaseModel):
    """A server that is told of every job that has ended."""

    url: HttpsUrl = Field(examples=["https://ris.example.org/thorax"])


class Destination(BaseModel):
    """A destination of a tenant's results."""

    name: str
    kind: DestinationKind
    url: str
    only_from: str | None = None
    created_at: datetime


class Webhook(Destination):
    """A webhook with its secret, which is told this once."""

    secret: str = Field(
        description="Signs what is sent (Standard Webhooks).",
        examples=["whsec_C2FVsBQIhrscChlQIMV-b5sSYspob7oD"],
    )
    warning: str | None = Field(
        description="What is likely wrong with the URL, which was saved all the same: its host has no address.",
        examples=[None],
    )


class Destinations(BaseModel):
    """All destinations of a tenant."""

    items: list[Destination]


@router.put("/destinations/{name}", responses=responses(*_PUT))
async def put_destination(
    _: Admin, request: Request, tenant_id: UUID, name: Name, new: NewDestination
) -> Destination:
    """Send a tenant's results to a DICOMweb server or a DICOM peer from now on."""
    secret = new.authorization.get_secret_value() if new.authorization else None
    if secret is not None and (not secret.isascii() or not secret.isprintable()):
        raise CodedError(Code.VALIDATION, "authorization must be printable ASCII.")
    kind: DestinationKind = "dicom" if new.url.startswith("dicom:") else "dicomweb"
    if secret and kind == "dicom":
        raise CodedError(Code.VALIDATION, "A DICOM peer takes no authorization.")
    since = await _put(request, tenant_id, name, kind, new.url, secret, new.only_from)
    return Destination(name=name, kind=kind, url=new.url, only_from=new.only_from, created_at=since)


@router.put("/webhooks/{name}", tags=["webhooks"], responses=responses(*_PUT, Code.ADDRESS_NOT_ALLOWED))
async def put_webhook(_: Admin, request: Request, tenant_id: UUID, name: Name, new: NewWebhook) -> Webhook:
    """Tell a server of a tenant's jobs that end from now on, and let uploads name a `callback_url` of its origin.

    The same request again makes a new secret.
    """
    warning = await refuse_private(new.url, request.app.state.settings.private_webhooks)
    secret = f"whsec_{b64encode(token_bytes(32)).decode()}"
    since = await _put(request, tenant_id, name, "webhook", new.url, secret, None)
    return Webhook(name=name, kind="webhook", url=new.url, created_at=since, secret=secret, warning=warning)


@router.get("/destinations", responses=responses(*_ERRORS))
async def list_destinations(_: Admin, request: Request, tenant_id: UUID) -> Destinations:
    """List a tenant's destinations and webhooks."""
    async with tenant_autocommit(engine_of(request), tenant_id) as connection:
        rows = (await connection.execute(_SQL["list"], {"tenant": tenant_id})).all()
    return Destinations(items=[Destination.model_validate(dict(row._mapping)) for row in rows])


@router.delete(
    "/destinations/{name}",
    status_code=204,
    responses=responses(*_ERRORS, Code.CSRF, Code.NOT_FOUND),
)
async def delete_destination(_: Admin, request: Request, tenant_id: UUID, name: Name) -> None:
    """Send nothing more to a destination or webhook; what waits for it is dropped."""
    async with tenant_autocommit(engine_of(request), tenant_id) as connection:
        values = {"tenant": tenant_id, "name": name}
        if (await connection.execute(_SQL["delete"], values)).first() is None:
            raise CodedError(Code.NOT_FOUND, "The tenant has no such destination.")


async def _put(
    request: Request,
    tenant: UUID,
    name: str,
    kind: DestinationKind,
    url: str,
    secret: str | None,
    only_from: str | None,
) -> datetime:
    """Since when the tenant has it."""
    settings: GatewaySettings = request.app.state.settings
    sealed = secret and delivery_seal(settings.delivery_secret_file).close(secret.encode())
    values = {
        "tenant": tenant,
        "name": name,
        "kind": kind,
        "url": url,
        "sealed": sealed,
        "only_from": only_from,
    }
    async with tenant_autocommit(engine_of(request), tenant) as connection:
        since: datetime | None = (await connection.execute(_SQL["put"], values)).scalar()
    if since is None:
        raise CodedError(Code.NOT_FOUND, "No tenant has this id.")
    return since

"""One's own machine clients: list, create, rotate, revoke."""

from datetime import datetime
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field

from auth_service.accounts.schemas import Id, Input, Output, Scopes
from auth_service.clients import queries, service
from auth_service.dependencies import CurrentUser, Tx
from auth_service.models import Client
from thorax.errors import Code
from thorax.http.parameters import PRINTED
from thorax.http.problems import responses
from thorax.identity import Scope

router = APIRouter(prefix="/auth/clients", tags=["machine clients"])
_MINE = (Code.UNAUTHENTICATED, Code.CSRF, Code.NOT_FOUND)


class NewClient(Input):
    """A machine client to create."""

    name: str = Field(pattern=PRINTED, min_length=1, max_length=100, examples=["PACS of ward 3"])
    scopes: Scopes = Field(default=[Scope.STUDIES_READ, Scope.STUDIES_WRITE], min_length=1, max_length=4)


class Rotation(Input):
    """How to rotate a secret."""

    at_once: bool = Field(default=False, description="end the old secret now instead of in 24 hours")


class ClientInfo(Output):
    """A machine client of yours; `id` is its `client_id`."""

    id: Id
    name: str = Field(examples=["PACS of ward 3"])
    scopes: Scopes
    created_at: datetime
    last_used_at: datetime | None
    old_secret_until: datetime | None = Field(
        description="the secret before the last rotation works until then"
    )


class ClientWithSecret(ClientInfo):
    """The same with its secret, which is shown this once and kept only as a digest."""

    secret: str = Field(examples=["thorax_0Jq…"])


@router.get("", responses=responses(Code.UNAUTHENTICATED))
async def list_clients(user: CurrentUser, tx: Tx) -> list[ClientInfo]:
    """List your machine clients, newest first."""
    return [ClientInfo.model_validate(row) for row in await queries.clients_of(tx.db, user.id)]


@router.post("", status_code=201, responses=responses(Code.UNAUTHENTICATED, Code.FORBIDDEN, Code.CSRF))
async def create_client(body: NewClient, user: CurrentUser, tx: Tx) -> ClientWithSecret:
    """Create a machine client. This answer is the only one that shows its secret."""
    return _with_secret(*await service.create(tx, user, body.name, body.scopes))


@router.post("/{client_id}/rotate", responses=responses(*_MINE))
async def rotate_client_secret(
    client_id: UUID, user: CurrentUser, tx: Tx, body: Rotation | None = None
) -> ClientWithSecret:
    """Replace the secret. The old one works for another 24 hours unless `at_once`."""
    at_once = body is not None and body.at_once
    return _with_secret(*await service.rotate(tx, user, client_id, at_once=at_once))


@router.delete("/{client_id}", status_code=204, responses=responses(*_MINE))
async def revoke_client(client_id: UUID, user: CurrentUser, tx: Tx) -> None:
    """Revoke a machine client. Other services accept its access token for up to ten more minutes."""
    await service.revoke(tx, user, client_id)


def _with_secret(row: Client, secret: str) -> ClientWithSecret:
    return ClientWithSecret(**ClientInfo.model_validate(row).model_dump(), secret=secret)

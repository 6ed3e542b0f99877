"""One's own machine clients: list, create, rotate, revoke."""

from uuid import UUID

from fastapi import APIRouter

from auth_service.endpoints.dependencies import ClientService, CurrentUser, Repo
from auth_service.schemas import ClientInfo, ClientWithSecret, NewClient, Rotation
from thorax.errors import Code
from thorax.http.problems import responses

router = APIRouter(prefix="/auth/clients", tags=["machine clients"])
_MINE = (Code.UNAUTHENTICATED, Code.CSRF, Code.NOT_FOUND)


@router.get("", responses=responses(Code.UNAUTHENTICATED))
async def clients(user: CurrentUser, repository: Repo) -> list[ClientInfo]:
    """Your machine clients, newest first."""
    return [ClientInfo.of(row) for row in await repository.clients.of_owner(user.id)]


@router.post("", status_code=201, responses=responses(Code.UNAUTHENTICATED, Code.FORBIDDEN, Code.CSRF))
async def create(body: NewClient, user: CurrentUser, service: ClientService) -> ClientWithSecret:
    """A new machine client. Its secret is in this answer and nowhere else."""
    return ClientWithSecret.new(*await service.create(user, body.name, body.scopes))


@router.post("/{client_id}/rotate", responses=responses(*_MINE))
async def rotate(
    client_id: UUID, user: CurrentUser, service: ClientService, body: Rotation | None = None
) -> ClientWithSecret:
    """A new secret; the old one works for another 24 hours unless `at_once`."""
    at_once = body is not None and body.at_once
    return ClientWithSecret.new(*await service.rotate(user, client_id, at_once=at_once))


@router.delete("/{client_id}", status_code=204, responses=responses(*_MINE))
async def revoke(client_id: UUID, user: CurrentUser, service: ClientService) -> None:
    """Revoke a machine client; its access token lives on for up to ten minutes at other services."""
    await service.revoke(user, client_id)

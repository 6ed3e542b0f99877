"""SQL on machine clients."""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.models import Client, User


async def client_and_owner(db: AsyncSession, client_id: UUID) -> tuple[Client, User] | None:
    """The client and its owner."""
    statement = select(Client, User).join(User, User.id == Client.owner_id).where(Client.id == client_id)
    row = (await db.execute(statement)).first()
    return (row[0], row[1]) if row else None


async def clients_of(db: AsyncSession, owner_id: UUID) -> list[Client]:
    """A user's clients, newest first."""
    statement = select(Client).where(Client.owner_id == owner_id).order_by(Client.created_at.desc())
    return list(await db.scalars(statement))


async def owned_client(db: AsyncSession, client_id: UUID, owner_id: UUID) -> Client | None:
    """One client of a user, locked."""
    statement = select(Client).where(Client.id == client_id, Client.owner_id == owner_id)
    return (await db.scalars(statement.with_for_update())).first()

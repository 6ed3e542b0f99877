"""Machine clients."""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.models import Client, User


class ClientRows:
    """Table `clients`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, row: Client) -> None:
        """Keep a new client."""
        self._session.add(row)
        await self._session.flush()
        await self._session.refresh(row)

    async def with_owner(self, client_id: UUID) -> tuple[Client, User] | None:
        """The client and its owner."""
        statement = select(Client, User).join(User, User.id == Client.owner_id).where(Client.id == client_id)
        row = (await self._session.execute(statement)).first()
        return (row[0], row[1]) if row else None

    async def of_owner(self, owner_id: UUID) -> list[Client]:
        """A user's clients, newest first."""
        statement = select(Client).where(Client.owner_id == owner_id).order_by(Client.created_at.desc())
        return list(await self._session.scalars(statement))

    async def owned(self, client_id: UUID, owner_id: UUID) -> Client | None:
        """One client of a user, locked."""
        statement = select(Client).where(Client.id == client_id, Client.owner_id == owner_id)
        found: Client | None = await self._session.scalar(statement.with_for_update())
        return found

    async def delete(self, row: Client) -> None:
        """Revoke a client."""
        await self._session.delete(row)
        await self._session.flush()

"""Tenants, users and invitations."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Row, delete, func, select, text, tuple_
from sqlalchemy.dialects.postgresql import aggregate_order_by, insert
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.models import Invitation, Tenant, User
from thorax.identity import Scope


class UserRows:
    """Tables `tenants`, `users`, `invitations`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def by_id(self, user_id: UUID, *, lock: bool = False) -> User | None:
        """The user, or None; `lock` keeps others from changing it until the transaction ends."""
        return await self._session.get(
            User, user_id, with_for_update=True if lock else None, populate_existing=True
        )

    async def by_name(self, name: str) -> User | None:
        """The user with this normalised name, or None."""
        found: User | None = await self._session.scalar(select(User).where(User.name == name))
        return found

    async def add_tenant(self) -> UUID:
        """A new, empty tenant."""
        tenant = Tenant(id=uuid4())
        self._session.add(tenant)
        await self._session.flush()
        return tenant.id

    async def add(self, name: str, password_hash: str, tenant: UUID, scopes: Iterable[str]) -> User | None:
        """The new user, or None when the name is taken."""
        row = {"id": uuid4(), "tenant_id": tenant, "name": name}
        statement = (
            insert(User)
            .values(**row, password_hash=password_hash, scopes=sorted(scopes))
            .on_conflict_do_nothing(index_elements=[User.name])
            .returning(User)
        )
        found: User | None = await self._session.scalar(statement)
        return found

    async def page(self, before: tuple[datetime, UUID] | None, limit: int) -> list[User]:
        """Up to `limit` users of all tenants, newest first, from just after the cursor."""
        statement = select(User).order_by(User.created_at.desc(), User.id.desc()).limit(limit)
        if before is not None:
            statement = statement.where(tuple_(User.created_at, User.id) < tuple_(*before))
        return list(await self._session.scalars(statement))

    async def tenants(self, ids: Iterable[UUID]) -> Sequence[Row[tuple[UUID, str, int]]]:
        """`id`, `name` of the oldest member and number of `members` of each tenant that has any."""
        oldest = func.array_agg(aggregate_order_by(User.name, User.created_at, User.id))[1]
        statement = select(User.tenant_id.label("id"), oldest.label("name"), func.count().label("members"))
        found = await self._session.execute(statement.where(User.tenant_id.in_(ids)).group_by(User.tenant_id))
        return found.all()

    async def lock_admins(self) -> set[UUID]:
        """The ids of all admins who can log in; until the transaction ends nobody else can change them."""
        statement = (
            select(User.id)
            .where(User.scopes.contains([str(Scope.ADMIN)]), User.disabled_at.is_(None))
            .order_by(User.id)
            .with_for_update()
        )
        return set(await self._session.scalars(statement))

    async def delete(self, user: User) -> None:
        """Erase the user with all sessions and clients, and the tenant with its last user."""
        # Locked first, so that nobody joins the tenant while it goes.
        await self._session.execute(select(Tenant.id).where(Tenant.id == user.tenant_id).with_for_update())
        await self._session.execute(delete(User).where(User.id == user.id))
        left = await self._session.scalar(
            select(func.count()).select_from(User).where(User.tenant_id == user.tenant_id)
        )
        if not left:
            await self._session.execute(delete(Tenant).where(Tenant.id == user.tenant_id))
            # Its studies are not ours to see; the sweeper erases them.
            doom = text("insert into public.doomed_tenants (tenant_id) values (:id) on conflict do nothing")
            await self._session.execute(doom, {"id": user.tenant_id})

    async def invite(self, digest: bytes, host: User, expires_at: datetime) -> None:
        """Keep an invitation into a user's tenant; it goes with the user."""
        row = Invitation(digest=digest, tenant_id=host.tenant_id, host_id=host.id, expires_at=expires_at)
        self._session.add(row)
        await self._session.flush()

    async def withdraw_invitations(self, host: UUID) -> None:
        """Delete what a user has handed out."""
        await self._session.execute(delete(Invitation).where(Invitation.host_id == host))

    async def invited(self, digest: bytes) -> bool:
        """Whether the invitation is valid; it is not used up."""
        return await self._session.scalar(select(Invitation.digest).where(*_valid(digest))) is not None

    async def take_invitation(self, digest: bytes) -> UUID | None:
        """The tenant that the invitation opens, which is used up by this; None when it is not valid."""
        found: UUID | None = await self._session.scalar(
            delete(Invitation).where(*_valid(digest)).returning(Invitation.tenant_id)
        )
        return found


def _valid(digest: bytes) -> tuple[ColumnElement[bool], ...]:
    """The invitation of this digest, unless it has expired."""
    return Invitation.digest == digest, Invitation.expires_at > func.now()

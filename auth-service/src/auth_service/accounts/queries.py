"""SQL on tenants, users and invitations."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Row, delete, func, select, text, tuple_
from sqlalchemy.dialects.postgresql import aggregate_order_by, insert
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.models import Invitation, Tenant, User
from thorax.identity import Scope


async def user(db: AsyncSession, user_id: UUID, *, lock: bool = False) -> User | None:
    """The user as of now, or None. `lock` keeps others from changing it until the transaction ends."""
    return await db.get(User, user_id, with_for_update=True if lock else None, populate_existing=True)


async def user_by_name(db: AsyncSession, name: str) -> User | None:
    """The user with this normalised name, or None."""
    return (await db.scalars(select(User).where(User.name == name))).first()


async def add_user(
    db: AsyncSession, name: str, password_hash: str, tenant: UUID, scopes: Iterable[str]
) -> User | None:
    """The new user, or None when the name is taken."""
    row = {"id": uuid4(), "tenant_id": tenant, "name": name}
    statement = insert(User).values(**row, password_hash=password_hash, scopes=sorted(scopes))
    statement = statement.on_conflict_do_nothing(index_elements=[User.name])
    return (await db.scalars(statement.returning(User))).first()


async def newest_users(db: AsyncSession, before: tuple[datetime, UUID] | None, limit: int) -> list[User]:
    """Up to `limit` users of all tenants, newest first, from just after the cursor."""
    statement = select(User).order_by(User.created_at.desc(), User.id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(tuple_(User.created_at, User.id) < tuple_(*before))
    return list(await db.scalars(statement))


async def tenants(db: AsyncSession, ids: Iterable[UUID]) -> Sequence[Row[tuple[UUID, str, int]]]:
    """`id`, `name` of the oldest member and number of `members` of each tenant that has any."""
    oldest = func.array_agg(aggregate_order_by(User.name, User.created_at, User.id))[1]
    statement = select(User.tenant_id.label("id"), oldest.label("name"), func.count().label("members"))
    found = await db.execute(statement.where(User.tenant_id.in_(ids)).group_by(User.tenant_id))
    return found.all()


async def lock_admins(db: AsyncSession) -> set[UUID]:
    """The ids of all admins who can log in. Nobody else can change them until the transaction ends."""
    admins = select(User.id).where(User.scopes.contains([str(Scope.ADMIN)]), User.disabled_at.is_(None))
    return set(await db.scalars(admins.order_by(User.id).with_for_update()))


async def delete_user(db: AsyncSession, user: User) -> None:
    """Delete the user with all sessions and clients, and the tenant with its last user."""
    # Locked first, so that nobody joins the tenant while it is deleted.
    await db.execute(select(Tenant.id).where(Tenant.id == user.tenant_id).with_for_update())
    await db.execute(delete(User).where(User.id == user.id))
    if await db.scalar(select(User.id).where(User.tenant_id == user.tenant_id).limit(1)) is None:
        await db.execute(delete(Tenant).where(Tenant.id == user.tenant_id))
        # This service may not see the tenant's studies; the sweeper deletes them.
        pending = text(
            "insert into public.tenants_pending_deletion (tenant_id) values (:id) on conflict do nothing"
        )
        await db.execute(pending, {"id": user.tenant_id})


async def delete_invitations(db: AsyncSession, host: UUID) -> None:
    """Delete a user's open invitations."""
    await db.execute(delete(Invitation).where(Invitation.host_id == host))


async def invitation_is_valid(db: AsyncSession, digest: bytes) -> bool:
    """Whether the invitation is valid. It stays valid."""
    return await db.scalar(select(Invitation.digest).where(*_valid(digest))) is not None


async def take_invitation(db: AsyncSession, digest: bytes) -> UUID | None:
    """The tenant that the invitation opens, which this uses up; None when it is not valid."""
    statement = delete(Invitation).where(*_valid(digest)).returning(Invitation.tenant_id)
    return (await db.scalars(statement)).first()


def _valid(digest: bytes) -> tuple[ColumnElement[bool], ...]:
    return Invitation.digest == digest, Invitation.expires_at > func.now()

"""The rows of schema `auth`. The migration creates the tables; these classes name their columns."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from sqlalchemy import DateTime, FetchedValue, ForeignKey, LargeBinary, MetaData, Text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

Id = Annotated[UUID, mapped_column(primary_key=True)]
Digest = Annotated[bytes, mapped_column(primary_key=True)]
SetByDatabase = Annotated[datetime, mapped_column(server_default=FetchedValue())]


class Base(DeclarativeBase):
    """All rows of auth-service; timestamps carry their zone, secrets are kept as digests only."""

    metadata = MetaData(schema="auth")
    type_annotation_map = {  # noqa: RUF012
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
        list[str]: ARRAY(Text),
        bytes: LargeBinary,
        str: Text,
    }


class Tenant(Base):
    """Users who see each other's studies: one person alone, or a department by invitation."""

    __tablename__ = "tenants"
    id: Mapped[Id]


class User(Base):
    """A person. `name` is normalised (auth_service.passwords.normal_name)."""

    __tablename__ = "users"
    id: Mapped[Id]
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("auth.tenants.id"))
    name: Mapped[str]
    password_hash: Mapped[str]
    scopes: Mapped[list[str]]
    disabled_at: Mapped[datetime | None]
    created_at: Mapped[SetByDatabase]

    @property
    def disabled(self) -> bool:
        """Whether an administrator has locked the account."""
        return self.disabled_at is not None


class Invitation(Base):
    """Lets its bearer sign up into a tenant, once."""

    __tablename__ = "invitations"
    digest: Mapped[Digest]
    tenant_id: Mapped[UUID]
    host_id: Mapped[UUID | None]
    expires_at: Mapped[datetime]


class Client(Base):
    """A machine, e.g. a PACS. It never has more scopes than its owner, and none while the owner is disabled."""

    __tablename__ = "clients"
    id: Mapped[Id]
    owner_id: Mapped[UUID] = mapped_column(ForeignKey("auth.users.id"))
    name: Mapped[str]
    scopes: Mapped[list[str]]
    secret: Mapped[bytes]
    old_secret: Mapped[bytes | None]
    old_secret_until: Mapped[datetime | None]
    created_at: Mapped[SetByDatabase]
    last_used_at: Mapped[datetime | None]


class Session(Base):
    """One login: a family of refresh tokens. `csrf` (a sha256, hex) marks a session of the page."""

    __tablename__ = "sessions"
    id: Mapped[Id]
    user_id: Mapped[UUID] = mapped_column(ForeignKey("auth.users.id"))
    scopes: Mapped[list[str]]
    csrf: Mapped[str | None]
    user_agent: Mapped[str]
    created_at: Mapped[SetByDatabase]
    last_used_at: Mapped[SetByDatabase]
    expires_at: Mapped[datetime]

    @property
    def page(self) -> bool:
        """Whether the page opened it, and not a client of the API."""
        return self.csrf is not None

    def expired(self, idle: timedelta) -> bool:
        """Whether it is too old, or was not used for `idle`."""
        now = datetime.now(UTC)
        return self.expires_at < now or self.last_used_at < now - idle


class RefreshToken(Base):
    """One token of a family. All but the newest have `used_at`; their reuse reveals a thief."""

    __tablename__ = "refresh_tokens"
    digest: Mapped[Digest]
    session_id: Mapped[UUID] = mapped_column(ForeignKey("auth.sessions.id"))
    used_at: Mapped[datetime | None]


class LoginFailure(Base):
    """An attempt that failed or is being checked. `account` is a digest: people type passwords as names."""

    __tablename__ = "login_failures"
    id: Mapped[int] = mapped_column(primary_key=True)
    account: Mapped[bytes]
    address: Mapped[str]
    failed_at: Mapped[SetByDatabase]


class SigningKey(Base):
    """An RSA key pair. The private half is encrypted with a key that the database does not hold."""

    __tablename__ = "signing_keys"
    kid: Mapped[str] = mapped_column(primary_key=True)
    public_jwk: Mapped[dict[str, Any]]
    private_key: Mapped[bytes]
    active_from: Mapped[datetime]
    retires_at: Mapped[datetime | None]

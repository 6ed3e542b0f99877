"""The rows of schema `auth`. The migration 0002_auth creates the tables; these classes name their columns."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import DateTime, FetchedValue, ForeignKey, LargeBinary, MetaData, Text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


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
    """Those who see each other's studies: a person alone, or a department by invitation."""

    __tablename__ = "tenants"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = mapped_column(server_default=FetchedValue())


class User(Base):
    """A person. `name` is normalised (auth_service.passwords.normal_name)."""

    __tablename__ = "users"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("auth.tenants.id"))
    name: Mapped[str]
    password_hash: Mapped[str]
    scopes: Mapped[list[str]]
    disabled_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=FetchedValue())


class Invitation(Base):
    """Lets its bearer sign up into a tenant, once."""

    __tablename__ = "invitations"
    digest: Mapped[bytes] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID]
    host_id: Mapped[UUID | None]
    expires_at: Mapped[datetime]


class Client(Base):
    """A machine, e.g. a PACS. It can never do more than its owner, and nothing once the owner is disabled."""

    __tablename__ = "clients"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    owner_id: Mapped[UUID] = mapped_column(ForeignKey("auth.users.id"))
    name: Mapped[str]
    scopes: Mapped[list[str]]
    secret: Mapped[bytes]
    old_secret: Mapped[bytes | None]
    old_secret_until: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=FetchedValue())
    last_used_at: Mapped[datetime | None]


class Session(Base):
    """One login: a family of refresh tokens. `csrf` (a sha256, hex) makes it a session of the page."""

    __tablename__ = "sessions"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("auth.users.id"))
    scopes: Mapped[list[str]]
    csrf: Mapped[str | None]
    user_agent: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=FetchedValue())
    last_used_at: Mapped[datetime] = mapped_column(server_default=FetchedValue())
    expires_at: Mapped[datetime]


class RefreshToken(Base):
    """One token of a family; all but the newest carry `used_at` and betray a thief."""

    __tablename__ = "refresh_tokens"
    digest: Mapped[bytes] = mapped_column(primary_key=True)
    session_id: Mapped[UUID] = mapped_column(ForeignKey("auth.sessions.id"))
    used_at: Mapped[datetime | None]


class LoginFailure(Base):
    """An attempt that failed, or is being checked. `account` is a digest: people type passwords as names."""

    __tablename__ = "login_failures"
    id: Mapped[int] = mapped_column(primary_key=True)
    account: Mapped[bytes]
    address: Mapped[str]
    failed_at: Mapped[datetime] = mapped_column(server_default=FetchedValue())


class SigningKey(Base):
    """An RSA key pair; the private half is encrypted with a key that the database does not hold."""

    __tablename__ = "signing_keys"
    kid: Mapped[str] = mapped_column(primary_key=True)
    public_jwk: Mapped[dict[str, Any]]
    private_key: Mapped[bytes]
    created_at: Mapped[datetime] = mapped_column(server_default=FetchedValue())
    active_from: Mapped[datetime]
    retires_at: Mapped[datetime | None]

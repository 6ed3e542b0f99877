"""What one running auth-service shares between its requests, and the transaction of one request."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID
from weakref import WeakValueDictionary

from pydantic import SecretStr
from sqlalchemy import Connection, event
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session, SessionTransaction

from auth_service.config import AuthSettings
from auth_service.keys.keyring import KeyEncryption, Keyring
from auth_service.models import Base
from auth_service.passwords import Passwords
from auth_service.tokens import TokenSigner
from thorax.http.database import async_engine, transactional

Row = TypeVar("Row", bound=Base)


@dataclass(frozen=True)
class AppContext:
    """Settings, database, keys and password hashing; made once by `build`.

    `login_locks`: one per account and address, by name, so that simultaneous logins to one account are checked one
    after the other. A lock that nobody holds is forgotten.
    """

    settings: AuthSettings
    engine: AsyncEngine
    open_session: async_sessionmaker[AsyncSession]
    encryption: KeyEncryption
    keyring: Keyring
    signer: TokenSigner
    passwords: Passwords
    login_locks: WeakValueDictionary[bytes, asyncio.Lock] = field(default_factory=WeakValueDictionary)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator["Transaction"]:
        """A transaction that commits when the block ends without an exception."""
        async with self.open_session() as db:
            yield Transaction(self, db)
            await db.commit()


@dataclass(frozen=True)
class Transaction:
    """The database session of one request or command, with the app's context."""

    app: AppContext
    db: AsyncSession

    async def add(self, row: Row) -> Row:
        """Insert a row now, not with the commit; the row."""
        self.db.add(row)
        await self.db.flush()
        return row

    async def act_as(self, user_id: UUID) -> None:
        """Name the account that what follows is done by, for the audit; also after `commit_and_release`."""
        self.db.info["actor"] = str(user_id)
        await self.db.run_sync(lambda db: _name_actor(db, None, db.connection()))

    async def commit_and_release(self) -> None:
        """Commit what was done so far and return the connection to the pool.

        For what must persist although the request fails (a counted attempt, a revoked session), and before slow
        hashing, which must not hold a connection.
        """
        await self.db.commit()


@event.listens_for(Session, "after_begin")
def _name_actor(db: Session, _transaction: SessionTransaction | None, connection: Connection) -> None:
    if actor := db.info.get("actor"):
        connection.exec_driver_sql("select set_config('thorax.actor', %s, true)", (actor,))


def build(settings: AuthSettings) -> AppContext:
    """The context of an app; it does not connect yet."""
    engine = async_engine(settings.database_url.get_secret_value(), pooled=settings.database_pooled)
    encryption = KeyEncryption(SecretStr(settings.auth_secret_file.read_text().strip()))
    keyring = Keyring(encryption)
    signer = TokenSigner(settings.issuer, keyring.signing, settings.token_life_s)
    passwords = Passwords(time_cost=settings.password_time_cost, memory_kib=settings.password_memory_kib)
    open_session = async_sessionmaker(transactional(engine), expire_on_commit=False)
    return AppContext(settings, engine, open_session, encryption, keyring, signer, passwords)

"""What one running auth-service shares between its requests."""

import asyncio
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from auth_service.config import AuthSettings
from auth_service.keys import Keyring, Vault
from auth_service.passwords import Passwords
from auth_service.tokens import Mint
from thorax.http.database import async_engine


class Turns:
    """One lock per name, gone when nobody holds it: who logs in twice at once waits for himself."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()

    def of(self, name: bytes) -> asyncio.Lock:
        """The lock called `name`."""
        return self._locks.setdefault(name, asyncio.Lock())


@dataclass(frozen=True)
class Parts:
    """Settings, database, keys and hashing; built once by `build`."""

    settings: AuthSettings
    engine: AsyncEngine
    database: async_sessionmaker[AsyncSession]
    vault: Vault
    keyring: Keyring
    mint: Mint
    passwords: Passwords
    turns: Turns = field(default_factory=Turns)


def build(settings: AuthSettings, passwords: Passwords | None = None) -> Parts:
    """Put the parts together; connects to nothing yet. Raises ValueError without a usable secret file."""
    engine = async_engine(settings.database_url.get_secret_value(), pooled=settings.database_pooled)
    vault = Vault(settings.auth_secret())
    keyring = Keyring(vault)
    return Parts(
        settings,
        engine,
        async_sessionmaker(engine, expire_on_commit=False),
        vault,
        keyring,
        Mint(settings.issuer, keyring, settings.token_life_s),
        passwords or Passwords(),
    )

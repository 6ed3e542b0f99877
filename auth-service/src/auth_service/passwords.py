"""Names and passwords: what is allowed, Argon2id, and at most two hashes at a time."""

import re
import secrets
import unicodedata
from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter, to_thread
from argon2 import PasswordHasher, Type
from argon2.exceptions import Argon2Error, InvalidHashError

from thorax.errors import Code, CodedError

MIN_CHARACTERS = 12
MAX_BYTES = 1024
MAX_NAME = 254  # RFC 5321, section 4.5.3.1.3: no e-mail address is longer
NAME_RULE = "an e-mail address, or 2 to 64 letters, digits and `._+-`"
T = TypeVar("T")
_NAME = re.compile(r"[\w.+-]{2,64}(@[\w-]+(\.[\w-]+)*)?")


def normal_name(name: str) -> str:
    """The one form of an account's name: NFKC, casefolded. Raises CodedError(VALIDATION)."""
    if len(name) <= MAX_NAME:
        normal = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name.strip()).casefold())
        if len(normal) <= MAX_NAME and _NAME.fullmatch(normal):
            return normal
    raise CodedError(Code.VALIDATION, f"The name must be {NAME_RULE}.")


def refuse_weak(password: str, name: str) -> None:
    """Refuse a password that is too short, too long or the name itself: CodedError(WEAK_PASSWORD)."""
    if len(password.encode()) > MAX_BYTES:
        raise CodedError(Code.WEAK_PASSWORD, f"The password is longer than {MAX_BYTES} bytes.")
    if len(password) < MIN_CHARACTERS:
        raise CodedError(Code.WEAK_PASSWORD, f"The password has fewer than {MIN_CHARACTERS} characters.")
    if unicodedata.normalize("NFKC", password).strip().casefold() in (name, name.partition("@")[0]):
        raise CodedError(Code.WEAK_PASSWORD, "The password must differ from the name.")


class Passwords:
    """Argon2id in threads. By default about 60 ms and 46 MiB each, more than OWASP's minimum."""

    MAX_OPEN = 100  # about three seconds of work

    def __init__(self, *, time_cost: int = 2, memory_kib: int = 46 * 1024, at_once: int = 2) -> None:
        self._hasher = PasswordHasher(time_cost, memory_kib, parallelism=1, type=Type.ID)
        self._limiter = CapacityLimiter(at_once)  # so that a flood of logins leaves threads for other work
        self._open = 0
        # Unknown names are checked against this, so that they take as long as known ones.
        self._unknown = self._hasher.hash(secrets.token_urlsafe(32))

    async def hash(self, password: str) -> str:
        """The hash to store, with its parameters and salt in it."""
        return await self._run(self._hash, password)

    async def matches(self, password: str, stored: str | None) -> bool:
        """Whether `password` has the hash `stored`; without one, False after as long."""
        if len(password.encode()) > MAX_BYTES:
            return False
        return await self._run(self._verify, password, stored or self._unknown) and stored is not None

    def outdated(self, stored: str) -> bool:
        """Whether the hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(stored)

    async def _run(self, work: Callable[..., T], *arguments: str) -> T:
        if self._open >= self.MAX_OPEN:
            raise CodedError(Code.OVERLOADED, "Too many logins are waiting.", retry_after=5)
        self._open += 1
        try:
            return await to_thread.run_sync(work, *arguments, limiter=self._limiter)
        finally:
            self._open -= 1

    def _hash(self, password: str) -> str:
        return self._hasher.hash(unicodedata.normalize("NFKC", password))

    def _verify(self, password: str, stored: str) -> bool:
        try:
            return self._hasher.verify(stored, unicodedata.normalize("NFKC", password))
        except (Argon2Error, InvalidHashError):
            return False

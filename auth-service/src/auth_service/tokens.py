"""Access tokens are signed here (thorax.identity verifies them); opaque secrets are made and digested."""

import hashlib
import secrets
import time
from collections.abc import Callable, Iterable
from typing import Any, Literal
from uuid import UUID, uuid4

from jose import jwk, jwt
from pydantic import SecretStr

from thorax.identity import ALGORITHM, AUDIENCE, TOKEN_TYPE


def new_secret(prefix: str = "") -> str:
    """256 random bits, base64url. With a prefix, secret scanners find it in places where it should not be."""
    return prefix + secrets.token_urlsafe(32)


def digest(secret: str) -> bytes:
    """What the database stores of a secret. Plain sha256: 256 random bits need no slow hash."""
    return hashlib.sha256(secret.encode()).digest()


def public_jwk(private_pem: bytes, kid: str) -> dict[str, str]:
    """The public half of a signing key (RFC 7517)."""
    return {**jwk.construct(private_pem, ALGORITHM).public_key().to_dict(), "kid": kid, "use": "sig"}


class TokenSigner:
    """Signs access tokens with the current key, of which `current_key` gives kid and PEM. They are valid for `life_s`."""

    def __init__(self, issuer: str, current_key: Callable[[], tuple[str, SecretStr]], life_s: int) -> None:
        self._issuer, self._current_key, self.life_s = issuer, current_key, life_s
        self._key: tuple[str, Any] = ("", None)

    def access_token(
        self,
        subject: UUID,
        tenant: UUID,
        scopes: Iterable[str],
        kind: Literal["user", "client"],
        *,
        session: UUID | None = None,
        csrf: str | None = None,
    ) -> str:
        """A signed token for one principal; `csrf` is the sha256 (hex) of the page session's CSRF token."""
        kid, pem = self._current_key()
        if self._key[0] != kid:  # parsing a PEM costs more than signing
            self._key = (kid, jwk.construct(pem.get_secret_value(), ALGORITHM))
        now = int(time.time())
        claims = {
            "iss": self._issuer,
            "aud": AUDIENCE,
            "sub": str(subject),
            "jti": uuid4().hex,
            "iat": now,
            "exp": now + self.life_s,
            "tenant": str(tenant),
            "scope": " ".join(sorted(scopes)),
            "kind": kind,
        }
        claims |= {"sid": str(session)} if session else {}
        claims |= {"csrf": csrf} if csrf else {}
        headers = {"kid": kid, "typ": TOKEN_TYPE}
        return str(jwt.encode(claims, self._key[1], ALGORITHM, headers=headers))

"""Access tokens are signed here (thorax.identity verifies them); opaque secrets are made and digested."""

import hashlib
import secrets
import time
from collections.abc import Iterable
from typing import Any, Literal
from uuid import UUID, uuid4

from jose import jwk, jwt

from auth_service.keys.keyring import Keyring
from thorax.identity import ALGORITHM, AUDIENCE, TOKEN_TYPE


def new_secret(prefix: str = "") -> str:
    """256 random bits, base64url. With a prefix, secret scanners find it in places where it should not be."""
    return prefix + secrets.token_urlsafe(32)


def digest(secret: str) -> bytes:
    """What the database stores of a secret. Plain sha256: 256 random bits need no slow hash."""
    return hashlib.sha256(secret.encode()).digest()


class TokenSigner:
    """Signs access tokens with the keyring's current key. `life_s`: how long they are valid."""

    def __init__(self, issuer: str, keyring: Keyring, life_s: int) -> None:
        self._issuer, self._keyring, self.life_s = issuer, keyring, life_s
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
        kid, pem = self._keyring.signing()
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

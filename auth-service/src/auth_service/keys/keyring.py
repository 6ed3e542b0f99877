"""Signing keys: created, encrypted for the database, published, and replaced without refusing a valid token.

A new key is published first and signs only after `LEAD`, when every JWKS cache knows it; the old one stays published until
its last token has expired. So a rotation is one command and needs no restart.
"""

import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from prometheus_client import Gauge
from pydantic import SecretStr

from auth_service.models import SigningKey
from auth_service.tokens import public_jwk
from thorax.errors import Code, CodedError
from thorax.identity import LEEWAY_S, MAX_TOKEN_LIFE_S
from thorax.sealing import Seal

RELOAD_S = 30
LEAD = timedelta(minutes=10)  # longer than a JWKS cache's max_age (300 s) plus RELOAD_S
# Until the old key's last token is refused:
OVERLAP = timedelta(seconds=MAX_TOKEN_LIFE_S + LEEWAY_S + 2 * RELOAD_S)

_KEY_SINCE = Gauge(
    "thorax_signing_key_since_seconds", "When the newest signing key became active (Unix time); 0: none"
)


class KeyEncryption:
    """Encrypts private keys with THORAX_AUTH_SECRET_FILE."""

    def __init__(self, secret: SecretStr) -> None:
        self._seal = Seal(secret, "thorax auth signing keys")

    def new_key(self, active_from: datetime) -> SigningKey:
        """A fresh RSA-2048 key pair; takes a tenth of a second or more of one core."""
        private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        kid = secrets.token_urlsafe(12)
        encrypted = self._seal.close(pem)
        return SigningKey(
            kid=kid,
            public_jwk=public_jwk(pem, kid),
            private_key=encrypted,
            active_from=active_from,
            retires_at=None,
        )

    def private_pem(self, row: SigningKey) -> SecretStr:
        """The decrypted private key. Raises ValueError when it was encrypted with another secret."""
        try:
            return SecretStr(self._seal.open(row.private_key).decode())
        except ValueError as error:
            raise ValueError(
                "The signing keys were encrypted with another secret. Restore THORAX_AUTH_SECRET_FILE."
            ) from error


class Keyring:
    """The keys as of the last `load`: a key source for a TokenVerifier, and the key to sign with now."""

    def __init__(self, encryption: KeyEncryption) -> None:
        self._encryption = encryption
        self._keys: dict[SigningKey, SecretStr] = {}  # with its private PEM

    def load(self, rows: Sequence[SigningKey]) -> None:
        """Replace the keys by those of the database."""
        self._keys = {row: self._encryption.private_pem(row) for row in rows}
        _KEY_SINCE.set(max((key.active_from.timestamp() for key in self._active()), default=0))

    def __call__(self, kid: str) -> Mapping[str, Any] | None:
        """The public JWK called `kid`, or None."""
        return next((key.public_jwk for key in self._published() if key.kid == kid), None)

    def jwks(self) -> dict[str, Any]:
        """The published keys (RFC 7517, section 5): future, current and former ones."""
        return {"keys": [dict(key.public_jwk) for key in self._published()]}

    def signing(self) -> tuple[str, SecretStr]:
        """The kid and private PEM to sign with now: of the active keys, the newest.

        Raises CodedError(UNAVAILABLE) while none is known, as before the first contact with the database.
        """
        active = self._active()
        if not active:
            raise CodedError(Code.UNAVAILABLE, "The signing key is not loaded yet.", retry_after=2)
        newest = max(active, key=lambda key: key.active_from)
        return newest.kid, self._keys[newest]

    @property
    def ready(self) -> bool:
        """Whether tokens can be signed."""
        return bool(self._active())

    def _active(self) -> list[SigningKey]:
        now = datetime.now(UTC)
        return [key for key in self._published() if key.active_from <= now]

    def _published(self) -> list[SigningKey]:
        now = datetime.now(UTC)
        return [key for key in self._keys if key.retires_at is None or key.retires_at > now]

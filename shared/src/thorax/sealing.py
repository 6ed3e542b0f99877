"""Secrets that the database keeps and must not be able to read: encrypted with a key that is derived from a file's secret."""

import base64
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import SecretStr

from thorax.errors import Code, CodedError


class Seal:
    """Encrypts for one `purpose`: a key derived by HKDF (RFC 5869), used with Fernet (AES-128-CBC, HMAC-SHA256)."""

    def __init__(self, secret: SecretStr, purpose: str) -> None:
        derive = HKDF(hashes.SHA256(), length=32, salt=None, info=purpose.encode())
        key = derive.derive(secret.get_secret_value().encode())
        self._fernet = Fernet(base64.urlsafe_b64encode(key))

    def close(self, plain: bytes) -> bytes:
        """What the database may keep."""
        return self._fernet.encrypt(plain)

    def open(self, sealed: bytes) -> bytes:
        """What was closed. Raises ValueError if that was done with another secret or for another purpose."""
        try:
            return self._fernet.decrypt(sealed)
        except InvalidToken as error:
            raise ValueError("It was encrypted with another secret.") from error


def delivery_seal(file: Path | None) -> Seal:
    """For the credentials of destinations. Raises CodedError where the operator gave no secret."""
    if file is None:
        detail = "Credentials of destinations can't be kept: THORAX_DELIVERY_SECRET_FILE is not set."
        raise CodedError(Code.FEATURE_OFF, detail)
    return Seal(SecretStr(file.read_text().strip()), "thorax destinations")

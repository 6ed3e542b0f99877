"""TLS towards a DICOM peer (PS3.15, annex B): the authority that vouches for it, and our certificate if it asks for one."""

import ssl
from pathlib import Path
from typing import Any

from aggregator.delivery.errors import NotDeliveredError
from thorax.errors import Code

_LOST = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)  # the connection, not TLS


class _Socket(ssl.SSLSocket):
    """Notes why TLS fails: pynetdicom logs the error and keeps none. In TLS 1.3 a refused certificate is told at the first read."""

    context: "Trust"

    def do_handshake(self, block: bool = False) -> None:
        with self.context:
            super().do_handshake(block)

    def recv(self, *how: Any) -> bytes:
        with self.context:
            return super().recv(*how)


class Trust(ssl.SSLContext):
    """TLS 1.2 or newer with a peer whose certificate names its host; `failure` tells why it was not established."""

    sslsocket_class = _Socket
    failure: ssl.SSLError | None = None

    def __enter__(self) -> None:
        """Begin what may fail."""

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, ssl.SSLError) and not isinstance(error, _LOST):
            self.failure = error

    def check(self) -> None:
        """Raises NotDeliveredError if TLS failed for a reason that does not pass by itself."""
        if isinstance(self.failure, ssl.SSLCertVerificationError):
            raise _untrusted(f"The peer's certificate is not trusted: {self.failure.verify_message}.")
        if self.failure:
            raise _untrusted(f"TLS with the peer fails: {self.failure.reason}.")


def trust(folder: Path | None, name: str) -> Trust:
    """What the operator's files say: `{name}.ca.pem`, and if there is `{name}.pem` our certificate, with its key in it or in
    `{name}.key`. Raises NotDeliveredError."""
    if folder is None:
        raise NotDeliveredError(Code.FEATURE_OFF, "THORAX_DICOM_TLS_FOLDER is not set.", may_pass=False)
    context = Trust(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    try:
        context.load_verify_locations(folder / f"{name}.ca.pem")
        if certificate.exists():
            context.load_cert_chain(certificate, key if key.exists() else None, password=bytes)
    except OSError as error:  # ssl.SSLError is one
        raise _untrusted(f"The files of `{name}` in THORAX_DICOM_TLS_FOLDER can't be used.") from error
    return context


def _untrusted(detail: str) -> NotDeliveredError:
    return NotDeliveredError(Code.DESTINATION_UNTRUSTED, detail, may_pass=False)

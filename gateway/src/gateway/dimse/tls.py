"""TLS for DICOM (PS3.15, annex B): certificates of our own, and optionally client certificates of one CA."""

import socket
import ssl
from pathlib import Path
from typing import Any


class LateHandshake(ssl.SSLContext):
    """Shakes hands when an association reads for the first time, under its own time limit.

    pynetdicom's server wraps a connection in the loop that accepts them all (3.0.4, `AssociationServer.get_request`):
    a peer that connects and says nothing would keep everybody else out.
    """

    def wrap_socket(self, sock: socket.socket, *_: Any, **how: Any) -> ssl.SSLSocket:
        """As `SSLContext.wrap_socket`, without waiting for the peer."""
        return super().wrap_socket(sock, **{**how, "do_handshake_on_connect": False})


def server_context(certificate: Path, key: Path | None, clients: Path | None) -> ssl.SSLContext:
    """TLS 1.2 or newer; with `clients` each peer needs a certificate of that CA. Raises OSError for unusable files."""
    context = LateHandshake(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    if clients is not None:
        context.load_verify_locations(clients)
        context.verify_mode = ssl.CERT_REQUIRED
    return context

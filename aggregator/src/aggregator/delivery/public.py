"""Connections to public addresses only. The address that is connected to is the one that was checked, so that a name that
changes its address in between (DNS rebinding) gains nothing; the certificate is still checked against the name."""

import socket
import ssl
from collections.abc import Iterable
from ipaddress import ip_address
from time import monotonic
from typing import Any

import httpcore

from aggregator.delivery.errors import NotDeliveredError, unavailable
from thorax.addresses import allowed
from thorax.errors import Code
from thorax.settings import Networks


class PublicOnly(httpcore.NetworkBackend):
    """Opens TCP connections as `allowed` says, and ends them when `enough_s` seconds have passed since it was made."""

    def __init__(self, private: Networks, enough_s: float) -> None:
        self._private, self._until = private, monotonic() + enough_s
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first of the name's addresses that is allowed and answers. Raises NotDeliveredError if it has none, or none is allowed."""
        found = [a for a in _addresses(host, port) if allowed(ip_address(a), self._private)]
        if not found:
            detail = "The endpoint has no public address."
            raise NotDeliveredError(Code.ADDRESS_NOT_ALLOWED, detail, may_pass=False)
        error: Exception = httpcore.ConnectError()
        for address in found:
            try:
                plain = self._plain.connect_tcp(
                    address, port, _left(self._until), local_address, socket_options
                )
                return _Limited(plain, self._until)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as one:
                error = one
        raise error


def _addresses(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # the second for a label that is empty or too long
        raise unavailable("The endpoint's name has no address here.") from error
    return list(dict.fromkeys(str(row[4][0]).partition("%")[0] for row in found))


def _left(until: float) -> float:
    left = until - monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout
    return left


class _Limited(httpcore.NetworkStream):
    """A stream whose every wait ends at one time: a peer that sends a byte now and then holds nobody up."""

    def __init__(self, stream: httpcore.NetworkStream, until: float) -> None:
        self._stream, self._until = stream, until

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(self._until))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(self._until))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Limited(self._stream.start_tls(ssl_context, server_hostname, _left(self._until)), self._until)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)

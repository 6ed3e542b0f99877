"""That the address that was checked is the one that is connected to."""

import socket
from ipaddress import ip_network
from typing import Any

import httpcore
import pytest

from aggregator.delivery.errors import NotDeliveredError
from aggregator.delivery.public import PublicOnly
from thorax.errors import Code


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "2130706433", "0x7f.1", "::1"])
def test_no_spelling_of_this_machine_is_connected_to(host: str) -> None:
    with pytest.raises(NotDeliveredError) as error:
        PublicOnly((), 1).connect_tcp(host, 443)
    assert error.value.code == Code.ADDRESS_NOT_ALLOWED or "has no address" in str(error.value.detail)


def test_a_name_that_has_no_address_is_tried_again() -> None:
    with pytest.raises(NotDeliveredError, match="has no address") as error:
        PublicOnly((), 1).connect_tcp("hooks..example", 443)
    assert (error.value.code, error.value.may_pass) == (Code.DESTINATION_AWAY, True)


def test_a_name_is_looked_up_once_and_only_what_was_allowed_is_connected_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """DNS rebinding: a public address for who checks, a private one for who connects."""
    real, asked = socket.getaddrinfo, []

    def changing(host: str, port: int, *more: Any, **named: Any) -> list[Any]:
        if host != "rebound.example":
            return list(real(host, port, *more, **named))
        asked.append(host)
        addresses = ["127.0.0.1", "10.0.0.1", "127.0.0.2"] if len(asked) == 1 else ["127.0.0.1"]
        return [row for address in addresses for row in real(address, port, *more, **named)]

    monkeypatch.setattr(socket, "getaddrinfo", changing)
    with socket.create_server(("127.0.0.2", 0)) as server:
        port = server.getsockname()[1]
        PublicOnly((ip_network("127.0.0.2"),), 5).connect_tcp("rebound.example", port).close()
        server.accept()[0].close()
    assert asked == ["rebound.example"]


def test_a_peer_that_only_trickles_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("aggregator.delivery.public.monotonic", lambda: now[0])
    with socket.create_server(("127.0.0.1", 0)) as server:
        stream = PublicOnly((ip_network("127.0.0.1"),), 60).connect_tcp("127.0.0.1", server.getsockname()[1])
        peer, _ = server.accept()
        peer.send(b"x")
        assert stream.read(10, timeout=60) == b"x"
        now[0] += 59.9
        with pytest.raises(httpcore.ReadTimeout):
            stream.read(10, timeout=60)
        with pytest.raises(httpcore.ReadTimeout):
            stream.read(10, timeout=60)
        stream.close()
        peer.close()

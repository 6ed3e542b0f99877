"""X-Forwarded-For is read from our end, and only as far as our own proxies wrote it."""

from ipaddress import ip_network

import pytest
from fastapi import Request

from thorax.http.address import client_address, rate_limit_key

TRUSTED = (ip_network("127.0.0.1"), ip_network("::1"), ip_network("10.0.0.0/8"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.7"], "192.0.2.1"),
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("127.0.0.1", ["6.6.6.6, 198.51.100.7"], "198.51.100.7"),
        ("127.0.0.1", ["6.6.6.6", "198.51.100.7, 10.1.2.3"], "198.51.100.7"),
        ("127.0.0.1", ["10.1.2.3"], "10.1.2.3"),
        ("127.0.0.1", ["198.51.100.7, nonsense"], "127.0.0.1"),
        ("127.0.0.1", [""], "127.0.0.1"),
        ("::ffff:127.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("::1", ["2001:db8:1:2:3:4:5:6"], "2001:db8:1:2:3:4:5:6"),
        ("2001:db8:1:2::9", [], "2001:db8:1:2::9"),
        ("2001:db8:1:2::9", ["2001:db8::1"], "2001:db8:1:2::9"),
        (None, ["198.51.100.7"], "unknown"),
        ("testclient", ["198.51.100.7"], "unknown"),
    ],
)
def test_the_nearest_untrusted_address_is_the_client(
    peer: str | None, forwarded: list[str], address: str
) -> None:
    headers = [(b"x-forwarded-for", header.encode()) for header in forwarded]
    request = Request({"type": "http", "client": peer and (peer, 40_000), "headers": headers})
    assert client_address(request, TRUSTED) == address


@pytest.mark.parametrize(
    ("address", "caller"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("unknown", "unknown"),
    ],
)
def test_addresses_of_one_network_share_a_limit(address: str, caller: str) -> None:
    assert rate_limit_key(address) == caller

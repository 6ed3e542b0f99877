"""Which addresses a webhook may have."""

from ipaddress import ip_address, ip_network

import pytest

from thorax.addresses import allowed


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
     "255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "fec0::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "ff02::1",
     "64:ff9b::a00:1", "64:ff9b:1::1", "2002:a00:1::", "2001:0:a00:1::", "2001:db8::1", "::10.0.0.1"],
)  # fmt: skip
def test_an_address_that_is_not_public_is_not_allowed(address: str) -> None:
    assert not allowed(ip_address(address), ())


@pytest.mark.parametrize(
    "address", ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "::ffff:8.8.8.8"]
)
def test_a_public_address_is_allowed(address: str) -> None:
    assert allowed(ip_address(address), ())


def test_the_operator_may_allow_a_network() -> None:
    private = (ip_network("10.1.0.0/16"), ip_network("fd00::/8"))
    assert allowed(ip_address("10.1.2.3"), private) and allowed(ip_address("fd00::1"), private)
    assert allowed(ip_address("::ffff:10.1.2.3"), private)
    assert not allowed(ip_address("10.2.0.1"), private)

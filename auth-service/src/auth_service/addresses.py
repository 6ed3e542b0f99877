"""Which address a request came from, as far as it can be believed."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address


def client_address(
    peer: str | None, forwarded: Iterable[str], trusted: tuple[IPv4Network | IPv6Network, ...]
) -> str:
    """The nearest address that is not one of our proxies, or the peer's.

    `forwarded` are the X-Forwarded-For headers, in order. They are read from the right, the end that our own
    proxies wrote; what a stranger put in front of it is never reached. An IPv6 caller owns at least a /64, so
    its network stands for it.
    """
    nearest = _parse(peer or "")
    hops = [hop for header in forwarded for hop in header.split(",")]
    while nearest is not None and hops and any(nearest in network for network in trusted):
        further = _parse(hops.pop())
        if further is None:
            break
        nearest = further
    if nearest is None:
        return "unknown"
    return str(ip_network((nearest, 64), strict=False)) if isinstance(nearest, IPv6Address) else str(nearest)


def _parse(text: str) -> Address | None:
    try:
        address = ip_address(text.strip())
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address

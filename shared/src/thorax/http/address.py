"""Which address a request came from, as far as it can be trusted."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from fastapi import Request

Address = IPv4Address | IPv6Address
UNKNOWN = "unknown"


def client_address(request: Request, trusted: Sequence[IPv4Network | IPv6Network]) -> str:
    """The nearest address that is not one of our proxies, or the peer's; "unknown" where there is none.

    X-Forwarded-For is read from the right, the end that our own proxies wrote; what a stranger put in front of it
    is never reached.
    """
    nearest = _parse(request.client.host if request.client else "")
    hops = [hop for header in request.headers.getlist("x-forwarded-for") for hop in header.split(",")]
    while nearest is not None and hops and any(nearest in network for network in trusted):
        further = _parse(hops.pop())
        if further is None:
            break
        nearest = further
    return UNKNOWN if nearest is None else str(nearest)


def rate_limit_key(address: str) -> str:
    """What stands for an address where callers are counted: an IPv6 caller owns at least a /64."""
    parsed = _parse(address)
    return str(ip_network((parsed, 64), strict=False)) if isinstance(parsed, IPv6Address) else address


def _parse(text: str) -> Address | None:
    try:
        address = ip_address(text.strip())
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address

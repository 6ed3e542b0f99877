"""Which addresses are public: the one rule for what a webhook may have, when it is stored and when it is called."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network

from thorax.settings import Networks

_GLOBAL_V6 = IPv6Network("2000::/3")
_SIX_TO_FOUR = IPv6Network("2002::/16")  # holds IPv4 addresses (RFC 3056)


def allowed(address: IPv4Address | IPv6Address, private: Networks) -> bool:
    """Whether an address is public, or in one of the networks that may be private."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if any(address in network for network in private if network.version == address.version):
        return True
    if isinstance(address, IPv6Address) and (address not in _GLOBAL_V6 or address in _SIX_TO_FOUR):
        return False
    return address.is_global and not address.is_multicast

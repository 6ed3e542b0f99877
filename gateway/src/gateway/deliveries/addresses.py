"""Addresses of destinations, in one spelling each, and whether a webhook may have one."""

import asyncio
import re
import socket
from ipaddress import ip_address
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, AnyUrl, TypeAdapter, UrlConstraints

from thorax.addresses import allowed
from thorax.errors import Code, CodedError
from thorax.settings import Networks, http_url

_HTTPS: TypeAdapter[AnyUrl] = TypeAdapter(
    Annotated[AnyUrl, UrlConstraints(allowed_schemes=["https"], host_required=True, max_length=500)]
)


def _https(text: str) -> str:
    url = _HTTPS.validate_python(text)
    if url.username or url.password or url.fragment is not None:
        raise ValueError("an https:// URL without a user and a fragment")
    return str(url)


def _resolvable(url: str) -> str:
    try:
        (urlsplit(url).hostname or "").encode("idna")
    except UnicodeError:
        raise ValueError("a host whose labels have 1 to 63 characters") from None  # RFC 1035, 2.3.4
    return url


_AE = "[A-Za-z0-9._-]{1,16}"
_DICOM = re.compile(
    rf"dicom://({_AE}@)?([A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\]):(?P<port>[0-9]{{1,5}})/{_AE}(\?tls=[a-z0-9][a-z0-9_-]{{0,39}})?"
)


def _archive(text: str) -> str:
    if not text.startswith("dicom:"):
        return http_url(text)
    match = _DICOM.fullmatch(text)
    if not match or not 1 <= int(match["port"]) <= 65535:
        raise ValueError("dicom://host:port/AE or dicom://host:port/AE?tls=name")
    return text


ArchiveUrl = Annotated[str, AfterValidator(_archive), AfterValidator(_resolvable)]
"""A DICOMweb server, `http://` or `https://`, or a DICOM peer: `dicom://[our AE title@]host:port/its AE title[?tls=name]`."""
HttpsUrl = Annotated[str, AfterValidator(_https), AfterValidator(_resolvable)]
"""An `https://` URL: its host in lower case and ASCII, no standard port, user or fragment."""

_LOOK_UP_S = 2


async def refuse_private(url: str, private: Networks) -> str | None:
    """CodedError(ADDRESS_NOT_ALLOWED) for a URL whose host has only private addresses; a warning if its name has none.

    Such a name may get its address later, or be known to the sweeper, which checks the address that it connects to.
    """
    parts = urlsplit(url)
    look_up = asyncio.get_running_loop().getaddrinfo(
        parts.hostname, parts.port or 443, type=socket.SOCK_STREAM
    )
    try:
        rows = await asyncio.wait_for(look_up, _LOOK_UP_S)
    except (OSError, TimeoutError):
        return f"{parts.hostname} has no address here. Check the name; jobs that end are told once it has one, if within a day."
    found = [ip_address(str(row[4][0]).partition("%")[0]) for row in rows]
    if not any(allowed(address, private) for address in found):
        raise CodedError(Code.ADDRESS_NOT_ALLOWED, f"{parts.hostname} has no public address.")
    return None

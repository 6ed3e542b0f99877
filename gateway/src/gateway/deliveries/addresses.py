"""Addresses of destinations, in one spelling each."""

from typing import Annotated

from pydantic import AfterValidator, AnyUrl, TypeAdapter, UrlConstraints

_HTTPS: TypeAdapter[AnyUrl] = TypeAdapter(
    Annotated[AnyUrl, UrlConstraints(allowed_schemes=["https"], host_required=True, max_length=500)]
)


def _https(text: str) -> str:
    url = _HTTPS.validate_python(text)
    if url.username or url.password or url.fragment is not None:
        raise ValueError("an https:// URL without a user and a fragment")
    return str(url)


HttpsUrl = Annotated[str, AfterValidator(_https)]
"""An `https://` URL: its host in lower case and ASCII, no standard port, user or fragment."""

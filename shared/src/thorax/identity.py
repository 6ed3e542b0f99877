"""Who is calling: scopes, the principal, and the one check every access token has to pass. No framework here.

`auth_service.tokens` is the only other file that knows jose: it signs what is verified here.
"""

import base64
import binascii
import json
import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Any, Literal, cast
from uuid import UUID

from jose import jwk, jwt
from jose.exceptions import JOSEError

from thorax.errors import Code, CodedError

log = logging.getLogger(__name__)

AUDIENCE = "thorax"
ALGORITHM = "RS256"
TOKEN_TYPE = "at+jwt"  # noqa: S105  RFC 9068, section 2.1: an ID or refresh token can't pass for an access token
MAX_TOKEN_BYTES = 8192
MAX_TOKEN_LIFE_S = 600
KNOWN_TOKENS = 1024  # whose signatures are not checked again
LEEWAY_S = 60  # how far the clocks of two machines may differ
MIN_KEY_BITS = 2048

_HEADER = {"alg", "typ", "kid"}  # exactly these: jku, jwk, x5u, x5c, crit and b64 are never read
_KID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_REQUIRED = ("exp", "iat", "aud", "iss", "sub", "jti")
_OPTIONS = {"leeway": LEEWAY_S, **{f"require_{claim}": True for claim in _REQUIRED}}

KeySource = Callable[[str], Mapping[str, Any] | None]


class Scope(StrEnum):
    """What a token may do. Granted scopes are never wider than those of the account behind it."""

    STUDIES_WRITE = "studies:write"
    STUDIES_READ = "studies:read"
    MODELS_WRITE = "models:write"
    ADMIN = "admin"


@dataclass(frozen=True)
class Principal:
    """A verified caller. `csrf` is the sha256 (hex) of the page session's CSRF token; None for API tokens.

    `session` names the login behind the token (a family of refresh tokens); machine clients have none.
    `expires_at`: when the token expires, in seconds since 1970.
    """

    subject: str
    tenant_id: UUID
    scopes: frozenset[Scope]
    kind: Literal["user", "client"] = "user"
    csrf: str | None = field(default=None, repr=False)
    session: str | None = None
    expires_at: int | None = None

    def require(self, scope: Scope) -> None:
        """Raise CodedError(FORBIDDEN) unless the token carries `scope`."""
        if scope not in self.scopes:
            raise CodedError(Code.FORBIDDEN, f"The access token lacks the scope {scope}.", scope=str(scope))


def unauthenticated(detail: str) -> CodedError:
    """The one error of a token that does not pass; it never repeats any part of the token."""
    return CodedError(Code.UNAUTHENTICATED, detail)


class TokenVerifier:
    """Checks access tokens: RS256 only, by a key of our own store, which the token's `kid` merely names.

    `keys` maps a kid to a public JWK, or to None. Thread-safe.
    """

    def __init__(self, issuer: str, audience: str, keys: KeySource) -> None:
        self._issuer, self._audience, self._keys = issuer, audience, keys
        self._built: dict[tuple[str, str], Any] = {}
        self._known: dict[str, tuple[Any, Mapping[str, Any], Principal]] = {}

    def verify(self, token: str) -> Principal:
        """The principal behind `token`; CodedError(UNAUTHENTICATED) for anything that is not exactly right.

        A token that has passed is checked again for what can change: its key and the time.
        """
        key = self._key(key_id(token))
        if (known := self._known.get(token)) and known[0] is key:
            _check_times(known[1])
            return known[2]
        claims = self._claims(token, key)
        _check_times(claims)
        caller = _principal(claims)
        if len(self._known) >= KNOWN_TOKENS:
            self._known.clear()
        self._known[token] = key, claims, caller
        return caller

    def _claims(self, token: str, key: Any) -> Mapping[str, Any]:
        _unique_object(token.split(".")[1])
        try:
            claims: Mapping[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                audience=self._audience,
                issuer=self._issuer,
                options=dict(_OPTIONS),
            )
        except (JOSEError, ValueError, TypeError, OverflowError) as error:
            raise unauthenticated("The access token is not valid, or it has expired.") from error
        return claims

    def _key(self, kid: str) -> Any:
        entry = self._keys(kid)
        if entry is None:
            raise unauthenticated("The access token was signed with an unknown key.")
        name = (kid, str(entry.get("n")))
        if name not in self._built:
            if len(self._built) > 16:  # keys rotate; drop retired ones
                self._built.clear()
            self._built[name] = _rsa_key(entry)
        return self._built[name]


@lru_cache(KNOWN_TOKENS)
def key_id(token: str) -> str:
    """The `kid` of a token whose shape and header are right; its signature is not looked at yet.

    Raises CodedError(UNAUTHENTICATED).
    """
    if len(token) > MAX_TOKEN_BYTES or not token.isascii() or token.count(".") != 2:
        raise unauthenticated("Malformed access token.")
    header = _unique_object(token.split(".", 1)[0])
    kid = header.get("kid")
    if set(header) != _HEADER or header["alg"] != ALGORITHM or header["typ"] != TOKEN_TYPE:
        raise unauthenticated("The access token's header is not valid.")
    if not isinstance(kid, str) or not _KID.fullmatch(kid):
        raise unauthenticated("The access token's header is not valid.")
    return kid


def _unique_object(segment: str) -> dict[str, Any]:
    """A base64url JSON object whose names are unique: parsers disagree on which of two equal names wins."""
    try:
        raw = base64.b64decode(segment + "=" * (-len(segment) % 4), altchars=b"-_", validate=True)
        value = json.loads(raw, object_pairs_hook=_unique, parse_constant=_refuse)
    except (ValueError, binascii.Error, RecursionError) as error:
        raise unauthenticated("Malformed access token.") from error
    if not isinstance(value, dict):
        raise unauthenticated("Malformed access token.")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _rsa_key(entry: Mapping[str, Any]) -> Any:
    if (
        entry.get("kty") != "RSA"
        or entry.get("alg", ALGORITHM) != ALGORITHM
        or entry.get("use", "sig") != "sig"
    ):
        raise unauthenticated("The access token's key is not a signing key.")
    size = len(str(entry.get("n", ""))) * 6  # base64url carries six bits a character
    if size < MIN_KEY_BITS:
        raise unauthenticated("The access token's key is too short.")
    try:
        return jwk.construct(dict(entry), ALGORITHM)
    except (JOSEError, ValueError, TypeError) as error:
        raise unauthenticated("The access token's key can't be read.") from error


def _check_times(claims: Mapping[str, Any]) -> None:
    """What jose leaves open: real integers, no life longer than ours, nothing issued in the future."""
    times = [claims[name] for name in ("exp", "iat", "nbf") if name in claims]
    if any(type(value) is not int for value in times):
        raise unauthenticated("The access token's times are not integers.")
    now = time.time()
    if claims["exp"] <= now - LEEWAY_S or claims["iat"] > now + LEEWAY_S:
        raise unauthenticated("The access token has expired, or it is not valid yet.")
    if claims["exp"] - claims["iat"] > MAX_TOKEN_LIFE_S:
        raise unauthenticated("The access token's lifetime is too long.")


def _principal(claims: Mapping[str, Any]) -> Principal:
    kind, subject, csrf, session = claims.get("kind"), claims["sub"], claims.get("csrf"), claims.get("sid")
    strings = all(value is None or isinstance(value, str) for value in (csrf, session))
    if kind not in ("user", "client") or not subject or not strings:
        raise unauthenticated("The access token's claims are not valid.")
    try:
        tenant = UUID(claims["tenant"])
        scopes = frozenset(Scope(word) for word in claims["scope"].split())
    except (KeyError, ValueError, AttributeError, TypeError) as error:
        raise unauthenticated("The access token's claims are not valid.") from error
    return Principal(
        subject, tenant, scopes, cast(Literal["user", "client"], kind), csrf, session, claims["exp"]
    )


class JwksCache:
    """auth-service's public keys, kept by every other service. Thread-safe; call it with a kid.

    An unknown kid asks again at most every `retry_s`, or each second while no key is known; known keys are
    refreshed after `max_age_s`, and while auth-service is down they stay in use. `fetch` returns a JWKS
    (RFC 7517); it may block and raise, so ask `due` first where blocking hurts.
    """

    def __init__(
        self, fetch: Callable[[], Mapping[str, Any]], *, retry_s: float = 10, max_age_s: float = 300
    ) -> None:
        self._fetch, self._retry_s, self._max_age_s = fetch, retry_s, max_age_s
        self._keys: dict[str, Mapping[str, Any]] = {}
        self._tried = self._fetched = float("-inf")
        self._lock = threading.Lock()

    def __call__(self, kid: str) -> Mapping[str, Any] | None:
        """The public JWK called `kid`, or None."""
        # A caller whose key is known does not wait for another caller's fetch.
        if self.due(kid) and self._lock.acquire(blocking=kid not in self._keys):
            try:
                if self.due(kid):
                    self._refresh()
            finally:
                self._lock.release()
        return self._keys.get(kid)

    def due(self, kid: str) -> bool:
        """Whether a call with `kid` would fetch, and so may block."""
        now = time.monotonic()
        stale = kid not in self._keys or now - self._fetched > self._max_age_s
        retry_s = self._retry_s if self._keys else min(self._retry_s, 1)  # without a key nobody gets in
        return stale and now - self._tried > retry_s

    def knows(self, kid: str) -> bool:
        """Whether a key of this name was published at the last fetch."""
        return kid in self._keys

    @property
    def ready(self) -> bool:
        """Whether any key is known; without one no token can be verified."""
        return bool(self._keys)

    def _refresh(self) -> None:
        try:
            entries = self._fetch()["keys"]
            found = {entry["kid"]: entry for entry in entries if entry.get("kty") == "RSA"}
            if found:
                self._keys, self._fetched = found, time.monotonic()
        except Exception as error:  # auth-service cannot be reached: the known keys stay in use
            log.warning("jwks fetch failed: %s", type(error).__name__)
        finally:
            self._tried = time.monotonic()

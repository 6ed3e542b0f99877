"""Bearer token or page cookie in, Principal out: FastAPI's side of thorax.identity (extra [http]).

A service puts an `Authenticator` on `app.state.authenticator` and its endpoints ask for a `Caller`, `Reader`, `Writer`
or `Admin`. An Authorization header, when there is one, is all that counts; the cookie comes with CSRF.
"""

import hashlib
import hmac
from typing import Annotated

from anyio import CapacityLimiter, to_thread
from fastapi import Depends, Request, Security
from fastapi.openapi.models import OAuthFlowClientCredentials, OAuthFlowPassword, OAuthFlows
from fastapi.security import APIKeyCookie, OAuth2, SecurityScopes

from thorax.errors import Code, CodedError
from thorax.http.database import ACTOR
from thorax.identity import JwksCache, Principal, Scope, TokenVerifier, key_id, unauthenticated
from thorax.metrics import UNKNOWN_KEYS

ACCESS_COOKIE = "thorax_access"
CSRF_COOKIE = "thorax_csrf"
CSRF_HEADER = "X-CSRF-Token"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

_SCOPES = {
    str(Scope.STUDIES_WRITE): "Send, cancel, retry and erase studies.",
    str(Scope.STUDIES_READ): "Read jobs, findings and images of the tenant.",
    str(Scope.MODELS_WRITE): "Reserved. A command registers bundles; the API does not.",
    str(Scope.ADMIN): "Manage users; see and retry all tenants' failed work.",
}
_oauth2 = OAuth2(
    flows=OAuthFlows(
        password=OAuthFlowPassword(tokenUrl="/auth/token", refreshUrl="/auth/token", scopes=_SCOPES),
        clientCredentials=OAuthFlowClientCredentials(tokenUrl="/auth/token", scopes=_SCOPES),
    ),
    scheme_name="token",
    description="`Authorization: Bearer …` with an access token from /auth/token; it expires after ten minutes.",
    auto_error=False,
)
_cookie = APIKeyCookie(
    name=ACCESS_COOKIE,
    scheme_name="session",
    description=f"The page's session from /auth/session. Unsafe methods also need `{CSRF_HEADER}`.",
    auto_error=False,
)


def csrf_digest(token: str) -> str:
    """What a session's access token says about its CSRF token: the sha256, in hex."""
    return hashlib.sha256(token.encode()).hexdigest()


class Authenticator:
    """Turns what a request carries into a Principal. With a `cache`, its fetches never hold the event loop."""

    def __init__(self, verifier: TokenVerifier, cache: JwksCache | None = None) -> None:
        self._verifier, self._cache = verifier, cache
        self._limiter = CapacityLimiter(4)  # guessed key ids must not use up the thread pool

    async def authenticate(self, request: Request) -> Principal:
        """The caller. Raises CodedError: UNAUTHENTICATED, or CSRF for an unsafe method by cookie alone."""
        if (header := request.headers.get("authorization")) is not None:
            kind, _, token = header.partition(" ")
            if kind.lower() != "bearer":
                raise unauthenticated("Only bearer tokens are accepted.")
            return await self._verify(token.strip())
        if (token := request.cookies.get(ACCESS_COOKIE, "")) == "":
            raise unauthenticated("The request has no access token.")
        principal = await self._verify(token)
        _check_csrf(request, principal)
        return principal

    async def _verify(self, token: str) -> Principal:
        kid = key_id(token)
        try:
            if self._cache is not None and self._cache.due(kid):
                return await to_thread.run_sync(self._verifier.verify, token, limiter=self._limiter)
            return self._verifier.verify(token)
        except CodedError:
            if self._cache is not None and not self._cache.ready:  # the token may be valid
                what = "The signing keys are not known yet, because auth-service does not answer."
                raise CodedError(Code.UNAVAILABLE, what, retry_after=5) from None
            if self._cache is not None and not self._cache.knows(kid):
                UNKNOWN_KEYS.inc()
            raise


def _check_csrf(request: Request, principal: Principal) -> None:
    """The page reads a cookie and repeats it in a header; the signed token holds its sha256 (OWASP, signed
    double submit), so a cookie planted from a sibling domain does not help."""
    if principal.csrf is None:
        raise unauthenticated("An API token is not a page session. Send it as `Authorization: Bearer`.")
    sent = csrf_digest(request.headers.get(CSRF_HEADER, ""))
    if request.method not in SAFE_METHODS and not hmac.compare_digest(sent, principal.csrf.lower()):
        raise CodedError(
            Code.CSRF, f"Send the value of the cookie {CSRF_COOKIE} in the header {CSRF_HEADER}."
        )


async def principal(
    request: Request,
    needed: SecurityScopes,
    _bearer: Annotated[str | None, Depends(_oauth2)],
    _session: Annotated[str | None, Depends(_cookie)],
) -> Principal:
    """The dependency: who calls, with every scope that the endpoint named.

    The two security schemes are arguments only for OpenAPI to show them as alternatives.
    """
    authenticator: Authenticator = request.app.state.authenticator
    caller = await authenticator.authenticate(request)
    for scope in needed.scopes:
        caller.require(Scope(scope))
    ACTOR.set(caller.subject)
    return caller


Caller = Annotated[Principal, Security(principal)]
Reader = Annotated[Principal, Security(principal, scopes=[Scope.STUDIES_READ])]
Writer = Annotated[Principal, Security(principal, scopes=[Scope.STUDIES_WRITE])]
Admin = Annotated[Principal, Security(principal, scopes=[Scope.ADMIN])]

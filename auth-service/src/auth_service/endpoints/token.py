"""OAuth2 (RFC 6749): the token endpoint, logout, and the public keys."""

import base64
import binascii
from typing import Annotated, Any
from urllib.parse import unquote_plus
from uuid import UUID

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import JSONResponse

from auth_service.endpoints.dependencies import (
    Address,
    ClientService,
    PartsOfApp,
    Repo,
    SessionService,
    UserAgent,
)
from auth_service.schemas import JsonWebKeySet, Logout, TokenAnswer, TokenForm, TokenRefusal
from auth_service.service import login
from auth_service.service.sessions import Grant
from thorax.errors import Code, CodedError
from thorax.http import problems

router = APIRouter(prefix="/auth", tags=["tokens"])
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
# Our code -> RFC 6749, section 5.2, and its status. All else keeps our status.
_ERRORS = {
    Code.VALIDATION: ("invalid_request", 400),
    Code.BAD_CREDENTIALS: ("invalid_grant", 400),
    Code.UNAUTHENTICATED: ("invalid_grant", 400),
    Code.FORBIDDEN: ("invalid_scope", 400),
}
_REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": TokenRefusal, "description": what}
    for status, what in (
        (400, "`bad_credentials`, or the request is not one of the three"),
        (401, "`invalid_client`"),
        (429, "`too_many_attempts`"),
        (503, "`overloaded`"),
    )
}


@router.post("/token", response_model=TokenAnswer, response_model_exclude_none=True, responses=_REFUSALS)
async def token(
    request: Request,
    response: Response,
    form: Annotated[TokenForm, Form()],
    sessions: SessionService,
    clients: ClientService,
    address: Address,
    user_agent: UserAgent = "",
) -> TokenAnswer | JSONResponse:
    """Get an access token by `password`, `refresh_token` or `client_credentials`; form-encoded.

    Machine clients authenticate by HTTP Basic or by `client_id` and `client_secret` in the form.
    """
    response.headers.update(NO_STORE)
    try:
        if form.grant_type == "password":
            return await _by_password(form, sessions, address, user_agent)
        if form.grant_type == "refresh_token":
            return await _by_refresh(form, sessions)
        if form.grant_type == "client_credentials":
            return await _by_client(request, form, clients)
        raise CodedError(Code.VALIDATION, "grant_type is password, refresh_token or client_credentials.")
    except CodedError as error:
        return _refusal(request, form, error)


async def _by_password(form: TokenForm, sessions: SessionService, address: str, agent: str) -> TokenAnswer:
    password = form.password.get_secret_value()
    user = await login.check_password(sessions.parts, sessions.repository, form.username, password, address)
    scopes = _wanted(form) or frozenset(user.scopes)
    if scopes - set(user.scopes):
        raise CodedError(Code.FORBIDDEN, "You do not have every scope asked for.")
    return _granted(await sessions.open(user, scopes, agent))


async def _by_refresh(form: TokenForm, sessions: SessionService) -> TokenAnswer:
    return _granted(await sessions.refresh(form.refresh_token.get_secret_value()))


def _granted(grant: Grant) -> TokenAnswer:
    return TokenAnswer(
        access_token=grant.access_token,
        expires_in=grant.expires_in,
        scope=" ".join(grant.scopes),
        refresh_token=grant.refresh_token,
    )


async def _by_client(request: Request, form: TokenForm, clients: ClientService) -> TokenAnswer:
    client_id, secret = _basic(request) or (form.client_id, form.client_secret.get_secret_value())
    access, scopes = await clients.token(client_id, secret, _wanted(form))
    return TokenAnswer(access_token=access, expires_in=clients.parts.mint.life_s, scope=" ".join(scopes))


def _wanted(form: TokenForm) -> frozenset[str] | None:
    return frozenset(form.scope.split()) or None


def _basic(request: Request) -> tuple[str, str] | None:
    """Id and secret, each form-encoded before they were joined (RFC 6749, section 2.3.1)."""
    kind, _, value = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        client_id, _, secret = base64.b64decode(value, validate=True).decode().partition(":")
    except (ValueError, binascii.Error):
        return "", ""
    return unquote_plus(client_id), unquote_plus(secret)


def _refusal(request: Request, form: TokenForm, error: CodedError) -> JSONResponse:
    """Both RFC 6749's error body and ours; `application/json`, as OAuth2 libraries expect."""
    word, status = _ERRORS.get(error.code, ("temporarily_unavailable", error.code.status))
    headers = dict(NO_STORE)
    if error.code is Code.UNAUTHENTICATED and form.grant_type == "client_credentials":
        word, status = "invalid_client", 401
        headers["WWW-Authenticate"] = 'Basic realm="thorax"'
    if error.code is Code.VALIDATION and form.grant_type:
        word = "unsupported_grant_type"
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    document = problems.render(error, problems.request_id(request))
    document |= {"status": status, "error": word, "error_description": error.detail}
    return JSONResponse(document, status, headers=headers)


@router.post("/logout", status_code=204, responses=problems.responses(Code.UNAUTHENTICATED, Code.CSRF))
async def logout(
    request: Request, sessions: SessionService, repository: Repo, body: Logout | None = None
) -> None:
    """End a session: that of the refresh token sent, or of the access token. Unknown ones are ended already."""
    if body is not None:
        return await sessions.close(body.refresh_token.get_secret_value())
    caller = await request.app.state.doorkeeper.admit(request)
    if caller.session is not None:
        await repository.sessions.delete(UUID(caller.session), UUID(caller.subject))
    return None


@router.get("/.well-known/jwks.json", responses=problems.responses(Code.UNAVAILABLE))
async def jwks(parts: PartsOfApp, response: Response) -> JsonWebKeySet:
    """The public keys that access tokens are signed with: coming, current and going ones."""
    if not parts.keyring.ready:
        raise CodedError(Code.UNAVAILABLE, "No signing key is known yet.", retry_after=2)
    response.headers["Cache-Control"] = "public, max-age=300"
    return JsonWebKeySet(**parts.keyring.jwks())

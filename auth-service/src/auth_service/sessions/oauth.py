"""OAuth2 (RFC 6749): the token endpoint and logout."""

import base64
from typing import Annotated, Any, Literal
from urllib.parse import unquote_plus
from uuid import UUID

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, SecretStr

from auth_service.accounts.schemas import Input, Output
from auth_service.clients import service as clients
from auth_service.dependencies import Address, Tx, UserAgent
from auth_service.sessions import login, queries, service
from thorax.errors import Code, CodedError
from thorax.http import problems

router = APIRouter(prefix="/auth", tags=["tokens"])
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
# Code -> error of RFC 6749, section 5.2, and its status. All other codes keep their status.
_ERRORS = {
    Code.VALIDATION: ("invalid_request", 400),
    Code.BAD_CREDENTIALS: ("invalid_grant", 400),
    Code.UNAUTHENTICATED: ("invalid_grant", 400),
    Code.FORBIDDEN: ("invalid_scope", 400),
}


class TokenForm(BaseModel):
    """An OAuth2 token request (RFC 6749). The endpoint checks it, since the RFC has errors of its own."""

    grant_type: str = Field(default="", examples=["password"])
    username: str = Field(default="", examples=["dr.roentgen@hospital.example"])
    password: SecretStr = Field(default=SecretStr(""), examples=["a-long-enough-passphrase"])
    refresh_token: SecretStr = SecretStr("")
    client_id: str = ""
    client_secret: SecretStr = SecretStr("")
    scope: str = Field(default="", description="separated by spaces; empty: all that are allowed")


class TokenAnswer(Output):
    """Tokens (RFC 6749, section 5.1). Machine clients get no refresh token: they have their secret."""

    access_token: str = Field(examples=["eyJhbGciOiJSUzI1NiIs…"])
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105
    expires_in: int = Field(examples=[600])
    scope: str = Field(examples=["studies:read studies:write"])
    refresh_token: str | None = Field(default=None, examples=["Jt3…"])


class TokenRefusal(problems.Problem):
    """RFC 6749's error (section 5.2), with the members of every other problem."""

    error: str = Field(examples=["invalid_grant"])
    error_description: str


class Logout(Input):
    """The refresh token of the session to end; without it the access token's session ends."""

    refresh_token: SecretStr


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
async def create_token(
    request: Request,
    response: Response,
    form: Annotated[TokenForm, Form()],
    tx: Tx,
    address: Address,
    user_agent: UserAgent = "",
) -> TokenAnswer | JSONResponse:
    """Get an access token by `password`, `refresh_token` or `client_credentials`; form-encoded.

    Machine clients authenticate by HTTP Basic or by `client_id` and `client_secret` in the form.
    """
    response.headers.update(NO_STORE)
    try:
        if form.grant_type == "password":
            return await _by_password(tx, form, address, user_agent)
        if form.grant_type == "refresh_token":
            grant = await service.refresh(tx, form.refresh_token.get_secret_value())
            return TokenAnswer.model_validate(grant)
        if form.grant_type == "client_credentials":
            return await _by_client(tx, form, request)
        raise CodedError(Code.VALIDATION, "grant_type must be password, refresh_token or client_credentials.")
    except CodedError as error:
        return _refusal(request, form, error)


async def _by_password(tx: Tx, form: TokenForm, address: str, user_agent: str) -> TokenAnswer:
    user = await login.check_password(tx, form.username, form.password.get_secret_value(), address)
    scopes = _requested(form) or frozenset(user.scopes)
    if scopes - set(user.scopes):
        raise CodedError(Code.FORBIDDEN, "The account lacks a requested scope.")
    return TokenAnswer.model_validate(await service.open_session(tx, user, scopes, user_agent))


async def _by_client(tx: Tx, form: TokenForm, request: Request) -> TokenAnswer:
    client_id, secret = _basic(request) or (form.client_id, form.client_secret.get_secret_value())
    access, scope = await clients.token(tx, client_id, secret, _requested(form))
    return TokenAnswer(access_token=access, expires_in=tx.app.signer.life_s, scope=scope)


def _requested(form: TokenForm) -> frozenset[str] | None:
    return frozenset(form.scope.split()) or None


def _basic(request: Request) -> tuple[str, str] | None:
    """Id and secret, each form-encoded before they were joined (RFC 6749, section 2.3.1)."""
    kind, _, value = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        client_id, _, secret = base64.b64decode(value, validate=True).decode().partition(":")
    except ValueError:
        return "", ""
    return unquote_plus(client_id), unquote_plus(secret)


def _refusal(request: Request, form: TokenForm, error: CodedError) -> JSONResponse:
    """RFC 6749's error and ours in one body; `application/json`, as OAuth2 libraries expect."""
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
async def revoke_token(request: Request, tx: Tx, body: Logout | None = None) -> None:
    """End a session: that of the refresh token sent, or else of the access token. An ended one is not an error."""
    if body is not None:
        await service.close(tx, body.refresh_token.get_secret_value())
        return
    caller = await request.app.state.authenticator.authenticate(request)
    if caller.session is not None:
        await queries.delete_session(tx.db, UUID(caller.session), UUID(caller.subject))

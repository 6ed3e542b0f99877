"""The page's session, whose tokens are in cookies that scripts can't read, and the list of one's sessions."""

from datetime import datetime
from functools import partial
from uuid import UUID

from fastapi import APIRouter, Request, Response
from pydantic import Field

from auth_service.accounts.schemas import Account, Id, Input, Name, Output, Password
from auth_service.dependencies import Address, CurrentUser, Tx, UserAgent
from auth_service.sessions import login, queries, service
from auth_service.sessions.service import Grant
from auth_service.tokens import new_secret
from thorax.errors import Code, CodedError
from thorax.http.authentication import ACCESS_COOKIE, CSRF_COOKIE, CSRF_HEADER, Caller
from thorax.http.problems import responses
from thorax.identity import unauthenticated

router = APIRouter(prefix="/auth", tags=["sessions"])
REFRESH_COOKIE = "thorax_refresh"
REFRESH_PATH = "/auth/session"  # sent to these three endpoints only
_LOG_IN = (Code.BAD_CREDENTIALS, Code.TOO_MANY_ATTEMPTS, Code.OVERLOADED)


class Credentials(Input):
    """Name and password."""

    name: Name
    password: Password


class PageSession(Output):
    """A login of the page. Its tokens are in cookies."""

    account: Account
    expires_in: int = Field(examples=[600], description="seconds; refresh before")
    session: Id


class SessionInfo(Output):
    """One of your logins."""

    id: Id
    user_agent: str = Field(examples=["Mozilla/5.0"])
    page: bool = Field(description="of the page, not of the API")
    current: bool = Field(description="the session of this request")
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime


@router.post("/session", responses=responses(*_LOG_IN))
async def log_in(
    request: Request,
    response: Response,
    body: Credentials,
    tx: Tx,
    address: Address,
    user_agent: UserAgent = "",
) -> PageSession:
    """Log the page in and set its cookies."""
    _check_site(request)
    user = await login.check_password(tx, body.name, body.password.get_secret_value(), address)
    csrf = new_secret()
    return _answer(response, tx, await service.open_session(tx, user, user.scopes, user_agent, csrf), csrf)


@router.post("/session/refresh", responses=responses(Code.UNAUTHENTICATED, Code.CSRF, Code.CONFLICT))
async def refresh_session(request: Request, response: Response, tx: Tx) -> PageSession:
    """Replace the cookies. `409 conflict`: another tab has just done so; use the cookies that it got."""
    _check_site(request)
    csrf = request.headers.get(CSRF_HEADER, "")
    return _answer(
        response, tx, await service.refresh(tx, _refresh_token(request), page=True, csrf=csrf), csrf
    )


@router.delete("/session", status_code=204, responses=responses(Code.UNAUTHENTICATED, Code.CSRF))
async def log_out(request: Request, response: Response, tx: Tx) -> None:
    """End the page's session and remove its cookies."""
    _check_site(request)
    await service.close(tx, _refresh_token(request), csrf=request.headers.get(CSRF_HEADER, ""))
    for name, path in ((ACCESS_COOKIE, "/"), (REFRESH_COOKIE, REFRESH_PATH), (CSRF_COOKIE, "/")):
        response.delete_cookie(name, path, secure=tx.app.settings.cookie_secure, samesite="strict")


@router.get("/sessions", responses=responses(Code.UNAUTHENTICATED))
async def list_sessions(user: CurrentUser, caller: Caller, tx: Tx) -> list[SessionInfo]:
    """List your logins, last used first."""
    return [
        SessionInfo.model_validate(vars(row) | {"page": row.page, "current": str(row.id) == caller.session})
        for row in await queries.sessions_of(tx.db, user.id)
    ]


@router.delete(
    "/sessions/{session_id}", status_code=204, responses=responses(Code.UNAUTHENTICATED, Code.NOT_FOUND)
)
async def end_session(session_id: UUID, user: CurrentUser, tx: Tx) -> None:
    """End one of your logins. Other services accept its access token for up to ten more minutes."""
    if not await queries.delete_session(tx.db, session_id, user.id):
        raise CodedError(Code.NOT_FOUND, "Session not found.")


def _refresh_token(request: Request) -> str:
    token = request.cookies.get(REFRESH_COOKIE)
    if not token:
        raise unauthenticated("The request has no page session.")
    return token


def _check_site(request: Request) -> None:
    """Another site must not log a visitor in or out (login CSRF); browsers say which site sent a request."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise CodedError(Code.CSRF, "Another site sent this request.")


def _answer(response: Response, tx: Tx, grant: Grant, csrf: str) -> PageSession:
    session_s = int(tx.app.settings.session_life.total_seconds())
    set_cookie = partial(response.set_cookie, secure=tx.app.settings.cookie_secure, samesite="strict")
    set_cookie(ACCESS_COOKIE, grant.access_token, grant.expires_in, httponly=True)
    set_cookie(REFRESH_COOKIE, grant.refresh_token, session_s, path=REFRESH_PATH, httponly=True)
    set_cookie(CSRF_COOKIE, csrf, session_s)  # scripts of the page read it, to repeat it in a header
    response.headers["Cache-Control"] = "no-store"
    account = Account.model_validate(grant.user)
    return PageSession(account=account, expires_in=grant.expires_in, session=grant.session.id)

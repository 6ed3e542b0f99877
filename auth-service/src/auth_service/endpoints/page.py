"""The page's session: the same tokens in cookies that scripts can't read, with a CSRF token that they can."""

from fastapi import APIRouter, Request, Response

from auth_service.endpoints.dependencies import Address, PartsOfApp, SessionService, UserAgent
from auth_service.parts import Parts
from auth_service.schemas import Account, Credentials, PageSession
from auth_service.service import login
from auth_service.service.sessions import Grant
from auth_service.tokens import new_secret
from thorax.errors import Code, CodedError
from thorax.http import problems
from thorax.http.authentication import ACCESS_COOKIE, CSRF_COOKIE, CSRF_HEADER
from thorax.identity import unauthenticated

router = APIRouter(prefix="/auth/session", tags=["page session"])
REFRESH_COOKIE = "thorax_refresh"
REFRESH_PATH = "/auth/session"  # sent to these three endpoints only


@router.post("", responses=problems.responses(Code.BAD_CREDENTIALS, Code.TOO_MANY_ATTEMPTS, Code.OVERLOADED))
async def log_in(
    request: Request,
    response: Response,
    body: Credentials,
    sessions: SessionService,
    address: Address,
    user_agent: UserAgent = "",
) -> PageSession:
    """Log the page in; sets the cookies."""
    _same_site(request)
    password = body.password.get_secret_value()
    user = await login.check_password(sessions.parts, sessions.repository, body.name, password, address)
    csrf = new_secret()
    grant = await sessions.open(user, user.scopes, user_agent, csrf)
    return _answer(response, sessions.parts, grant, csrf)


@router.post("/refresh", responses=problems.responses(Code.UNAUTHENTICATED, Code.CSRF, Code.CONFLICT))
async def refresh(request: Request, response: Response, sessions: SessionService) -> PageSession:
    """New cookies for old. `409 conflict`: another tab did so a moment ago; go on with the cookies it got."""
    _same_site(request)
    csrf = request.headers.get(CSRF_HEADER, "")
    grant = await sessions.refresh(_refresh_token(request), page=True, csrf=csrf)
    return _answer(response, sessions.parts, grant, csrf)


@router.delete("", status_code=204, responses=problems.responses(Code.UNAUTHENTICATED, Code.CSRF))
async def log_out(request: Request, response: Response, parts: PartsOfApp, sessions: SessionService) -> None:
    """End the page's session and remove its cookies."""
    _same_site(request)
    await sessions.close(_refresh_token(request), csrf=request.headers.get(CSRF_HEADER, ""))
    for name, path in ((ACCESS_COOKIE, "/"), (REFRESH_COOKIE, REFRESH_PATH), (CSRF_COOKIE, "/")):
        response.delete_cookie(name, path, secure=parts.settings.cookie_secure, samesite="strict")


def _refresh_token(request: Request) -> str:
    token = request.cookies.get(REFRESH_COOKIE)
    if not token:
        raise unauthenticated("There is no page session.")
    return token


def _same_site(request: Request) -> None:
    """Nobody else's page may log a visitor in or out (login CSRF); browsers say whose page it is."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise CodedError(Code.CSRF, "A page of another site sent this request.")


def _answer(response: Response, parts: Parts, grant: Grant, csrf: str) -> PageSession:
    session_s = int(parts.settings.session_life.total_seconds())
    cookies = (
        (ACCESS_COOKIE, grant.access_token, grant.expires_in, "/", True),
        (REFRESH_COOKIE, grant.refresh_token, session_s, REFRESH_PATH, True),
        (CSRF_COOKIE, csrf, session_s, "/", False),
    )
    for name, value, life_s, path, hidden in cookies:
        response.set_cookie(
            name,
            value,
            max_age=life_s,
            path=path,
            httponly=hidden,
            secure=parts.settings.cookie_secure,
            samesite="strict",
        )
    response.headers["Cache-Control"] = "no-store"
    return PageSession(account=Account.of(grant.user), expires_in=grant.expires_in, session=grant.session.id)

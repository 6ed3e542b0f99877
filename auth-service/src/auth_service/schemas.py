"""What goes in and out over HTTP. Passwords and secrets that come in are SecretStr, so no repr or log shows them."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from auth_service.models import Client, Session, User
from thorax.http.problems import Problem
from thorax.identity import Scope

Name = Annotated[str, Field(max_length=254, examples=["dr.roentgen@hospital.example"])]
Password = Annotated[SecretStr, Field(max_length=1024, examples=["a-long-enough-passphrase"])]
# What `passwords` asks of new ones is told here and not checked: its answers have codes of their own.
NewName = Annotated[
    str,
    Field(
        max_length=254,
        description="an e-mail address, or 2 to 64 letters, digits and `._+-`",
        examples=["dr.roentgen@hospital.example"],
        json_schema_extra={"minLength": 2},
    ),
]
NewPassword = Annotated[Password, Field(json_schema_extra={"minLength": 12})]
Scopes = Annotated[list[Scope], Field(examples=[["studies:read", "studies:write"]])]
_ID = UUID("0e0f8f3e-5a0e-4d0e-9d67-3b0c7f2b6a11")


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _is_text(cls, values: object) -> object:
        """JSON can spell half a surrogate pair (`\\ud800`), which no UTF-8 can hold."""
        for value in values.values() if isinstance(values, dict) else ():
            if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
                raise ValueError("half a surrogate pair is no text")
        return values


class Credentials(_In):
    """Name and password."""

    name: Name
    password: Password


class SignUp(_In):
    """A new account: at least 12 characters of password, and not the name."""

    name: NewName
    password: NewPassword
    invitation: str | None = Field(default=None, max_length=100, description="to join a tenant")


class PasswordProof(_In):
    """The password once more, for what can't be undone."""

    password: Password


class PasswordChange(_In):
    """The password as it is, and as it shall be."""

    current: Password
    new: NewPassword


class Logout(_In):
    """The refresh token whose session shall end; without one the bearer token's session ends."""

    refresh_token: SecretStr


class Account(BaseModel):
    """A user."""

    id: UUID = Field(examples=[_ID])
    name: Name
    tenant_id: UUID = Field(examples=[_ID])
    scopes: Scopes
    disabled: bool = False
    created_at: datetime

    @classmethod
    def of(cls, row: User) -> "Account":
        """As the owner or an administrator sees it."""
        scopes = [Scope(scope) for scope in row.scopes]
        return cls(
            id=row.id,
            name=row.name,
            tenant_id=row.tenant_id,
            scopes=scopes,
            disabled=row.disabled_at is not None,
            created_at=row.created_at,
        )


class TenantView(BaseModel):
    """Those who see each other's studies, called by the one who has been there longest."""

    id: UUID = Field(examples=[_ID])
    name: Name
    members: int


class Me(BaseModel):
    """Who calls: a user, or a machine client. `scopes` are those of the token in use."""

    id: UUID = Field(examples=[_ID])
    kind: Literal["user", "client"]
    name: str = Field(examples=["dr.roentgen@hospital.example"])
    tenant_id: UUID = Field(examples=[_ID])
    scopes: Scopes
    session: UUID | None = Field(default=None, description="the session of this token, if it has one")


class PageSession(BaseModel):
    """A login of the page. The tokens are in cookies; this is what the page may know."""

    account: Account
    expires_in: int = Field(examples=[600], description="seconds; refresh before")
    session: UUID = Field(examples=[_ID])


class Invitation(BaseModel):
    """Lets one person sign up into your tenant. Shown once."""

    invitation: str = Field(examples=["b2k…"])
    expires_at: datetime


class UserPage(BaseModel):
    """Users, newest first."""

    items: list[Account]
    next: str | None = Field(default=None, description="`cursor` of the next page; null on the last")


class SessionInfo(BaseModel):
    """One login of yours."""

    id: UUID = Field(examples=[_ID])
    user_agent: str = Field(examples=["Mozilla/5.0"])
    page: bool = Field(description="of the page, not of the API")
    current: bool = Field(description="the one this request came with")
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime

    @classmethod
    def of(cls, row: Session, current: str | None) -> "SessionInfo":
        """As its owner sees it."""
        return cls(
            id=row.id,
            user_agent=row.user_agent,
            page=row.csrf is not None,
            current=str(row.id) == current,
            created_at=row.created_at,
            last_used_at=row.last_used_at,
            expires_at=row.expires_at,
        )


class NewClient(_In):
    """A machine client to be made."""

    name: str = Field(pattern=r"^[^\x00-\x1f\x7f]{1,100}$", examples=["PACS of ward 3"])
    scopes: Scopes = Field(default=[Scope.STUDIES_READ, Scope.STUDIES_WRITE], min_length=1, max_length=4)


class Rotation(_In):
    """How to rotate a secret."""

    at_once: bool = Field(default=False, description="end the old secret now instead of in 24 hours")


class ClientInfo(BaseModel):
    """A machine client of yours; `id` is its `client_id`."""

    id: UUID = Field(examples=[_ID])
    name: str = Field(examples=["PACS of ward 3"])
    scopes: Scopes
    created_at: datetime
    last_used_at: datetime | None
    old_secret_until: datetime | None = Field(
        description="until then the secret before the last rotation works"
    )

    @classmethod
    def fields_of(cls, row: Client) -> dict[str, Any]:
        """The members, from the row."""
        return {
            "id": row.id,
            "name": row.name,
            "scopes": [Scope(scope) for scope in row.scopes],
            "created_at": row.created_at,
            "last_used_at": row.last_used_at,
            "old_secret_until": row.old_secret_until,
        }

    @classmethod
    def of(cls, row: Client) -> "ClientInfo":
        """As its owner sees it."""
        return cls(**cls.fields_of(row))


class ClientWithSecret(ClientInfo):
    """The same with its secret, which is shown this once and kept only as a digest."""

    secret: str = Field(examples=["thorax_0Jq…"])

    @classmethod
    def new(cls, row: Client, secret: str) -> "ClientWithSecret":
        """Right after creation or rotation."""
        return cls(**cls.fields_of(row), secret=secret)


class TokenForm(BaseModel):
    """An OAuth2 token request (RFC 6749). Checked by the endpoint, which owes RFC 6749's own errors."""

    grant_type: str = Field(default="", examples=["password"])
    username: str = Field(default="", examples=["dr.roentgen@hospital.example"])
    password: SecretStr = Field(default=SecretStr(""), examples=["a-long-enough-passphrase"])
    refresh_token: SecretStr = SecretStr("")
    client_id: str = ""
    client_secret: SecretStr = SecretStr("")
    scope: str = Field(default="", description="space-separated; all that is allowed when empty")


class TokenAnswer(BaseModel):
    """Tokens (RFC 6749, section 5.1). Machine clients get no refresh token: they have their secret."""

    access_token: str = Field(examples=["eyJhbGciOiJSUzI1NiIs…"])
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105
    expires_in: int = Field(examples=[600])
    scope: str = Field(examples=["studies:read studies:write"])
    refresh_token: str | None = Field(default=None, examples=["Jt3…"])


class TokenRefusal(Problem):
    """RFC 6749's error (section 5.2), with the members of every other problem."""

    error: str = Field(examples=["invalid_grant"])
    error_description: str


class JsonWebKeySet(BaseModel):
    """Public keys (RFC 7517)."""

    keys: list[dict[str, str]]

"""Accounts over HTTP. Passwords that come in are SecretStr, so no repr or log shows them."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from auth_service.passwords import MAX_BYTES, MAX_NAME, MIN_CHARACTERS, NAME_RULE
from thorax.identity import Scope

EXAMPLE_ID = UUID("0e0f8f3e-5a0e-4d0e-9d67-3b0c7f2b6a11")
Id = Annotated[UUID, Field(examples=[EXAMPLE_ID])]
Name = Annotated[str, Field(max_length=MAX_NAME, examples=["dr.roentgen@hospital.example"])]
Password = Annotated[SecretStr, Field(max_length=MAX_BYTES, examples=["a-long-enough-passphrase"])]
# The documented limits of new names and passwords are checked in `passwords`, whose errors have codes of their own.
NewName = Annotated[Name, Field(description=NAME_RULE, json_schema_extra={"minLength": 2})]
NewPassword = Annotated[Password, Field(json_schema_extra={"minLength": MIN_CHARACTERS})]
Scopes = Annotated[list[Scope], Field(examples=[["studies:read", "studies:write"]])]


class Input(BaseModel):
    """The base of request bodies: no unknown fields, and no text that UTF-8 can't hold."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _check_text(cls, values: object) -> object:
        """JSON can spell half a surrogate pair (`\\ud800`), which UTF-8 can't hold."""
        for value in values.values() if isinstance(values, dict) else ():
            if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
                raise ValueError("a text contains an unpaired surrogate")
        return values


class Output(BaseModel):
    """The base of answers that are made from rows."""

    model_config = ConfigDict(from_attributes=True)


class SignUp(Input):
    """A new account. The password has at least 12 characters and is not the name."""

    name: NewName
    password: NewPassword
    invitation: str | None = Field(default=None, max_length=100, description="to join a tenant")


class PasswordProof(Input):
    """The password again, to confirm what can't be undone."""

    password: Password


class PasswordChange(Input):
    """The current password and the new one."""

    current: Password
    new: NewPassword


class Account(Output):
    """A user, as the owner or an administrator sees it."""

    id: Id
    name: Name
    tenant_id: Id
    scopes: Scopes
    disabled: bool = False
    created_at: datetime


class TenantView(Output):
    """A tenant: users who see each other's studies. Its name is that of its oldest member."""

    id: Id
    name: Name
    members: int


class Me(BaseModel):
    """The caller: a user or a machine client. `scopes` are those of the access token."""

    id: Id
    kind: Literal["user", "client"]
    name: str = Field(examples=["dr.roentgen@hospital.example"])
    tenant_id: Id
    scopes: Scopes
    session: UUID | None = Field(default=None, description="the session of this token, if it has one")


class Invitation(BaseModel):
    """Lets one person sign up into your tenant. Shown only once."""

    invitation: str = Field(examples=["b2k…"])
    expires_at: datetime


class UserPage(BaseModel):
    """Users, newest first."""

    items: list[Account]
    next: str | None = Field(default=None, description="`cursor` of the next page; null on the last")

"""auth-service's settings: `THORAX_*` variables, built once at the entry point and passed down."""

from datetime import timedelta
from ipaddress import ip_network
from typing import Literal

from pydantic import Field

from thorax.identity import MAX_TOKEN_LIFE_S
from thorax.settings import Networks, Origins, Port, ReadableFile, SecretFile, Settings


class AuthSettings(Settings):
    """auth-service's own settings."""

    auth_host: str = "127.0.0.1"
    auth_port: Port = 8081
    grace_s: int = Field(default=5, ge=0, description="seconds that open requests get after SIGTERM")
    auth_secret_file: SecretFile = Field(description="a file with the secret that encrypts the signing keys")
    admin_password_file: ReadableFile | None = Field(
        default=None, description="read by `auth-service create-admin`; without it stdin is"
    )
    issuer: str = Field(
        default="http://127.0.0.1:8080/auth", description="`iss` of every token; the same for all services"
    )
    sign_up: Literal["open", "closed"] = Field(default="open", description="closed: by invitation only")
    cookie_secure: bool = Field(default=True, description="false only where the page is served without TLS")
    trusted_proxies: Networks = Field(
        default=(ip_network("127.0.0.1"), ip_network("::1")),
        description="comma-separated networks whose X-Forwarded-For is believed",
    )
    cors_origins: Origins = Field(
        default=(), description="comma-separated origins whose pages may call the API with a token, or *"
    )
    token_life_s: int = Field(default=MAX_TOKEN_LIFE_S, ge=30, le=MAX_TOKEN_LIFE_S)
    session_days: float = Field(default=30, gt=0, description="a session ends after so long")
    session_idle_days: float = Field(default=7, gt=0, description="or after so long without use")
    login_failures: int = Field(default=5, ge=1, description="per account and address, in 15 minutes")
    address_failures: int = Field(default=100, ge=1, description="per address, over all its accounts")
    sign_ups_per_address: int = Field(default=60, ge=1, description="in 15 minutes")
    # OWASP's minimum is 19456 KiB and two passes. A change rehashes each password at its next login.
    password_memory_kib: int = Field(default=46 * 1024, ge=8, description="Argon2id memory per login")
    password_time_cost: int = Field(default=2, ge=1, description="Argon2id passes over the memory")

    @property
    def session_life(self) -> timedelta:
        """How long a login lasts at most."""
        return timedelta(days=self.session_days)

    @property
    def session_idle(self) -> timedelta:
        """How long a login lasts unused."""
        return timedelta(days=self.session_idle_days)

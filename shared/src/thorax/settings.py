"""Settings that every service shares; each service adds its own in a subclass.

Values come from `THORAX_*` environment variables; secrets may come from files named like the variable in lower
case (e.g. `thorax_database_url`) in the folder `THORAX_SECRETS_DIR`, as Docker and Kubernetes mount them.
"""

import os
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


def _split(value: object) -> object:
    return tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value


Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_split)]
"""Networks with commas between, e.g. `10.0.0.0/8,::1`."""


def _secrets_dir() -> str | None:
    folder = os.environ.get("THORAX_SECRETS_DIR")
    return folder if folder and Path(folder).is_dir() else None


class Settings(BaseSettings):
    """What all services need to know."""

    model_config = SettingsConfigDict(env_prefix="THORAX_", extra="ignore", frozen=True)

    database_url: SecretStr = Field(description="postgresql+psycopg://user:password@host:port/database")
    database_pooled: bool = Field(
        default=False, description="whether a pooler in transaction mode (PgBouncer) stands before Postgres"
    )
    redis_url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    blobs: str = Field(default=".thorax/blobs", description="a folder, or s3://bucket/prefix")
    models: Path = Field(default=Path("models"), description="the folder that holds model bundles")
    log_format: Literal["console", "json"] = "json"
    log_level: str = "INFO"

    def __init__(self, **values: object) -> None:
        super().__init__(_secrets_dir=_secrets_dir(), **values)  # type: ignore[arg-type]

"""The settings of `make run`, from environment variables."""

import os
from pathlib import Path

from pydantic import AliasChoices, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from local_stack.server import HOST
from thorax.settings import BrokerUrl, DatabaseUrl, Port


class LocalSettings(BaseSettings):
    """Where things are; the stores are embedded unless their URLs are given."""

    model_config = SettingsConfigDict(
        env_prefix="THORAX_", extra="ignore", frozen=True, populate_by_name=True
    )

    port: Port = Field(default=8080, validation_alias=AliasChoices("PORT", "THORAX_PORT"))
    bundle: Path = Field(default=Path("models/default"), validation_alias="BUNDLE")
    state: Path = Field(default=Path(".thorax"), description="everything that survives a restart")
    sample: Path | None = Field(default=Path("samples/chest.png"), description="analysed when all is ready")
    page: Path = Field(default=Path("web/dist"), description="folder of the built page")
    dicom_port: int = Field(default=11112, ge=1, le=65535, description="of C-STORE, or the next that is free")
    dicom_aes: Path | None = Field(default=None, description="AE titles; unset: THORAX, for any peer here")
    model_workers: int = Field(
        default_factory=lambda: min(4, len(os.sched_getaffinity(0))), ge=1, description="processes"
    )
    database_url: DatabaseUrl | None = None
    redis_url: BrokerUrl | None = None
    blobs: str | None = Field(default=None, description="a folder, or s3://bucket/prefix")

    @property
    def run_file(self) -> Path:
        """Tells scripts where the platform is and how to log in; only its owner may read it."""
        return self.state / "run.json"

    @property
    def auth_secret(self) -> Path:
        """What encrypts the signing keys in the database."""
        return self.state.absolute() / "auth-secret"

    @property
    def base_url(self) -> str:
        """What clients call, without a slash at the end."""
        return f"http://{HOST}:{self.port}"

    @property
    def blob_store(self) -> str:
        """The folder or bucket as the services want it."""
        return self.blobs or str(self.state.absolute() / "blobs")

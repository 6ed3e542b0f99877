"""The gateway's settings."""

from pathlib import Path

from pydantic import Field

from thorax.settings import (
    DatabaseUrl,
    DeliverySecretFile,
    HttpUrl,
    Networks,
    Origins,
    Port,
    PrivateWebhooks,
    Settings,
)

SHORTEST_QUIET_S = 1.0


class GatewaySettings(Settings):
    """Limits and neighbours of the gateway."""

    grace_s: int = Field(default=5, description="how long uploads may go on after SIGTERM")
    host: str = "127.0.0.1"
    port: Port = 8080
    auth_url: HttpUrl = Field(default="http://127.0.0.1:8081", description="where auth-service is reached")
    issuer: str = Field(default="http://127.0.0.1:8080/auth", description="`iss` of the tokens we accept")
    trusted_proxies: Networks = Field(
        default=(), description="comma-separated networks whose X-Forwarded-For is believed"
    )
    cors_origins: Origins = Field(
        default=(), description="comma-separated origins whose pages may call the API with a token, or *"
    )
    database_direct_url: DatabaseUrl | None = Field(
        default=None,
        description="the database past its pooler, for LISTEN; without it waiting clients are served each second",
    )
    page: Path | None = Field(default=None, description="folder of the built page")

    max_body_bytes: int = 100_000_000
    max_files: int = 20
    body_idle_s: float = 15
    body_total_s: float = 120
    max_stow_bytes: int = Field(default=500_000_000, description="of one STOW-RS request")
    quiet_s: float = Field(
        default=10,
        ge=SHORTEST_QUIET_S,
        description="a study sent by STOW-RS is analysed after so long without images",
    )
    latest_s: float = Field(
        default=120, ge=SHORTEST_QUIET_S, description="and at the latest so long after its first image"
    )
    open_jobs_per_tenant: int = Field(default=500, description="past this, 429")
    high_water_steps: int = Field(default=2_000, description="waiting steps past which uploads get 503")

    delivery_secret_file: DeliverySecretFile = None
    private_webhooks: PrivateWebhooks = ()

    anonymous: bool = Field(default=True, description="whether the open API is on")
    anonymous_jobs_per_hour: int = 30
    anonymous_hours: int = 24

    @property
    def listen_url(self) -> str | None:
        """Where LISTEN works: a pooler in transaction mode gives the connection to somebody else meanwhile."""
        direct = self.database_direct_url or (None if self.database_pooled else self.database_url)
        return direct.get_secret_value() if direct else None

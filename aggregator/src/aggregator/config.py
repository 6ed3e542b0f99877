"""The aggregator's and the sweeper's settings."""

from pathlib import Path

from pydantic import Field

from thorax.settings import DeliverySecretFile, PrivateWebhooks
from thorax.work.worker import LedgerSettings


class AggregatorSettings(LedgerSettings):
    """How jobs are finished, recovered and cleaned up."""

    quorum: int = Field(
        default=0, ge=0, description="backbones that suffice when the deadline has passed; 0: all"
    )
    deadline_s: float = Field(
        default=60, gt=0, description="after this long a quorum may answer, if one is set"
    )
    sweep_s: float = Field(
        default=1, gt=0, description="seconds between two rounds of the sweeper while a job is open"
    )
    hint_again_s: float = Field(default=5, gt=0, description="a waiting step is hinted again after this long")
    delivery_secret_file: DeliverySecretFile = None
    dicom_tls_folder: Path | None = Field(
        default=None,
        description="authorities of DICOM destinations that speak TLS, and our certificates for them",
    )
    private_webhooks: PrivateWebhooks = ()
    public_url: str = Field(
        default="",
        pattern=r"^(https://[^/\s]+/?)?$",
        description="https://host of the public door, whose certificate is watched",
    )
    keep_steps_h: float = Field(default=72, gt=0, description="how long the steps of ended jobs are kept")

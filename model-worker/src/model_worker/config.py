"""The model worker's settings."""

from pydantic import Field

from thorax.bundle import Engine
from thorax.work.worker import LedgerSettings


class WorkerSettings(LedgerSettings):
    """Which work a worker takes, and how."""

    backbones: str = Field(
        default="all", description="`all`, or names with commas between: one worker, one share"
    )
    prepares: bool = Field(default=True, description="whether it decodes uploads besides running backbones")
    max_batch: int = Field(
        default=0, ge=0, description="images per run; 0: 8 on a GPU, 1 on a CPU (no gain there)"
    )
    cpu_fallback: bool = Field(
        default=True, description="whether a GPU that does not start may be done without"
    )
    engine: Engine | None = Field(
        default=None,
        description="what runs the networks on a CPU; without one, the fastest of those measured",
    )
    decode_timeout_s: float = 20
    loaded_bundles: int = Field(
        default=3, ge=1, description="bundles kept in memory: the default, tenants' own, the shadow"
    )

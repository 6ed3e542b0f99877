"""The settings that every service shares, and `load`, by which every process reads its own.

Values come from `THORAX_*` environment variables; secrets may come from files named like the variable in lower
case (e.g. `thorax_database_url`) in the folder `THORAX_SECRETS_DIR`, as Docker and Kubernetes mount them.
"""

import os
import sys
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

S = TypeVar("S", bound=BaseSettings)
PREFIX = "THORAX_"
SECRETS_DIR = f"{PREFIX}SECRETS_DIR"
# All variables of all processes (a test compares them with the services' settings): a service is given others' settings
# too, and still has to notice a misspelt one of its own. The last line is of `make` targets and tests.
_NAMES = """
DATABASE_URL DATABASE_POOLED REDIS_URL BLOBS MODELS LOG_FORMAT LOG_LEVEL METRICS_HOST METRICS_PORT SECRETS_DIR
LEASE_S MAX_ATTEMPTS HEARTBEAT_FILE BACKBONES PREPARES MAX_BATCH CPU_FALLBACK ENGINE DECODE_TIMEOUT_S LOADED_BUNDLES
QUORUM DEADLINE_S SWEEP_S HINT_AGAIN_S KEEP_STEPS_H QUIET_S LATEST_S DELIVERY_SECRET_FILE PRIVATE_WEBHOOKS
CORS_ORIGINS HOST PORT GRACE_S AUTH_URL ISSUER TRUSTED_PROXIES DATABASE_DIRECT_URL PAGE MAX_BODY_BYTES MAX_FILES BODY_IDLE_S
BODY_TOTAL_S MAX_STOW_BYTES OPEN_JOBS_PER_TENANT HIGH_WATER_STEPS ANONYMOUS ANONYMOUS_JOBS_PER_HOUR ANONYMOUS_HOURS
AUTH_HOST AUTH_PORT AUTH_SECRET_FILE ADMIN_PASSWORD_FILE SIGN_UP COOKIE_SECURE TOKEN_LIFE_S SESSION_DAYS
SESSION_IDLE_DAYS LOGIN_FAILURES ADDRESS_FAILURES SIGN_UPS_PER_ADDRESS PASSWORD_MEMORY_KIB PASSWORD_TIME_COST
STATE SAMPLE MODEL_WORKERS
DICOM_HOST DICOM_PORT DICOM_AES DICOM_SPOOL DICOM_ASSOCIATIONS DICOM_PDU_BYTES DICOM_IDLE_S
DICOM_TLS_CERTIFICATE DICOM_TLS_KEY DICOM_TLS_CLIENTS DICOM_TLS_FOLDER PUBLIC_URL
TEST_DATA CHAOS PAGE_BUNDLE PAGE_STATE POOLER_REQUESTS TEST_RELEASE
"""
VARIABLES = frozenset(f"{PREFIX}{name}" for name in _NAMES.split())


def _split(value: object) -> object:
    return tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _database_url(url: SecretStr) -> SecretStr:
    try:
        driver = make_url(url.get_secret_value()).drivername
    except (ArgumentError, ValueError):
        driver = ""
    if driver != "postgresql+psycopg":
        raise ValueError("a URL, with special characters of the password written as %XX")
    return url


def _broker_url(url: SecretStr) -> SecretStr:
    try:
        parts = urlsplit(url.get_secret_value())
        valid = parts.scheme in ("redis", "rediss") and parts.hostname and parts.port != 0
    except ValueError:
        valid = False
    if not valid or not (parts.path.strip("/") or "0").isdecimal() or parts.fragment:
        raise ValueError("a URL, with special characters of the password written as %XX")
    return url


def http_url(url: str) -> str:
    """The URL, if it is one of http or https. Raises ValueError."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise ValueError("an http:// or https:// URL")
    return url


def _origin(url: str) -> str:
    parts = urlsplit(http_url(url) if url != "*" else "http://any")
    if parts.path or parts.query or parts.fragment or parts.username:
        raise ValueError("origins, e.g. https://viewer.example.org, or *")
    return url


def _readable(file: Path) -> Path:
    try:
        file.read_bytes()
    except OSError as error:
        raise ValueError(f"a readable file ({error.strerror})") from None
    return file


def _long_enough(file: Path) -> Path:
    if len(file.read_text().strip()) < 32:
        raise ValueError("a file with at least 32 characters")
    return file


Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_split)]
"""Networks with commas between, e.g. `10.0.0.0/8,::1`."""
Origins = Annotated[tuple[Annotated[str, AfterValidator(_origin)], ...], NoDecode, BeforeValidator(_split)]
"""Origins (RFC 6454) with commas between, or `*`."""
DatabaseUrl = Annotated[SecretStr, AfterValidator(_database_url)]
BrokerUrl = Annotated[SecretStr, AfterValidator(_broker_url)]
HttpUrl = Annotated[str, AfterValidator(http_url)]
ReadableFile = Annotated[Path, AfterValidator(_readable)]
SecretFile = Annotated[ReadableFile, AfterValidator(_long_enough)]
DeliverySecretFile = Annotated[
    SecretFile | None,
    Field(
        description="a file with the secret that encrypts destinations' credentials; the same for gateway and sweeper"
    ),
]
PrivateWebhooks = Annotated[
    Networks,
    Field(
        description="comma-separated networks that webhooks may be in though they are private; the same for gateway and sweeper"
    ),
]
Port = Annotated[int, Field(ge=1, le=65535)]
LogLevel = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_upper)]


class Settings(BaseSettings):
    """What all services need to know."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True)

    database_url: DatabaseUrl = Field(description="postgresql+psycopg://user:password@host:port/database")
    database_pooled: bool = Field(
        default=False, description="whether a pooler in transaction mode (PgBouncer) stands before Postgres"
    )
    redis_url: BrokerUrl = Field(
        default=SecretStr("redis://127.0.0.1:6379/0"), description="redis://:password@host:port/0"
    )
    blobs: str = Field(default=".thorax/blobs", description="a folder, or s3://bucket/prefix")
    models: Path = Field(default=Path("models"), description="the folder that holds model bundles")
    log_format: Literal["console", "json"] = "json"
    log_level: LogLevel = "INFO"
    metrics_host: str = "127.0.0.1"
    metrics_port: int = Field(
        default=0, ge=0, le=65535, description="where Prometheus finds this process; 0: nowhere"
    )

    def __init__(self, **values: object) -> None:
        folder = os.environ.get(SECRETS_DIR)
        super().__init__(_secrets_dir=folder or None, **values)  # type: ignore[arg-type]


def load(settings: type[S]) -> S:
    """A process's settings. With mistakes in them the process ends, with one line for each, which never holds a value."""
    secrets = _secrets()
    mistakes = list(_unknown([*os.environ, *secrets]))
    try:
        found = settings()
    except ValidationError as error:
        mistakes = [*_wrong(settings, error), *mistakes]
    if mistakes:
        sys.exit("\n".join(mistakes))
    return found


def _secrets() -> list[str]:
    """The names of the files in the secrets folder that are settings; all of them can be read."""
    folder = os.environ.get(SECRETS_DIR)
    try:
        files = [f for f in Path(folder).iterdir() if f.name.upper().startswith(PREFIX)] if folder else []
        for file in files:
            file.read_bytes()
    except OSError as error:
        name = (
            f"The file {Path(error.filename).name} in {SECRETS_DIR}"
            if error.filename != folder
            else SECRETS_DIR
        )
        sys.exit(f"{name} cannot be read: {error.strerror}.")
    return [file.name for file in files]


def _unknown(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        known = name.upper() in VARIABLES or not name.upper().startswith(PREFIX)
        if not known and not _service_link(name):
            nearest = get_close_matches(name.upper(), VARIABLES, 1)
            yield f"{name} is not a setting." + (f" Did you mean {nearest[0]}?" if nearest else "")


def _service_link(name: str) -> bool:
    """Kubernetes describes each Service to every pod, e.g. by THORAX_X_SERVICE_HOST and THORAX_X_PORT_80_TCP."""
    return any(
        f"{name[:place]}_SERVICE_HOST" in os.environ
        for place in range(len(name) + 1)
        if name[place:].startswith(("_SERVICE_", "_PORT"))
    )


def _wrong(settings: type[BaseSettings], error: ValidationError) -> Iterator[str]:
    places = set()
    for one in error.errors(include_url=False, include_context=False, include_input=False):
        place = str(one["loc"][0])
        if place not in places:  # of the errors of one setting, e.g. of a list's items, the first
            places.add(place)
            yield _sentence(settings, place, one["type"], one["msg"])


def _sentence(settings: type[BaseSettings], place: str, kind: str, message: str) -> str:
    names = {alias: field for field in settings.model_fields for alias in variables(settings, field)}
    field = place if place in settings.model_fields else names[place.upper()]
    typed = [name for name in os.environ if names.get(name.upper()) == field]
    variable = (typed or variables(settings, field))[0]
    description = settings.model_fields[field].description
    if kind == "missing":
        return f"{variable} is missing. Expected: {description}."
    expected = message.removeprefix("Value error, ").removeprefix("Input should be ").partition(", unable")[0]
    if expected.startswith("Input"):  # of one of several types
        expected, description = description or "another value", None
    return f"{variable} is not valid. Expected: {expected}" + (f" ({description})." if description else ".")


def variables(settings: type[BaseSettings], field: str) -> list[str]:
    """The environment variables that a setting is read from, the usual one first."""
    alias = settings.model_fields[field].validation_alias
    if isinstance(alias, AliasChoices):
        return [str(choice) for choice in alias.choices]
    return [alias if isinstance(alias, str) else f"{PREFIX}{field.upper()}"]

"""Settings of the DIMSE process, and the application entities that it answers for."""

import ssl
import tomllib
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from gateway.config import SHORTEST_QUIET_S, GatewaySettings
from gateway.dimse.contexts import DOCUMENTS, RADIOGRAPHS
from gateway.dimse.tls import server_context
from gateway.studies.filing import Route
from thorax.settings import Port
from thorax.states import Priority

ANY_PEER = "*"


class DimseSettings(GatewaySettings):
    """Limits of the DIMSE process. Database, blobs and quotas are the gateway's."""

    dicom_host: str = "127.0.0.1"
    dicom_port: Port = 11112
    dicom_aes: Path = Field(description="TOML file of the called AE titles")
    dicom_spool: Path | None = Field(
        default=None,
        description="folder of data sets while they are received, emptied at the start; best on the disk of the blobs",
    )
    dicom_associations: int = Field(default=20, description="at once")
    dicom_pdu_bytes: int = Field(default=131_072, description="the largest PDU that is received")
    dicom_idle_s: float = Field(default=30, description="an association without traffic is aborted")
    heartbeat_file: Path | None = Field(
        default=None, description="touched while associations are accepted, for liveness probes"
    )
    dicom_tls_certificate: Path | None = None
    dicom_tls_key: Path | None = None
    dicom_tls_clients: Path | None = Field(default=None, description="CA of the client certificates required")

    def tls(self) -> ssl.SSLContext | None:
        """The TLS context, with client certificates if their CA is given; None without a certificate."""
        if self.dicom_tls_certificate is None:
            return None
        return server_context(self.dicom_tls_certificate, self.dicom_tls_key, self.dicom_tls_clients)


class CalledAE(BaseModel):
    """One of our application entities: whose studies it takes, from whom, and how they are analysed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tenant: UUID
    priority: Priority = Priority.ROUTINE
    bundle: str | None = Field(
        default=None, description="digest of a model bundle, instead of the tenant's own"
    )
    quiet_s: float = Field(default=10, ge=SHORTEST_QUIET_S)
    latest_s: float = Field(default=120, ge=SHORTEST_QUIET_S)
    documents: bool = Field(default=False, description="structured reports, presentation states and PDF, too")
    peers: Mapping[str, tuple[IPv4Network | IPv6Network, ...]] = Field(
        description="networks by calling AE title; `*` stands for any title"
    )

    @property
    def sop_classes(self) -> tuple[str, ...]:
        """The storage classes that it takes."""
        return RADIOGRAPHS + DOCUMENTS if self.documents else RADIOGRAPHS

    def allows(self, calling: str, address: str) -> bool:
        """Whether a peer may associate under this title from this address."""
        networks = (*self.peers.get(calling, ()), *self.peers.get(ANY_PEER, ()))
        return any(ip_address(address) in network for network in networks)

    def route(self, calling: str) -> Route:
        """Where the images of a peer are filed."""
        return Route(
            self.tenant,
            f"dicom:{calling}",
            f"C-STORE from {calling}",
            self.priority,
            self.bundle,
            self.quiet_s,
            self.latest_s,
        )


def read_aes(path: Path) -> dict[str, CalledAE]:
    """The application entities by their AE title. Raises ValueError for a file that is not valid."""
    return TypeAdapter(dict[str, CalledAE]).validate_python(tomllib.loads(path.read_text("utf-8")))

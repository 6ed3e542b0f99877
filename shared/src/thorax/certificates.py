"""Until when the certificates hold that a process shows to its peers or trusts, and that of the public door, as a metric."""

import ssl
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from time import monotonic
from urllib.parse import urlsplit

from cryptography.x509 import load_pem_x509_certificates
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

_AGAIN_S, _ANSWER_S = 600, 3.0  # a scrape has ten seconds


class Certificates(Collector):
    """Asks at each scrape until when which certificates hold; their names are those of the operator's files."""

    def __init__(self, read: Callable[[], Mapping[str, float]]) -> None:
        self._read = read

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """One gauge."""
        told = "When a certificate ends (Unix time); 0: it cannot be read"
        family = GaugeMetricFamily("thorax_certificate_until_seconds", told, None, ["certificate"])
        for name, until in self._read().items():
            family.add_metric([name], until)
        yield family


def of_folder(folder: Path) -> Mapping[str, float]:
    """Until when the certificates of a folder hold, by the files' names."""
    return {file.name: valid_until(file) for file in sorted(folder.glob("*.pem"))}


class OfDoor:
    """Until when the certificate holds that whoever connects to an https address is shown, whoever has issued it; asked every ten minutes."""

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        self._name, self._address = place.netloc, (place.hostname or "", place.port or 443)
        self._until, self._asked = 0.0, -float("inf")

    def __call__(self) -> Mapping[str, float]:
        if monotonic() > self._asked + _AGAIN_S:
            self._until, self._asked = self._ask(), monotonic()
        return {self._name: self._until}

    def _ask(self) -> float:
        try:
            return _first_end(ssl.get_server_certificate(self._address, timeout=_ANSWER_S).encode())
        except (OSError, ValueError):
            return 0.0


def valid_until(file: Path) -> float:
    """When the first of a PEM file's certificates ends (Unix time); 0 if none can be read."""
    try:
        return _first_end(file.read_bytes())
    except (OSError, ValueError):
        return 0.0


def _first_end(pem: bytes) -> float:
    return min(each.not_valid_after_utc.timestamp() for each in load_pem_x509_certificates(pem))

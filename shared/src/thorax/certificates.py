"""Until when the certificates hold that a process shows to its peers or trusts, as a metric."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from cryptography.x509 import load_pem_x509_certificates
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector


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


def valid_until(file: Path) -> float:
    """When the first of a PEM file's certificates ends (Unix time); 0 if none can be read."""
    try:
        found = load_pem_x509_certificates(file.read_bytes())
    except (OSError, ValueError):
        return 0.0
    return min(each.not_valid_after_utc.timestamp() for each in found)

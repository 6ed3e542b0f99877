"""The Storage SCU over TLS: a peer of the right authority, and those that must not have a result."""

import shutil
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind as Find  # type: ignore[attr-defined]
from tests.factories.certificates import Authority
from tests.unit.aggregator.test_cstore import CLASSES, ITEMS, Peer, serve

from aggregator.delivery import cstore
from aggregator.delivery.errors import NotDeliveredError
from thorax.errors import Code


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> tuple[Authority, Authority]:
    folder = tmp_path_factory.mktemp("authorities")
    return Authority(folder, "hospital"), Authority(folder, "elsewhere")


@pytest.fixture
def folder(authorities: tuple[Authority, Authority], tmp_path: Path) -> Path:
    """What an operator has written: our certificate for the hospital's peers, and none for others."""
    hospital, elsewhere = authorities
    own = hospital.issue("thorax")
    shutil.copy(hospital.certificate, tmp_path / "hospital.ca.pem")
    shutil.copy(own.certificate, tmp_path / "hospital.pem")
    shutil.copy(own.key, tmp_path / "hospital.key")
    shutil.copy(hospital.certificate, tmp_path / "anonymous.ca.pem")
    shutil.copy(elsewhere.certificate, tmp_path / "wrong.ca.pem")
    (tmp_path / "broken.ca.pem").write_text("no certificate")
    return tmp_path


Start = Callable[[ssl.TLSVersion], Peer]


@pytest.fixture
def start(authorities: tuple[Authority, Authority]) -> Iterator[Start]:
    """A peer that asks for a certificate of the hospital's."""
    servers = []
    issued = authorities[0].issue("pacs")

    def new(version: ssl.TLSVersion) -> Peer:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authorities[0].certificate))
        context.load_cert_chain(issued.certificate, issued.key)
        context.verify_mode, context.maximum_version = ssl.CERT_REQUIRED, version
        servers.append(serve(peer := Peer(), [*CLASSES, Find], tls=context))
        return peer

    yield new
    for server in servers:
        server.shutdown()


def deliver(port: int, query: str, folder: Path | None) -> str | NotDeliveredError:
    try:
        return cstore.deliver(f"dicom://127.0.0.1:{port}/PEER{query}", None, ITEMS, tls_folder=folder)
    except NotDeliveredError as error:
        return error


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_stored_and_found_over_tls_with_our_certificate(
    start: Start, folder: Path, version: ssl.TLSVersion
) -> None:
    peer = start(version)
    assert deliver(peer.port, "?tls=hospital", folder) == cstore.FOUND and len(peer.kept) == len(ITEMS)


@pytest.mark.parametrize(
    ("name", "code", "says"),
    [
        ("wrong", Code.DESTINATION_UNTRUSTED, "certificate is not trusted"),
        ("anonymous", Code.DESTINATION_UNTRUSTED, "ALERT"),
        ("broken", Code.DESTINATION_UNTRUSTED, "can't be used"),
        ("missing", Code.DESTINATION_UNTRUSTED, "can't be used"),
    ],
)
def test_without_trust_nothing_is_sent_and_it_is_not_tried_again(
    start: Start, folder: Path, name: str, code: Code, says: str
) -> None:
    peer = start(ssl.TLSVersion.TLSv1_2)
    error = deliver(peer.port, f"?tls={name}", folder)
    assert isinstance(error, NotDeliveredError)
    assert (error.code, error.may_pass) == (code, False) and says in error.detail, error.detail
    assert not peer.kept


def test_a_peer_without_tls_gets_nothing(folder: Path) -> None:
    server = serve(peer := Peer(), CLASSES)
    error = deliver(peer.port, "?tls=hospital", folder)
    assert isinstance(error, NotDeliveredError) and not peer.kept
    server.shutdown()


def test_tls_needs_the_operators_folder(start: Start) -> None:
    error = deliver(start(ssl.TLSVersion.TLSv1_3).port, "?tls=hospital", None)
    assert isinstance(error, NotDeliveredError) and (error.code, error.may_pass) == (Code.FEATURE_OFF, False)


def test_a_peer_that_is_away_is_tried_again(folder: Path) -> None:
    error = deliver(9, "?tls=hospital", folder)
    assert isinstance(error, NotDeliveredError) and error.may_pass

"""The Storage SCU against peers on loopback that store, refuse, end the association, and answer C-FIND or don't."""

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    ComprehensiveSRStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
)
from pynetdicom import AE, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind as Find  # type: ignore[attr-defined]

from aggregator.delivery import cstore
from aggregator.delivery.errors import NotDeliveredError
from aggregator.delivery.items import Item
from thorax.errors import Code


def item(number: int, sop_class: str, size: int = 100) -> Item:
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = sop_class
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = f"1.3.{number}"
    made.StudyInstanceUID, made.SeriesInstanceUID, made.PatientComments = "1.1", "1.2", "x" * size
    buffer = BytesIO()
    made.save_as(buffer, enforce_file_format=True)
    return Item("1.1", "1.2", f"1.3.{number}", sop_class, buffer.getvalue())


CLASSES = [ComprehensiveSRStorage, SecondaryCaptureImageStorage]
ITEMS = [item(n, sop_class) for n, sop_class in enumerate(CLASSES, 1)]


class Peer:
    """A Storage SCP: `status` by SOP Instance UID, `kept` what it has; `finds` None: it ends the association at C-FIND."""

    def __init__(self) -> None:
        self.status: dict[str, int] = {}
        self.kept: dict[str, Dataset] = {}
        self.finds: int | None = 0x0000
        self.lists = True
        self.late = 0  # how many questions it answers without what it has stored
        self.port = 0

    def store(self, event: Any) -> int:
        sop = str(event.request.AffectedSOPInstanceUID)
        status = self.status.get(sop, 0x0000)
        if status in (0x0000, 0xB000):
            self.kept[sop] = event.dataset
        return status

    def find(self, event: Any) -> Iterator[Any]:
        late, self.late = self.late, max(0, self.late - 1)
        if self.lists and not late and event.identifier.SOPInstanceUID in self.kept:
            yield 0xFF00, event.identifier
        if self.finds is None:
            event.assoc.abort()
        elif self.finds:
            yield self.finds, None


def serve(
    peer: Peer, contexts: list[Any], syntax: str = ExplicitVRLittleEndian, tls: ssl.SSLContext | None = None
) -> Any:
    ae = AE("PEER")
    ae.require_called_aet = True
    for context in contexts:
        ae.add_supported_context(context, syntax)
    handlers = [(evt.EVT_C_STORE, peer.store), (evt.EVT_C_FIND, peer.find)]
    place = ("127.0.0.1", 0)
    server = ae.start_server(place, block=False, evt_handlers=handlers, ssl_context=tls)  # type: ignore[arg-type]
    peer.port = server.server_address[1]
    return server


@pytest.fixture
def peer() -> Iterator[Any]:
    peer = Peer()
    server = serve(peer, [*CLASSES, Find])
    yield peer
    server.shutdown()


def deliver(peer: Any, called: str = "PEER") -> str | NotDeliveredError:
    try:
        return cstore.deliver(f"dicom://127.0.0.1:{peer.port}/{called}", None, ITEMS)
    except NotDeliveredError as error:
        return error


def test_stored_and_found_says_so(peer: Any) -> None:
    assert deliver(peer) == cstore.FOUND
    assert sorted(peer.kept) == ["1.3.1", "1.3.2"] and peer.kept["1.3.1"].PatientComments == "x" * 100


def test_a_peer_that_lists_a_moment_later_is_asked_again(peer: Any) -> None:
    peer.late = 1
    assert deliver(peer) == cstore.FOUND


@pytest.mark.parametrize(("contexts", "finds"), [([], 0xC000), ([Find], 0xC000), ([Find], None)])
def test_without_c_find_the_proof_is_the_status(contexts: list[Any], finds: int | None) -> None:
    peer: Any = Peer()
    peer.finds, peer.lists = finds, False
    server = serve(peer, [*CLASSES, *contexts], ImplicitVRLittleEndian)
    assert deliver(peer) == cstore.STORED and len(peer.kept) == 2
    server.shutdown()


def test_a_status_alone_is_no_proof_where_c_find_says_otherwise(peer: Any) -> None:
    peer.lists = False
    error = deliver(peer)
    assert isinstance(error, NotDeliveredError) and error.may_pass and error.code == Code.DESTINATION_AWAY


@pytest.mark.parametrize(
    ("status", "may_pass"),
    [
        (0xA700, True),
        (0xA7FF, True),
        (0x0122, False),
        (0xA900, False),
        (0xC000, False),
        (0x0110, False),
        (0x0124, False),
    ],
)
def test_no_room_is_tried_again_and_no_refusal_is(peer: Any, status: int, may_pass: bool) -> None:
    peer.status["1.3.1"] = status
    error = deliver(peer)
    assert (
        isinstance(error, NotDeliveredError)
        and error.may_pass is may_pass
        and f"{status:04X}" in error.detail
    )
    assert list(peer.kept) == ["1.3.2"]  # the other object was sent all the same


def test_a_warning_is_stored(peer: Any) -> None:
    peer.status["1.3.1"] = 0xB000
    assert deliver(peer) == cstore.FOUND


def test_a_peer_that_does_not_take_a_class_gets_the_others() -> None:
    peer: Any = Peer()
    server = serve(peer, [SecondaryCaptureImageStorage])
    error = deliver(peer)
    assert isinstance(error, NotDeliveredError) and not error.may_pass and "Comprehensive SR" in error.detail
    assert list(peer.kept) == ["1.3.2"]
    server.shutdown()


def test_a_wrong_ae_title_is_not_tried_again(peer: Any) -> None:
    error = deliver(peer, "OTHER")
    assert isinstance(error, NotDeliveredError)
    assert (error.code, error.may_pass) == (Code.DESTINATION_REFUSES, False) and "AE title" in error.detail


def test_a_rejection_is_read_also_after_the_peer_has_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Orthanc rejects; pynetdicom 3.0.4 says of a rejection at which it looks late that nothing was reached."""
    rejection = bytes.fromhex(
        "03 00 00000004 00 01 01 07"
    )  # A-ASSOCIATE-RJ: permanent, called AE title (PS3.8, 9.3.4)
    associate = AE.associate

    def late(*where: Any, evt_handlers: list[Any], **how: Any) -> Any:
        return associate(
            *where, evt_handlers=[*evt_handlers, (evt.EVT_REQUESTED, lambda _: time.sleep(0.3))], **how
        )

    monkeypatch.setattr(AE, "associate", late)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def reject() -> None:
            connection, _ = listener.accept()
            connection.recv(65536)
            connection.sendall(rejection)
            connection.close()

        threading.Thread(target=reject, daemon=True).start()
        peer: Any = Peer()
        peer.port = listener.getsockname()[1]
        error = deliver(peer)
    assert isinstance(error, NotDeliveredError)
    assert (error.code, error.may_pass) == (Code.DESTINATION_REFUSES, False)


def test_a_peer_that_is_away_is_tried_again() -> None:
    peer: Any = Peer()
    peer.port = 9
    error = deliver(peer)
    assert isinstance(error, NotDeliveredError) and error.may_pass


class Cut:
    """Stands between, and closes both connections after `most` bytes of the sender's."""

    def __init__(self, peer: Any, most: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._run, args=(peer.port, most), daemon=True).start()

    def _run(self, port: int, most: int) -> None:
        near, _ = self._listener.accept()
        far = socket.create_connection(("127.0.0.1", port))
        threading.Thread(target=self._back, args=(far, near), daemon=True).start()
        while most > 0 and (data := near.recv(min(most, 4096))):
            far.sendall(data)
            most -= len(data)
        for end in (near, far):
            end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._listener.close()

    def _back(self, far: socket.socket, near: socket.socket) -> None:
        try:
            while data := far.recv(4096):
                near.sendall(data)
        except OSError:
            pass


@pytest.mark.parametrize("most", [1, 500, 700, 900, 1200])
def test_an_association_that_ends_at_any_byte_is_tried_again(peer: Any, most: int) -> None:
    error = deliver(Cut(peer, most))
    assert isinstance(error, NotDeliveredError) and error.may_pass, error
    assert deliver(peer) == cstore.FOUND

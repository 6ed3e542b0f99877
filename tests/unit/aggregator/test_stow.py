"""The STOW-RS client against servers on loopback that answer as real ones do when they are full, wrong, or lie."""

import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson
import pytest

from aggregator.delivery import stow
from aggregator.delivery.errors import NotDeliveredError
from aggregator.delivery.items import Item
from thorax.errors import Code

HEAD = bytes(128) + b"DICM" + b"\x02\x00\x00\x00UL\x04\x00" + (0).to_bytes(4, "little")
ITEMS = [Item("1.1", f"1.2.{n}", f"1.3.{n}", "1.4", HEAD + b"data set %d" % n) for n in range(3)]
Answer = tuple[int, Any]


class Peer:
    """A DICOMweb server: `answer` decides what a POST of these SOP Instance UIDs is told, `kept` is what it has."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.posts: list[list[str]] = []
        self.answer: Callable[[list[str]], Answer] = self.all_stored
        self.read_status = 200
        self.lags: list[Answer] = []  # what the next reads are answered before there is anything

    def all_stored(self, sops: list[str]) -> Answer:
        self.kept |= {item.sop: item.file for item in ITEMS if item.sop in sops}
        return 200, {"00081199": {"vr": "SQ", "Value": [{"00081155": {"Value": [sop]}} for sop in sops]}}

    def post(self, body: bytes) -> Answer:
        sops = [item.sop for item in ITEMS if item.file in body]
        self.posts.append(sops)
        return self.answer(sops)


@pytest.fixture
def peer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Peer]:
    monkeypatch.setattr(stow, "_LOOK_AGAIN_S", (0, 0.01))
    peer = Peer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status, body = peer.post(self.rfile.read(int(self.headers["Content-Length"])))
            self.reply(status, "application/dicom+json", orjson.dumps(body))

        def do_GET(self) -> None:
            if peer.lags:
                status, body = peer.lags.pop(0)
                return self.reply(status, "multipart/related; boundary=x", body)
            kept = peer.kept.get(self.path.rpartition("/")[2])
            if kept is None or peer.read_status != 200:
                return self.reply(404 if kept is None else peer.read_status, "text/plain", b"")
            body = b"\r\n--x\r\nContent-Type: application/dicom\r\n\r\n" + kept + b"\r\n--x--\r\n"
            return self.reply(200, "multipart/related; boundary=x", body)

        def reply(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    peer.url = f"http://127.0.0.1:{server.server_port}/dicom-web"  # type: ignore[attr-defined]
    yield peer
    server.shutdown()


def deliver(peer: Any) -> NotDeliveredError | None:
    try:
        assert stow.deliver(peer.url, "Bearer x", ITEMS) == stow.PROOF
    except NotDeliveredError as error:
        return error
    return None


def test_what_is_stored_and_comes_back_is_delivered_in_one_request(peer: Peer) -> None:
    assert deliver(peer) is None and len(peer.posts) == 1


def test_other_file_meta_information_is_not_another_content(peer: Peer) -> None:
    def own_meta(sops: list[str]) -> Answer:
        answer = peer.all_stored(sops)
        longer = HEAD[:-4] + (6).to_bytes(4, "little") + b"theirs"
        peer.kept = {sop: file.replace(HEAD, longer) for sop, file in peer.kept.items()}
        return answer

    peer.answer = own_meta
    assert deliver(peer) is None


def test_an_object_that_no_sequence_names_is_sent_again_alone(peer: Peer) -> None:
    """As Orthanc 1.10 does: 400, the good part stored and named, the other in neither sequence."""

    def forgets(sops: list[str]) -> Answer:
        status, body = peer.all_stored([sop for sop in sops if len(sops) == 1 or sop != "1.3.1"])
        return (400 if len(sops) > 1 else status), body

    peer.answer = forgets
    assert deliver(peer) is None
    assert peer.posts == [["1.3.0", "1.3.1", "1.3.2"], ["1.3.1"]]


def test_success_without_the_bytes_is_not_delivered(peer: Peer) -> None:
    def keeps_others(sops: list[str]) -> Answer:
        answer = peer.all_stored(sops)
        peer.kept["1.3.2"] = HEAD + b"what came first"
        return answer

    peer.answer = keeps_others
    error = deliver(peer)
    assert error and (error.code, error.may_pass) == (Code.INSTANCE_CONFLICT, False)


def failure(reason: int, sop: str = "1.3.0") -> dict[str, Any]:
    return {"00081198": {"Value": [{"00081155": {"Value": [sop]}, "00081197": {"Value": [reason]}}]}}


@pytest.mark.parametrize("lag", [(404, b""), (204, b""), (200, b""), (200, b"\r\n--x--\r\n")])
def test_a_peer_whose_index_lags_is_looked_at_again(peer: Peer, lag: tuple[int, bytes]) -> None:
    peer.lags = [lag]
    assert deliver(peer) is None
    assert len(peer.posts) == 1


def test_what_is_refused_and_is_there_is_delivered(peer: Peer) -> None:
    """As of a peer that takes no object twice, after an attempt that did not find it yet."""
    peer.all_stored([item.sop for item in ITEMS])
    peer.answer = lambda sops: (409, failure(0x0111, sops[0]) if len(sops) == 1 else {})
    assert deliver(peer) is None


@pytest.mark.parametrize(("reason", "may_pass"), [(0x0111, True), (45070, True), (0x0110, False)])
def test_a_duplicate_that_can_not_be_read_yet_is_tried_again(peer: Peer, reason: int, may_pass: bool) -> None:
    peer.answer = lambda sops: (409, failure(reason, sops[0]))
    error = deliver(peer)
    assert error and error.may_pass is may_pass


def test_a_duplicate_of_other_content_is_a_conflict(peer: Peer) -> None:
    peer.all_stored([item.sop for item in ITEMS])
    peer.kept["1.3.0"] = HEAD + b"what came first"
    peer.answer = lambda sops: (409, failure(0x0111, sops[0]))
    error = deliver(peer)
    assert error and (error.code, error.may_pass) == (Code.INSTANCE_CONFLICT, False)


@pytest.mark.parametrize(
    ("answer", "may_pass"),
    [
        ((503, {}), True),
        ((429, {}), True),
        ((401, {}), False),
        ((409, failure(0xA700)), True),
        ((409, failure(0x0122)), False),
        ((202, failure(0x0110)), False),
        ((409, {}), False),
        ((400, []), False),
        ((400, "not a data set"), False),
        ((302, {}), False),
        ((200, {}), True),  # success is claimed, and nothing can be retrieved (yet)
    ],
)
def test_what_may_pass_is_tried_again_and_what_will_not_is_not(
    peer: Peer, answer: Answer, may_pass: bool
) -> None:
    peer.answer = lambda _sops: answer
    error = deliver(peer)
    assert error and error.may_pass is may_pass, error


def test_a_peer_that_is_away_is_tried_again_and_its_address_is_not_told(peer: Any) -> None:
    peer.url = "http://127.0.0.1:9/dicom-web"
    error = deliver(peer)
    assert error and (error.code, error.may_pass) == (Code.DESTINATION_AWAY, True)
    assert not re.search(r"127\.0|Bearer", error.detail)


@pytest.mark.parametrize(("status", "may_pass"), [(503, True), (403, False), (501, False)])
def test_what_cannot_be_read_back_is_not_delivered(peer: Peer, status: int, may_pass: bool) -> None:
    peer.read_status = status
    error = deliver(peer)
    assert error and error.may_pass is may_pass

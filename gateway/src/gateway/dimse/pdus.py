"""Reading PDUs (PS3.8, 9.3) in the place of pynetdicom 3.0.4: bounded, without polling, a data set straight to its file.

pynetdicom would keep whatever length a PDU claims in memory, copy each seven times, and let two threads of each
association look for news a thousand times a second.
"""

import select
import time
from threading import Event
from typing import Any

import structlog

REQUEST_BYTES = 256 * 1024
"""An A-ASSOCIATE-RQ is not bound by the negotiated maximum; 128 presentation contexts take far less."""
_P_DATA_TF = 4
_TRANSFER = "Sta6"  # data transfer, a state of PS3.8, 9.2; an abort and a lost connection are events there
_ABORT, _LOST = "Evt19", "Evt17"
_STEP_S, _LOOK_S = 0.001, 0.1  # how long is waited before and after data transfer, and within it at most
_log = structlog.get_logger(__name__)


class PeerReader:
    """Reads what the peer of one association sends. `idle_s`: the longest silence within a PDU."""

    def __init__(self, association: Any, idle_s: float) -> None:
        self._dul, self._dimse, self._transport = association.dul, association.dimse, association.dul.socket
        self._socket = self._transport.socket
        self._socket.settimeout(idle_s)
        self._limit = max(association.acceptor.maximum_length, REQUEST_BYTES)
        self._buffer, self._read_already, self._answer_due = bytearray(), b"", False
        self._news = association._reactor_checkpoint = _News()
        self._arrived, self._receive = self._dul._is_transport_event, self._dimse.receive_primitive
        self._send, self._transport.send = self._transport.send, self._answer
        self._transport.recv, self._dul._is_transport_event = self._recv, self._read_next
        self._dimse.receive_primitive, self._dul._run_loop_delay = self._take, 0

    def _read_next(self) -> bool:
        """Whether a PDU came; waits for one if nothing is to be done."""
        file = getattr(self._dimse.message, "_data_set_file", None)
        if file is None:
            self._news.set()
        if self._dul.state_machine.current_state != _TRANSFER:
            came: bool = self._arrived()
            time.sleep(0 if came else _STEP_S)
            return came
        try:
            if not self._transport.ready:
                self._wait()
                return False
            if file is None or not self._written(file):
                self._dul._read_pdu_data()
        except (OSError, ValueError):  # ValueError: another thread has closed it, and may have told
            if self._dul.event_queue.empty():
                self._dul.event_queue.put(_LOST)
        except Exception as error:
            self._abort(error)
        return True

    def _wait(self) -> None:
        """Wait for an answer to send, or else for the peer."""
        answers = self._dul.to_provider_queue
        if not self._answer_due:
            select.select([self._socket], [], [], _LOOK_S)
            return
        with answers.not_empty:
            if not answers.queue:
                answers.not_empty.wait(_LOOK_S)

    def _answer(self, pdu: bytes) -> None:
        self._answer_due = False
        self._send(pdu)

    def _written(self, file: Any) -> bool:
        """Write the next PDU to a data set's file if it is of its middle; else leave it to be read again."""
        head = self._recv(6)
        length = int.from_bytes(head[2:])
        if head[:1] != bytes([_P_DATA_TF]) or length > self._limit:
            self._read_already = bytes(head)
            return False
        if len(self._buffer) < length:
            self._buffer = bytearray(length)
        with memoryview(self._buffer)[:length] as body:
            got = self._fill(body)
            fragments = _of_the_middle(body) if got == length else None
            if fragments is None:
                self._read_already = bytes(head) + bytes(body[:got])
                return False
            for fragment in fragments:
                file.write(body[fragment])
        return True

    def _take(self, primitive: Any) -> None:
        """Take a primitive. pynetdicom would end the thread at one that can't be decoded, and keep connection and file."""
        try:
            self._receive(primitive)
            self._answer_due = self._dimse.message is None
        except Exception as error:
            self._abort(error)

    def _abort(self, error: Exception) -> None:
        _log.warning("association_aborted", error=type(error).__name__)
        self._dul.event_queue.put(_ABORT)

    def _recv(self, size: int) -> bytearray:
        """Exactly `size` bytes, fewer if the peer has closed. ConnectionError if it announces more than is allowed."""
        if size > self._limit:
            raise ConnectionError("The PDU is too long.")
        kept, self._read_already = self._read_already[:size], self._read_already[size:]
        buffer = bytearray(kept.ljust(size, b"\0"))
        with memoryview(buffer)[len(kept) :] as missing:
            got = len(kept) + self._fill(missing)
        del buffer[got:]
        return buffer

    def _fill(self, view: memoryview) -> int:
        """Read until `view` is full or the peer has closed; how many bytes came."""
        got = 0
        while got < len(view) and (count := self._socket.recv_into(view[got:])):
            got += count
        return got


class _News(Event):
    """What pynetdicom's thread of an association waits at before it looks for messages and at timers."""

    def wait(self, timeout: float | None = None) -> bool:
        came = super().wait(timeout or _LOOK_S)
        self.clear()
        return came


def _of_the_middle(body: memoryview) -> list[slice] | None:
    """Where the fragments lie if all items of a P-DATA-TF are of a data set, none its last (PS3.8, 9.3.5.1 and E.2)."""
    fragments, at = [], 0
    while at < len(body):
        end = at + 4 + int.from_bytes(body[at : at + 4])
        if not at + 6 <= end <= len(body) or body[at + 5] & 3:
            return None
        fragments.append(slice(at + 6, end))
        at = end
    return fragments

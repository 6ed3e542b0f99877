"""Reading PDUs (PS3.8, 9.3), as pynetdicom's `AssociationSocket.recv` does, but never more than a PDU may have."""

import socket
from collections.abc import Callable

REQUEST_BYTES = 256 * 1024
"""An A-ASSOCIATE-RQ is not bound by the negotiated maximum; 128 presentation contexts take far less."""


def bounded(peer: socket.socket, most: int) -> Callable[[int], bytearray]:
    """`recv(size)`: exactly `size` bytes of a peer, fewer if it has closed.

    ConnectionError if it announces more than `most` or `REQUEST_BYTES`: pynetdicom 3.0.4 would keep whatever length a
    PDU claims in memory, and read it 4 kB at a time. A peer that sends nothing for the socket's time-out raises, too.
    """
    limit = max(most, REQUEST_BYTES)

    def recv(size: int) -> bytearray:
        if size > limit:
            raise ConnectionError("The PDU is too long.")
        buffer, got = bytearray(size), 0
        with memoryview(buffer) as view:
            while got < size and (count := peer.recv_into(view[got:])):
                got += count
        del buffer[got:]
        return buffer

    return recv

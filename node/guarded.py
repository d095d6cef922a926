"""The listening socket, guarded: against strangers, silence, slowness, and lengths that lie.

pynetdicom itself reads a PDU of any length (4 GB) before it looks at who sends it, and waits for
the rest of one without end. It shakes TLS hands with one connection at a time, and waits there,
too. These are held here, on the connection, before its state machine sees a byte.
"""

from __future__ import annotations

import ssl
import time
from collections import deque
from collections.abc import Callable
from socketserver import BaseServer
from typing import Any

from pynetdicom.events import Event
from pynetdicom.transport import ThreadedAssociationServer

from .tls import tls_reason

# Of everything but P-DATA: an A-ASSOCIATE-RQ of 128 contexts with many syntaxes has some 100 kB.
_MOST_OTHER_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 16
# Connections beyond the associations' limit that are told so by DICOM; more are just closed.
_TOLD = 8
_MINUTE_S = 60.0
_ROOM_BYTES = 1 << 18


class GuardedServer(ThreadedAssociationServer):
    """A server that closes connections of strangers at once; set up by :meth:`guard`."""

    _knows: Callable[[str], bool] = staticmethod(lambda address: False)
    _most_connections = 0

    def guard(self, knows: Callable[[str], bool], most_associations: int) -> None:
        """Begin to let anybody in.

        Args:
            knows: whether a connection from an address is taken; asked for each one.
            most_associations: at a time.
        """
        self._knows = knows
        self._most_connections = most_associations + _TOLD

    def end(self) -> None:
        """Take no more connections; those that are there go on."""
        BaseServer.shutdown(self)
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """socketserver's, which would write a traceback among the log's lines."""

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """socketserver's question whether to go on with a connection."""
        if len(self.active_associations) >= self._most_connections:
            return False
        return self._knows(str(client_address[0]))


class Rate:
    """How many connections an address may open in a minute; 0: any number."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._opened: dict[str, deque[float]] = {}
        self._pruned = time.monotonic()

    def takes(self, address: str) -> bool:
        """Count one more, if it may come."""
        if not self._most:
            return True
        now = time.monotonic()
        if now - self._pruned > _MINUTE_S:
            self._pruned = now
            recent = {a: o for a, o in self._opened.items() if o and now - o[-1] < _MINUTE_S}
            self._opened = recent
        opened = self._opened.setdefault(address, deque(maxlen=self._most))
        if len(opened) == self._most and now - opened[0] < _MINUTE_S:
            return False
        opened.append(now)
        return True


def guard_connection(
    event: Event,
    max_pdu: int,
    timeout_s: float,
    room: Callable[[], bool],
    tls_failed: Callable[[str], None],
) -> None:
    """Bound every PDU of a connection, in length and in the time that it takes to come.

    Args:
        event: EVT_CONN_OPEN.
        max_pdu: bytes of a P-DATA-TF, as negotiated.
        timeout_s: for each PDU.
        room: whether the disk takes more, asked every now and then: a data set goes there as it
            comes, and its length is not known before its end.
        tls_failed: told why a handshake, which comes with the first bytes, has failed.
    """
    guarded: Any = event.assoc.dul.socket
    raw = guarded.socket
    raw.settimeout(timeout_s)
    most = max(max_pdu, _MOST_OTHER_BYTES) + 6

    since_asked, begun = 0, False

    def recv(count: int) -> bytearray:
        """As AssociationSocket.recv: the bytes, fewer where the connection ends."""
        nonlocal since_asked, begun
        if count > most:
            raise OSError(f"a PDU of {count} bytes")
        since_asked += count
        if since_asked > _ROOM_BYTES:
            since_asked = 0
            if not room():
                raise OSError("the disk is full")
        deadline = time.monotonic() + timeout_s
        received = bytearray()
        while len(received) < count:
            if time.monotonic() > deadline:
                raise TimeoutError("a PDU takes too long")
            try:
                chunk = raw.recv(min(_CHUNK_BYTES, count - len(received)))
            except ssl.SSLError as error:
                if not begun:
                    tls_failed(tls_reason(error) or "")
                raise
            begun = True
            if not chunk:
                break
            received += chunk
        return received

    close = guarded.close

    def close_for_good() -> None:
        """As AssociationSocket.close, which leaves the socket open where its peer has gone."""
        close()
        raw.close()

    guarded.recv, guarded.close = recv, close_for_good

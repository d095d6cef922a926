"""The listening socket, guarded: against strangers, silence, slowness, and lengths that lie.

pynetdicom itself reads a PDU of any length (4 GB) before it looks at who sends it, and waits for
the rest of one without end. It shakes TLS hands with one connection at a time, and waits there,
too. These are held here, on the connection, before its state machine sees a byte.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from typing import Any

from pynetdicom.events import Event
from pynetdicom.transport import ThreadedAssociationServer

# Of everything but P-DATA: an A-ASSOCIATE-RQ of 128 contexts with many syntaxes has some 100 kB.
_MOST_OTHER_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 16
# Connections beyond the associations' limit that are told so by DICOM; more are just closed.
_TOLD = 8


class GuardedServer(ThreadedAssociationServer):
    """A server that closes connections of strangers at once; set up by :meth:`guard`."""

    _knows: Callable[[str], bool] = staticmethod(lambda address: False)
    _most_connections = 0

    def guard(self, knows: Callable[[str], bool], most_associations: int) -> None:
        """Args: ``knows``: whether an address is anybody's; called with each connection."""
        self._knows = knows
        self._most_connections = most_associations + _TOLD

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """socketserver's question whether to go on with a connection."""
        if len(self.active_associations) >= self._most_connections:
            return False
        return self._knows(str(client_address[0]))


class LateHandshake(ssl.SSLContext):
    """A TLS context whose server side shakes hands in the connection's own thread."""

    def wrap_socket(self, sock: Any, server_side: bool = False, **more: Any) -> ssl.SSLSocket:  # type: ignore[override]
        """As ssl's, but that reading the first byte does the handshake, within its timeout."""
        if server_side:
            more["do_handshake_on_connect"] = False
        return super().wrap_socket(sock, server_side=server_side, **more)


def guard_connection(event: Event, max_pdu: int, timeout_s: float) -> None:
    """Bound every PDU of a connection, in length and in the time that it takes to come."""
    guarded: Any = event.assoc.dul.socket
    raw = guarded.socket
    raw.settimeout(timeout_s)
    most = max(max_pdu, _MOST_OTHER_BYTES) + 6

    def recv(count: int) -> bytearray:
        """As AssociationSocket.recv: the bytes, fewer where the connection ends."""
        if count > most:
            raise OSError(f"a PDU of {count} bytes")
        deadline = time.monotonic() + timeout_s
        received = bytearray()
        while len(received) < count:
            if time.monotonic() > deadline:
                raise TimeoutError("a PDU takes too long")
            chunk = raw.recv(min(_CHUNK_BYTES, count - len(received)))
            if not chunk:
                break
            received += chunk
        return received

    guarded.recv = recv

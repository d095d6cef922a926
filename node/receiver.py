"""The C-STORE SCP: associations, who may have one, and what is done with an instance."""

from __future__ import annotations

import logging
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from pynetdicom import AE, _config, evt
from pynetdicom.events import Event
from pynetdicom.pdu_primitives import A_ASSOCIATE

from .box import DicomFile, HeaderError
from .commitment import Commitment
from .contexts import accepted_contexts
from .guarded import GuardedServer, Rate, guard_connection
from .log import Log
from .metrics import Metrics
from .peers import Peers, parse_address
from .receiving import FullError, Receiving
from .settings import Settings
from .spool import Spool, is_uid
from .tls import server_context

# Statuses of C-STORE (PS3.4, B.2.3).
SUCCESS, OUT_OF_RESOURCES, MISMATCH, CANNOT_UNDERSTAND = 0x0000, 0xA700, 0xA900, 0xC000
# A-ASSOCIATE-RJ (PS3.8, 9.3.4): permanent, by the service user, calling AE title not recognised.
_UNKNOWN_CALLER = (0x01, 0x01, 0x03)
_STUDY, _SOP_INSTANCE, _SOP_CLASS = 0x0020000D, 0x00080018, 0x00080016
# To answer what is in flight when the node is asked to leave.
_ANSWER_S = 3.0


class Receiver:
    """Listens for associations and brings instances into the spool.

    Args:
        settings, spool, receiving: see there.
        log, metrics: told of everything.
    """

    def __init__(
        self, settings: Settings, spool: Spool, receiving: Receiving, log: Log, metrics: Metrics
    ) -> None:
        self._settings, self._spool, self._receiving = settings, spool, receiving
        self._log, self._metrics = log, metrics
        self._peers = Peers(settings.allowed, log)
        self._rate = Rate(settings.associations.max_per_minute)
        self._commitment = Commitment(settings, spool, log)
        self._answering, self._leaving = 0, False
        self._turn = threading.Condition()
        self._server: GuardedServer | None = None
        self._listener: threading.Thread | None = None
        self._globals = ExitStack()

    def start(self) -> int:
        """Listen. Returns the port. Raises OSError: the port is taken, or not this process's."""
        logging.getLogger("pynetdicom").addHandler(logging.NullHandler())
        logging.getLogger("pynetdicom").propagate = False
        # Its logs of messages, which it formats whether they are written or not; and data sets go
        # to files as they come, with the file meta information before them, byte for byte: memory
        # stays flat, whatever is sent. The files' place is Python's temporary folder.
        self._globals.enter_context(_set(_config, "LOG_HANDLER_LEVEL", "none"))
        self._globals.enter_context(_set(_config, "STORE_RECV_CHUNKED_DATASET", True))
        self._globals.enter_context(_set(tempfile, "tempdir", str(self._spool.incoming)))
        limits = self._settings.associations
        entity = AE(self._settings.aet)
        entity.maximum_pdu_size = limits.max_pdu
        entity.maximum_associations = limits.max
        entity.network_timeout = entity.dimse_timeout = limits.timeout_seconds
        entity.acse_timeout = limits.timeout_seconds
        entity.require_called_aet = True
        server = entity.make_server(
            (self._settings.bind, self._settings.port),
            evt_handlers=self._handlers(),
            ssl_context=server_context(self._settings.tls),
            server_class=GuardedServer,
            contexts=accepted_contexts(limits.commitment),
        )
        self._peers.names.start()
        self._server = cast(GuardedServer, server)
        self._server.guard(self._known, limits.max)
        self._listener = threading.Thread(
            target=self._server.serve_forever, name="listener", daemon=True
        )
        self._listener.start()
        return int(self._server.server_address[1])

    @property
    def listening(self) -> bool:
        """Whether connections are taken: an error in that thread must not leave a deaf node."""
        return self._listener is not None and self._listener.is_alive()

    def associations(self) -> int:
        """How many there are."""
        return len(self._server.active_associations) if self._server else 0

    def stop(self) -> None:
        """Take no more, answer what is in flight, and abort the rest."""
        self._peers.names.stop()
        if self._server is None:
            return
        with self._turn:
            self._leaving = True
        self._server.end()
        deadline = time.monotonic() + _ANSWER_S
        with self._turn:
            while self._answering and time.monotonic() < deadline:
                self._turn.wait(0.1)
        for association in self._server.active_associations:
            association.abort(block=False)
        self._globals.close()

    def _handlers(self) -> list[Any]:
        return [
            (evt.EVT_CONN_OPEN, self._connected),
            (evt.EVT_REQUESTED, self._requested),
            (evt.EVT_ACCEPTED, self._accepted),
            (evt.EVT_REJECTED, self._rejected),
            (evt.EVT_RELEASED, self._ended, [True]),
            (evt.EVT_ABORTED, self._ended, [False]),
            (evt.EVT_CONN_CLOSE, self._ended, [False]),
            (evt.EVT_C_ECHO, self._echo),
            (evt.EVT_C_STORE, self._store),
            *self._commitment.handlers(),
        ]

    def _known(self, address: str) -> bool:
        if not self._peers.know(address):
            reason = "address not allowed"
        elif not self._rate.takes(address):
            reason = "too many associations in a minute"
        else:
            return True
        self._log("connection_refused", "warning", address=address, reason=reason)
        self._metrics.rejected.add()
        return False

    def _connected(self, event: Event) -> None:
        limits = self._settings.associations
        room = self._receiving.room_for_more_of_one
        address = _address(event)

        def tls_failed(reason: str) -> None:
            self._log("connection_refused", "warning", address=address, reason=reason)
            self._metrics.rejected.add()

        guard_connection(event, limits.max_pdu, limits.timeout_seconds, room, tls_failed)

    def _requested(self, event: Event) -> None:
        """Refuse an AE title that comes from an address that is not its own."""
        association = event.assoc
        request: Any = association.requestor.primitive
        if not isinstance(request, A_ASSOCIATE):  # it began with something else
            association.abort(block=False)
            return
        aet = str(request.calling_ae_title).strip()
        if not self._peers.allow(aet, _address(event)):
            association.acse.send_reject(*_UNKNOWN_CALLER)
            self._say_rejected(event, "AE title not allowed from this address")
            association.kill()

    def _accepted(self, event: Event) -> None:
        refused = [str(context.abstract_syntax) for context in event.assoc.rejected_contexts]
        about: dict[str, Any] = {"refused_contexts": refused} if refused else {}
        self._log("association_accepted", **_peer(event), **about)

    def _rejected(self, event: Event) -> None:
        self._say_rejected(event, "called AE title is not this node's, or too many associations")

    def _say_rejected(self, event: Event, reason: str) -> None:
        self._metrics.rejected.add()
        self._log("association_rejected", "warning", **_peer(event), reason=reason)

    def _ended(self, event: Event, released: bool) -> None:
        self._receiving.ended(event.assoc, released)

    def _echo(self, event: Event) -> int:
        self._log("echo", **_peer(event))
        return SUCCESS

    def _store(self, event: Event) -> int:
        """One C-STORE request: what is answered with success is on the disk."""
        with self._in_flight() as wanted:
            if not wanted:
                return OUT_OF_RESOURCES
            try:
                return self._kept(event)
            except FullError as error:
                self._metrics.refused.add()
                self._log("instance_refused", "warning", **_peer(event), reason=str(error))
                return OUT_OF_RESOURCES
            except OSError as error:
                self._metrics.refused.add()
                reason = f"cannot be written ({error.strerror or type(error).__name__})"
                self._log("instance_refused", "error", **_peer(event), reason=reason)
                return OUT_OF_RESOURCES

    def _kept(self, event: Event) -> int:
        request: Any = event.request
        instance = str(request.AffectedSOPInstanceUID or "")
        sop_class = str(request.AffectedSOPClassUID or "")
        file = Path(event.dataset_path)
        study, problem = _study_of(file, instance, sop_class)
        if problem is not None:
            self._metrics.refused.add()
            self._log("instance_refused", "warning", **_peer(event), reason=problem)
            return MISMATCH if study else CANNOT_UNDERSTAND
        if self._receiving.keep(file, study, instance, event.assoc):
            about: dict[str, Any] = {"study": study, "instance": instance}
            self._log("instance_replaced", "warning", **_peer(event), **about)
        self._metrics.received.add()
        return SUCCESS

    @contextmanager
    def _in_flight(self) -> Iterator[bool]:
        with self._turn:
            wanted = not self._leaving
            self._answering += 1
        try:
            yield wanted
        finally:
            with self._turn:
                self._answering -= 1
                self._turn.notify_all()


def _study_of(file: Path, instance: str, sop_class: str) -> tuple[str, str | None]:
    """A received file's StudyInstanceUID, and what is wrong with the file."""
    try:
        header = DicomFile(file).parse(_STUDY, [_STUDY, _SOP_INSTANCE, _SOP_CLASS])
        study = str(header.get("StudyInstanceUID") or "").strip()
        inside = (
            str(header.get("SOPInstanceUID") or "").strip(),
            str(header.get("SOPClassUID") or ""),
        )
    except HeaderError:
        return "", "the data set cannot be read"
    except Exception as error:  # pydicom converts values late, and raises anything over odd ones
        return "", f"the data set cannot be read ({type(error).__name__})"
    if not is_uid(study) or not is_uid(instance):
        return "", "StudyInstanceUID or SOPInstanceUID is missing, or no UID"
    if inside != (instance, sop_class):
        return study, "SOP class or instance of the data set is not that of the request"
    return study, None


@contextmanager
def _set(module: ModuleType, name: str, value: object) -> Iterator[None]:
    """A module's setting, put back at the end."""
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)


def _address(event: Event) -> str:
    return str(parse_address(str(event.assoc.requestor.address)))


def _peer(event: Event) -> dict[str, Any]:
    request: Any = event.assoc.requestor.primitive
    aet = str(getattr(request, "calling_ae_title", "")).strip()
    return {"aet": aet, "address": _address(event)}

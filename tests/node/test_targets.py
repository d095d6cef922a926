"""Destinations that take less than is offered, DICOMweb, and storage commitment."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, RLELossless
from pynetdicom import AE, evt

from node.commitment import STORAGE_COMMITMENT
from node.peers import Destination
from node.sending import RefusedError, StoreTarget, StowTarget, UnreachableError
from node.settings import AssociationSettings, Settings, StowSettings
from tests.node.pacs import send, study
from tests.node.running import until
from tests.node.test_receiver import Listening, listen  # noqa: F401 (a fixture)

# pynetdicom's own server leaves sockets open whose peer has gone.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
LIMITS = AssociationSettings(timeout_seconds=20)


@pytest.fixture
def compressed(tmp_path: Path) -> Path:
    """A CT instance in RLE Lossless."""
    (ds, *_) = study(1)
    ds.compress(RLELossless, generate_instance_uid=False)
    ds.save_as(tmp_path / "rle.dcm")
    return tmp_path / "rle.dcm"


@contextmanager
def archive(sop_class: str, syntaxes: list[str]) -> Iterator[tuple[int, list[Dataset]]]:
    entity, came = AE("ARCHIVE"), []
    entity.add_supported_context(sop_class, syntaxes)

    def store(event: evt.Event) -> int:
        ds = event.dataset
        ds.file_meta = event.file_meta
        came.append(ds)
        return 0

    server = entity.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)]
    )
    try:
        yield server.server_address[1], came
    finally:
        server.shutdown()


def target(port: int) -> StoreTarget:
    return StoreTarget(Destination("A/B", "127.0.0.1", port), Settings(associations=LIMITS))


@pytest.mark.parametrize("syntax", [RLELossless, ExplicitVRLittleEndian])
def test_who_takes_no_rle_gets_it_uncompressed(compressed: Path, syntax: str):
    with archive(CTImageStorage, [syntax]) as (port, came):
        target(port).send([compressed])
    (ds,) = came
    assert ds.file_meta.TransferSyntaxUID == syntax
    sent = dcmread(compressed)
    assert ds.SOPInstanceUID == sent.SOPInstanceUID
    assert (ds.pixel_array == sent.pixel_array).all()


def test_a_class_that_is_not_taken_is_said(compressed: Path):
    with (
        archive("1.2.840.10008.5.1.4.1.1.7", [ExplicitVRLittleEndian]) as (port, _),
        pytest.raises((RefusedError, UnreachableError), match=r"SOP class|association"),
    ):
        target(port).send([compressed])


def test_a_title_with_a_slash_makes_one_file():
    assert target(1).mark == "sent.A%2FB"


@contextmanager
def stow(status: int, body: dict[str, object]) -> Iterator[tuple[str, list[bytes]]]:
    came: list[bytes] = []

    class Server(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            data = b""
            if self.headers.get("Transfer-Encoding") == "chunked":
                while size := int(self.rfile.readline(), 16):
                    data += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
            else:
                data = self.rfile.read(int(self.headers["Content-Length"]))
            came.append(data)
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/dicom+json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *args: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Server) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/dicom-web", came
        finally:
            server.shutdown()
            thread.join()


def test_stow(compressed: Path):
    pytest.importorskip("dicomweb_client")
    with stow(200, {}) as (url, came):
        StowTarget(StowSettings(url), 20).send([compressed])
    (body,) = came
    part = re.search(rb"\r\n\r\n(.*)\r\n--", body, re.DOTALL)
    assert part is not None
    assert dcmread(compressed).SOPInstanceUID.encode() in part[1]


FAILED = {"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [272]}}]}}


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [(202, FAILED, RefusedError), (400, {}, RefusedError), (503, {}, UnreachableError)],
)
def test_stow_that_fails(compressed: Path, status: int, body: dict[str, object], error: type):
    pytest.importorskip("dicomweb_client")
    with stow(status, body) as (url, _), pytest.raises(error):
        StowTarget(StowSettings(url), 20).send([compressed])


def test_stow_that_is_down(compressed: Path):
    pytest.importorskip("dicomweb_client")
    with pytest.raises(UnreachableError):
        StowTarget(StowSettings("http://127.0.0.1:9/x"), 20).send([compressed])


def asked(port: int, instances: list[str]) -> int:
    """The status of a request for storage commitment; -1: the class is refused."""
    entity = AE("PACS")
    entity.acse_timeout = entity.dimse_timeout = 20
    entity.add_requested_context(STORAGE_COMMITMENT)
    association = entity.associate("127.0.0.1", port, ae_title="ABDOBOX")
    if not association.accepted_contexts:
        return -1
    request = Dataset()
    request.TransactionUID = "1.2.9"
    request.ReferencedSOPSequence = []
    for uid in instances:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CTImageStorage, uid
        request.ReferencedSOPSequence.append(item)
    status, _ = association.send_n_action(request, 1, STORAGE_COMMITMENT, "1.2.840.10008.1.20.1.1")
    association.release()
    return int(status.Status)


def test_commitment_is_off_unless_it_is_switched_on(listen):  # noqa: F811
    assert asked(listen().port, ["1.2.3"]) == -1


def test_commitment_to_what_is_held_and_nothing_else(listen):  # noqa: F811
    entity, reports = AE("PACS"), []
    entity.add_supported_context(STORAGE_COMMITMENT, scu_role=True, scp_role=True)

    def report(event: evt.Event) -> tuple[int, None]:
        reports.append((event.event_type, event.event_information))
        return 0, None

    server = entity.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, report)]
    )
    try:
        one: Listening = listen(
            associations=AssociationSettings(commitment=True, timeout_seconds=20),
            send=(f"PACS@127.0.0.1:{server.server_address[1]}",),
        )
        (ds, *_) = study(1)
        assert send(one.port, [ds]) == [0]
        assert asked(one.port, [ds.SOPInstanceUID, "1.2.3", "../x"]) == 0
        until(lambda: bool(reports))
        assert asked(one.port, [ds.SOPInstanceUID]) == 0
        until(lambda: len(reports) == 2)
    finally:
        server.shutdown()
    (kind, some), (all_kind, whole) = reports
    assert (kind, all_kind) == (2, 1)
    assert [i.ReferencedSOPInstanceUID for i in some.ReferencedSOPSequence] == [ds.SOPInstanceUID]
    assert [i.ReferencedSOPInstanceUID for i in some.FailedSOPSequence] == ["1.2.3", "../x"]
    assert all(i.FailureReason == 0x0112 for i in some.FailedSOPSequence)
    assert len(whole.ReferencedSOPSequence) == 1
    assert some.TransactionUID == "1.2.9"


def test_who_cannot_be_reported_to_is_refused(listen):  # noqa: F811
    one = listen(associations=AssociationSettings(commitment=True, timeout_seconds=20))
    assert asked(one.port, ["1.2.3"]) == 0x0110

"""Destinations that take less than is offered, DICOMweb, and storage commitment."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, RLELossless
from pynetdicom import AE, evt

from node.commitment import STORAGE_COMMITMENT
from node.peers import Destination
from node.sending import RefusedError, StoreTarget, StowTarget, UnreachableError, requested
from node.settings import AssociationSettings, Settings, StowSettings
from tests.node.listening import Listening
from tests.node.pacs import send, study
from tests.node.running import until

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
def archive(
    sop_class: str, syntaxes: list[str], status: int = 0, strict: bool = False
) -> Iterator[tuple[int, list[Dataset]]]:
    entity, came = AE("ARCHIVE"), []
    entity.require_called_aet = strict
    entity.add_supported_context(sop_class, syntaxes)

    def store(event: evt.Event) -> int:
        ds = event.dataset
        ds.file_meta = event.file_meta
        came.append(ds)
        return status

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
        pytest.raises(RefusedError, match="does not take SOP class CT Image Storage"),
    ):
        target(port).send([compressed])


def test_why_there_is_no_association_is_said(compressed: Path):
    with (
        archive(CTImageStorage, [RLELossless], strict=True) as (port, _),
        pytest.raises(UnreachableError, match="called AE title not recognised"),
    ):
        target(port).send([compressed])
    with pytest.raises(UnreachableError, match="is down"):
        target(port).send([compressed])


def test_who_says_that_it_has_a_result_has_it(compressed: Path):
    with archive(CTImageStorage, [RLELossless], status=0x0111) as (port, came):
        target(port).send([compressed])
    assert len(came) == 1


def test_an_association_that_is_lost_between_two_results_is_no_refusal(compressed: Path):
    def lost(dataset: Dataset) -> None:
        raise RuntimeError("The association with a peer SCP must be established")

    context = SimpleNamespace(abstract_syntax=CTImageStorage, transfer_syntax=[RLELossless])
    association = SimpleNamespace(
        accepted_contexts=[context], is_established=False, send_c_store=lost
    )
    with pytest.raises(UnreachableError, match="lost"):
        target(1)._send_one(association, dcmread(compressed))


def test_a_destination_that_reads_no_more_is_given_up(compressed: Path):
    """The bytes that it does not take would be waited for without end."""
    sizes: list[float | None] = []
    with archive(CTImageStorage, [RLELossless]) as (port, _):
        entity = AE("ABDOBOX")
        entity.add_requested_context(CTImageStorage, RLELossless)
        settings = Settings(associations=LIMITS)
        with requested(entity, Destination("A", "127.0.0.1", port), settings) as association:
            sizes.append(association.dul.socket.socket.gettimeout())
    assert sizes == [20]


def test_a_title_with_a_slash_makes_one_file():
    assert target(1).mark == "sent.A%2FB"


@contextmanager
def stow(
    status: int, body: dict[str, object] | str, kind: str = "application/dicom+json"
) -> Iterator[tuple[str, list[bytes]]]:
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
            text = (body if isinstance(body, str) else json.dumps(body)).encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            if status == 302:
                self.send_header("Location", "/login")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

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


def failed(reason: int) -> dict[str, object]:
    item = {"00081197": {"vr": "US", "Value": [reason]}}
    return {"00081198": {"vr": "SQ", "Value": [item]}}


JSON, XML = "application/dicom+json", "application/dicom+xml"
FAILED, THERE = failed(0x0110), failed(0x0111)
FAILED_XML = """<NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM">
<DicomAttribute tag="00081198" vr="SQ" keyword="FailedSOPSequence"><Item number="1">
<DicomAttribute tag="00081197" vr="US"><Value number="1">272</Value></DicomAttribute>
</Item></DicomAttribute></NativeDicomModel>"""


@pytest.mark.parametrize(
    ("status", "body", "kind", "error"),
    [
        (202, FAILED, JSON, RefusedError),
        (202, FAILED, f"{JSON}; charset=utf-8", RefusedError),
        (200, FAILED_XML, XML, RefusedError),
        (400, {}, JSON, RefusedError),
        (409, FAILED, JSON, RefusedError),
        (409, {}, JSON, RefusedError),
        (200, "<html>Who are you?</html>", "text/html", RefusedError),
        (302, "", "text/html", RefusedError),
        (503, {}, JSON, UnreachableError),
    ],
)
def test_stow_that_fails(
    compressed: Path, status: int, body: dict[str, object] | str, kind: str, error: type
):
    pytest.importorskip("dicomweb_client")
    with stow(status, body, kind) as (url, _), pytest.raises(error):
        StowTarget(StowSettings(url), 20).send([compressed])


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, {}, f"{JSON}; charset=utf-8"),
        (409, THERE, JSON),
        (202, THERE, JSON),
        (200, FAILED_XML.replace("272", "273"), XML),
        (200, "", JSON),
    ],
)
def test_stow_that_has_it_then(
    compressed: Path, status: int, body: dict[str, object] | str, kind: str
):
    pytest.importorskip("dicomweb_client")
    with stow(status, body, kind) as (url, came):
        StowTarget(StowSettings(url), 20).send([compressed])
    assert len(came) == 1


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


def test_commitment_is_off_unless_it_is_switched_on(listen):
    assert asked(listen().port, ["1.2.3"]) == -1


def test_commitment_to_what_is_held_and_nothing_else(listen):
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


def test_who_cannot_be_reported_to_is_refused(listen):
    one = listen(associations=AssociationSettings(commitment=True, timeout_seconds=20))
    assert asked(one.port, ["1.2.3"]) == 0x0110

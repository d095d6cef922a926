"""What is taken in, what is refused, and what hostile senders get."""

from __future__ import annotations

import gc
import io
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from copy import deepcopy
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.presentation import build_context, negotiate_as_acceptor
from pynetdicom.sop_class import Verification

from node.contexts import CT_CLASSES, CT_SYNTAXES, accepted_contexts
from node.durable import free_bytes
from node.log import Log
from node.metrics import Metrics
from node.receiver import Receiver
from node.receiving import Receiving
from node.settings import AssociationSettings, Settings, SpoolSettings, StudySettings
from node.spool import Spool
from tests.inference.scan.dicom.series_maker import data_set, encoded, make_slices
from tests.node.pacs import GEOMETRY, send, study, study_uid
from tests.node.running import until

# pynetdicom's own requestor leaves sockets open whose peer has gone.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


class Listening:
    """A receiver over a spool of its own; nothing is worked on."""

    def __init__(self, root: Path, settings: Settings, free: int | None = 10**12) -> None:
        self.free = free
        self.lines = io.StringIO()
        self.spool, self.metrics = Spool(root), Metrics()
        self.receiving = Receiving(self.spool, settings, self._free)
        log = Log(self.lines)
        self.receiver = Receiver(settings, self.spool, self.receiving, log, self.metrics)
        self.port = self.receiver.start()

    def _free(self, folder: Path) -> int:
        return free_bytes(folder) if self.free is None else self.free

    def stored(self) -> list[Path]:
        return sorted((self.spool.root / "receiving").glob("*/*"))

    def everything(self) -> list[Path]:
        """All files but the node's own."""
        root = self.spool.root
        return [p for p in root.rglob("*") if p.is_file() and p.parent.name != "nodes"]


@pytest.fixture
def listen(tmp_path: Path) -> Iterator[Callable[..., Listening]]:
    with ExitStack() as stack:

        def make(**said: object) -> Listening:
            root = tmp_path / "spool"
            root.mkdir()
            usual = {"port": 0, "bind": "127.0.0.1", "allow": ("PACS@127.0.0.1",)}
            one = Listening(root, Settings(**{**usual, "store": str(root), **said}))
            stack.callback(one.spool.leave)
            stack.callback(one.receiver.stop)
            return one

        yield make


def quick(seconds: float = 1.0, **said: object) -> AssociationSettings:
    return AssociationSettings(timeout_seconds=seconds, **said)


def associated(port: int, aet: str = "PACS", called: str = "ABDOBOX"):
    entity = AE(aet)
    entity.add_requested_context(Verification)
    return entity.associate("127.0.0.1", port, ae_title=called)


def test_echo(listen):
    association = associated(listen().port)
    assert association.send_c_echo().Status == 0
    association.release()


@pytest.mark.parametrize(("aet", "called", "reason"), [("OTHER", "ABDOBOX", 3), ("PACS", "X", 7)])
def test_titles_that_are_not_known_are_rejected(listen, aet: str, called: str, reason: int):
    one = listen()
    association = associated(one.port, aet, called)
    assert association.is_rejected
    primitive = association.acceptor.primitive
    assert (primitive.result, primitive.result_source, primitive.diagnostic) == (1, 1, reason)
    until(lambda: "association_rejected" in one.lines.getvalue())
    assert one.metrics.rejected.values() == {"": 1}


def test_an_address_that_is_nobodys_is_closed(listen):
    one = listen(allow=("PACS@10.1.2.3",))
    with socket.create_connection(("127.0.0.1", one.port)) as stranger:
        stranger.settimeout(20)
        assert stranger.recv(1) == b""
    assert "address not allowed" in one.lines.getvalue()


def test_a_title_from_another_ones_address_is_rejected(listen):
    one = listen(allow=("PACS@10.1.2.3", "CT@127.0.0.1"))
    assert associated(one.port).is_rejected
    assert associated(one.port, "CT").is_established


def test_associations_are_limited(listen):
    one = listen(associations=AssociationSettings(max=2))
    taken = [associated(one.port) for _ in range(2)]
    refused = associated(one.port)
    assert refused.is_rejected
    assert refused.acceptor.primitive.diagnostic == 2  # local limit exceeded
    for association in taken:
        association.release()
    until(lambda: one.receiver.associations() == 0)
    associated(one.port).release()


def test_associations_of_a_minute_are_limited(listen):
    one = listen(associations=AssociationSettings(max_per_minute=2))
    for _ in range(2):
        associated(one.port).release()
    assert not associated(one.port).is_established
    assert "too many associations in a minute" in one.lines.getvalue()


def answered(port: int, data: bytes, seconds: float = 20) -> bytes:
    """What comes back for raw bytes, until the node closes the connection."""
    with socket.create_connection(("127.0.0.1", port)) as raw:
        raw.settimeout(seconds)
        try:
            raw.sendall(data)
            return b"".join(iter(lambda: raw.recv(4096), b""))
        except ConnectionError:
            return b""


def sockets() -> int:
    """How many this process has open."""
    links = Path("/proc/self/fd").iterdir()
    return sum("socket" in str(link.readlink()) for link in links if link.is_symlink())


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts sockets by Linux's /proc")
def test_ten_thousand_bytes_of_garbage(listen):
    one = listen(associations=quick())
    before = sockets()
    for seed in range(3):
        answered(one.port, bytes((i * 7919 + seed * 31) % 251 for i in range(10_000)))
    for kind in (1, 2, 4, 5, 7):  # PDUs whose contents are none, or that come too early
        answered(one.port, bytes([kind, 0]) + struct.pack(">L", 500) + os.urandom(500))
    until(lambda: one.receiver.associations() == 0)
    until(lambda: sockets() == before)
    assert send(one.port, study(1)[:1]) == [0]


def test_a_length_that_lies_is_not_believed(listen):
    one = listen(associations=quick(30))
    begun = time.monotonic()
    answered(one.port, b"\x01\0" + struct.pack(">L", 2**32 - 1) + b"\0" * 1000)
    assert time.monotonic() - begun < 15


@pytest.mark.slow
def test_silent_and_slow_senders_are_let_go(listen):
    one = listen(associations=quick(1))
    begun = time.monotonic()
    assert answered(one.port, b"") == b""  # says nothing
    answered(one.port, b"\x01\0" + struct.pack(">L", 400) + b"\0" * 10)  # stops in the middle
    with socket.create_connection(("127.0.0.1", one.port)) as raw:  # a byte now and then
        raw.settimeout(0.3)
        raw.sendall(b"\x01\0" + struct.pack(">L", 4000))
        closed = False
        while not closed and time.monotonic() - begun < 60:
            try:
                raw.sendall(b"\0")
                closed = raw.recv(1) == b""
            except TimeoutError:
                continue
            except ConnectionError:
                closed = True
    assert closed
    until(lambda: one.receiver.associations() == 0)


def test_an_instance_is_kept_byte_for_byte(listen):
    one = listen()
    (place,) = make_slices(GEOMETRY)[:1]
    for syntax in (ExplicitVRLittleEndian, ExplicitVRBigEndian, "1.2.840.10008.1.2.1.99"):
        file = io.BytesIO(encoded(data_set(place, 1), syntax))
        ds = dcmread(file)
        assert send(one.port, [ds], syntaxes=(syntax,)) == [0]
        (stored,) = one.stored()
        again = dcmread(stored)
        assert again.file_meta.TransferSyntaxUID == syntax
        assert again == ds
        stored.unlink()


def changed(**elements: object) -> Dataset:
    (ds, *_) = study(1)
    for keyword, value in elements.items():
        if value is None:
            delattr(ds, keyword)
        else:
            ds[keyword]._value = value
    return ds


@pytest.mark.parametrize(
    "uid",
    ["../../../etc/cron.d/x", "..", ".", "/etc/passwd", "1.2/../3", "1.2.3" * 30, "x", "-1", ""],
)
def test_uids_are_no_paths(listen, uid: str):
    one = listen()
    before = sorted(one.spool.root.parent.rglob("*"))
    assert send(one.port, [changed(StudyInstanceUID=uid)])[0] not in (0x0000, None)
    until(lambda: one.everything() == [])
    assert [p for p in one.spool.root.parent.rglob("*") if p not in before] == []


def test_an_instance_without_a_study_is_refused(listen):
    one = listen()
    assert send(one.port, [changed(StudyInstanceUID=None)]) == [0xC000]
    assert one.stored() == []


def test_what_carries_studies_beside_ct_is_taken_and_private_classes_are_not(listen):
    one = listen()
    (ds, *_) = study(1)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.88.33"  # SR
    assert send(one.port, [ds]) == [0]
    entity = AE("PACS")
    entity.add_requested_context("1.2.826.0.1.3680043.2.1.1")
    entity.add_requested_context(Verification)
    association = entity.associate("127.0.0.1", one.port, ae_title="ABDOBOX")
    assert [c.abstract_syntax for c in association.accepted_contexts] == [Verification]
    association.release()
    assert "1.2.826.0.1.3680043.2.1.1" in one.lines.getvalue()


def test_every_syntax_that_is_read_is_taken_of_every_ct_class(listen):
    one = listen()
    entity = AE("PACS")
    for sop_class in sorted(CT_CLASSES):
        for syntax in CT_SYNTAXES:
            entity.add_requested_context(sop_class, syntax)
        entity.add_requested_context(sop_class, "1.2.840.10008.1.2.4.202")  # HTJ2K, not read
    association = entity.associate("127.0.0.1", one.port, ae_title="ABDOBOX")
    taken = [(c.abstract_syntax, c.transfer_syntax[0]) for c in association.accepted_contexts]
    association.release()
    assert sorted(taken) == sorted((c, s) for c in CT_CLASSES for s in CT_SYNTAXES)


def test_contexts_are_shared_by_all_associations_and_stay_as_they_are():
    contexts = accepted_contexts(commitment=True)
    assert deepcopy(contexts) is contexts
    before = [(c.abstract_syntax, tuple(c.transfer_syntax)) for c in contexts]
    asked = [build_context(sop_class, list(CT_SYNTAXES[:2])) for sop_class in sorted(CT_CLASSES)]
    for number, context in enumerate(asked):
        context.context_id = 2 * number + 1
    results, _ = negotiate_as_acceptor(asked, contexts)
    assert [c.result for c in results] == [0, 0, 0]
    assert [(c.abstract_syntax, tuple(c.transfer_syntax)) for c in contexts] == before


def test_a_full_disk_takes_nothing_until_there_is_room(listen):
    one = listen()
    datasets = study(1)[:3]
    one.free = 1
    assert send(one.port, datasets) == [0xA700] * 3
    assert one.everything() == []
    one.free = 10**12
    assert send(one.port, datasets) == [0] * 3
    assert len(one.stored()) == 3
    assert one.metrics.refused.values() == {"": 3}


@pytest.mark.slow
def test_a_disk_that_is_full_indeed(listen, mount, tmp_path: Path):
    folder = mount("size=3m")
    (tmp_path / "spool").symlink_to(folder)
    root = tmp_path / "spool"
    settings = Settings(
        port=0,
        bind="127.0.0.1",
        allow=("PACS@127.0.0.1",),
        store=str(root),
        spool=SpoolSettings(min_free_bytes=0),
    )
    one = Listening(root, settings, free=None)
    try:
        datasets = study(1)
        for ds in datasets:
            ds.PixelData = bytes(240_000)
            ds.Rows, ds.Columns = 300, 400
        statuses = send(one.port, datasets)
        acknowledged = [ds for ds, s in zip(datasets, statuses, strict=True) if s == 0]
        assert 4 <= len(acknowledged) <= 9
        assert {p.stem for p in one.stored()} == {ds.SOPInstanceUID for ds in acknowledged}
        until(lambda: one.receiver.associations() == 0)
        one.receiving.drop_leftovers(-1)
        assert sorted(one.everything()) == one.stored()
        for path in one.stored():
            assert len(dcmread(path).PixelData) == 240_000
    finally:
        one.receiver.stop()
        one.spool.leave()
        gc.collect()  # pynetdicom leaves the file of the lost data set open


def test_studies_are_limited(listen):
    one = listen(study=StudySettings(max_instances=2))
    datasets = study(1)[:4]
    assert send(one.port, datasets) == [0, 0, 0xA700, 0xA700]
    assert send(one.port, datasets[:1]) == [0]  # sent again, it is no further one
    assert send(one.port, study(2)[:1]) == [0]


def test_bytes_of_a_study_are_limited(listen):
    size = len(encoded(study(1)[0]))
    one = listen(study=StudySettings(max_bytes=int(2.5 * size)))
    assert send(one.port, study(1)[:3]) == [0, 0, 0xA700]


def test_an_association_that_is_lost_leaves_nothing(listen):
    one = listen(associations=quick(5))
    entity = AE("PACS")
    (ds, *_) = study(1)
    entity.add_requested_context(ds.SOPClassUID, ExplicitVRLittleEndian)
    association = entity.associate("127.0.0.1", one.port, ae_title="ABDOBOX")
    assert association.send_c_store(ds).Status == 0
    raw = association.dul.socket.socket
    # A command that announces a data set, the beginning of one, and then nothing.
    from pynetdicom.dimse_messages import C_STORE_RQ
    from pynetdicom.dimse_primitives import C_STORE

    request = C_STORE()
    request.MessageID, request.Priority = 2, 2
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = ds.SOPClassUID, "1.2.3"
    request.DataSet = io.BytesIO(bytes(100_000))
    message = C_STORE_RQ()
    message.primitive_to_message(request)
    context = association.accepted_contexts[0].context_id
    for primitive in list(message.encode_msg(context, 16_384))[:3]:
        from pynetdicom.pdu import P_DATA_TF

        pdu = P_DATA_TF()
        pdu.from_primitive(primitive)
        raw.sendall(pdu.encode())
    until(lambda: any(one.spool.incoming.iterdir()))
    raw.shutdown(socket.SHUT_RDWR)
    until(lambda: one.receiver.associations() == 0)
    one.receiving.drop_leftovers(-1.0)
    assert [p.name for p in one.everything()] == [f"{ds.SOPInstanceUID}.dcm"]
    association.kill()


@pytest.mark.slow
def test_quiet_studies_are_taken_whole(listen):
    one = listen(study=StudySettings(quiet_seconds=4))
    send(one.port, study(1))
    assert one.receiving.take_whole() == []
    until(lambda: bool(one.receiving.take_whole()))
    assert len(list((one.spool.root / "waiting" / f"{study_uid(1)}.1").iterdir())) == 12
    send(one.port, study(1)[:1])  # later
    until(lambda: bool(one.receiving.take_whole()))
    assert (one.spool.root / "waiting" / f"{study_uid(1)}.2").is_dir()


def test_released_studies_are_taken_at_once(listen):
    one = listen(study=StudySettings(quiet_seconds=3600, on_release=True))
    send(one.port, study(1)[:2])
    until(lambda: bool(one.receiving.take_whole()))


def test_a_slow_name_server_keeps_nobody_from_sending(listen, monkeypatch: pytest.MonkeyPatch):
    answers, usual = threading.Event(), socket.getaddrinfo

    def look_up(host: object, *more: object, **said: object) -> object:
        if host == "slow.hospital":
            answers.wait(60)
        return usual(host, *more, **said)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr("node.peers._FIRST_S", 0.1, raising=False)
    one = listen(allow=("SLOW@slow.hospital", "PACS@127.0.0.1"))
    try:
        assert send(one.port, study(1)[:1]) == [0]
        assert not answers.is_set()
    finally:
        answers.set()

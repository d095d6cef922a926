"""Which instances are taken in and which are refused, and what of them lies on disk."""

from __future__ import annotations

import gc
import io
import socket
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.sop_class import Verification

from node.settings import SpoolSettings, StudySettings
from tests.inference.scan.dicom.series_maker import data_set, encoded, make_slices
from tests.node.listening import Listening, local, quick
from tests.node.pacs import GEOMETRY, send, study, study_uid
from tests.node.running import until

# pynetdicom's own requestor leaves sockets open whose peer has gone.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


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
    one = Listening(root, local(root, spool=SpoolSettings(min_free_bytes=0)), free=None)
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

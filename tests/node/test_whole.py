"""The whole way of a study, with a real model in a real working process."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from inference.cli.main import main as segment
from node.log import Log
from node.node import Node
from node.settings import HttpSettings, SpoolSettings, StudySettings, WorkSettings
from phantom import make_phantom
from tests.inference.scan.dicom.series_maker import of_volume, write_series
from tests.node.listening import local
from tests.node.pacs import LABELMAP, Archive, send, study, study_uid
from tests.node.running import until

RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"


@contextmanager
def running(store: Path, archive: Archive, work: WorkSettings) -> Iterator[tuple[int, io.StringIO]]:
    """A node in this process: its port, and what it logs."""
    lines = io.StringIO()
    settings = local(
        store,
        send=(f"ARCHIVE@127.0.0.1:{archive.port}",),
        study=StudySettings(quiet_seconds=1.0),
        work=work,
        spool=SpoolSettings(min_free_bytes=0),
        http=HttpSettings(port=0),
    )
    node = Node(settings, Log(lines))
    node.start()
    try:
        yield node.port, lines
    finally:
        node.stop()


def events(lines: io.StringIO) -> list[str]:
    return [json.loads(line)["event"] for line in lines.getvalue().splitlines()]


def test_a_study_comes_back_segmented(tiny_model: Path, tmp_path: Path, archive: Archive):
    work = WorkSettings(model=str(tiny_model), device="cpu", formats=("dicom-seg", "rtstruct"))
    with running(tmp_path, archive, work) as (port, lines):
        assert send(port, study(1)) == [0x0000] * 12
        archive.wait(lambda: len(archive.taken) == 2, 400)
    assert {ds.SOPClassUID for ds in archive.taken} == {LABELMAP, RTSTRUCT}
    assert {ds.StudyInstanceUID for ds in archive.taken} == {study_uid(1)}
    ways = ("study_taken", "work_begun", "work_done", "sent", "study_done")
    assert tuple(event for event in events(lines) if event in ways) == ways
    assert "Doe" not in lines.getvalue()


def test_too_few_slices_are_no_failure(tiny_model: Path, tmp_path: Path, archive: Archive):
    with running(tmp_path, archive, WorkSettings(str(tiny_model), "cpu")) as (port, lines):
        assert send(port, study(1)[:4]) == [0x0000] * 4
        until(lambda: "study_done" in events(lines), 400)
    assert archive.taken == []
    (done,) = [json.loads(s) for s in lines.getvalue().splitlines() if "work_done" in s]
    assert sum(done["left_out"].values()) == 4
    assert "series_failed" not in events(lines)


@pytest.mark.slow
def test_the_result_is_that_of_the_command_line(tmp_path: Path, archive: Archive):
    """The bundled model on a phantom at 3 mm: the same voxels, the same UIDs."""
    phantom = make_phantom((90, 130, 140), (3.0, 3.0, 3.0), seed=3)
    slices = of_volume(phantom.image_ZYX, phantom.grid.spacing, phantom.grid.origin)
    paths = write_series(tmp_path / "scan", slices)
    words = ["-i", tmp_path / "scan", "-o", tmp_path / "out", "--format", "dicom-seg"]
    assert segment([str(word) for word in [*words, "--device", "cpu", "--quiet"]]) == 0
    (wanted,) = (tmp_path / "out").glob("*.seg.dcm")
    (tmp_path / "spool").mkdir()
    with running(tmp_path / "spool", archive, WorkSettings(device="cpu")) as (port, _):
        assert set(send(port, map(dcmread, paths))) == {0x0000}
        archive.wait(lambda: len(archive.taken) == 1, 600)
    same(archive.taken[0], dcmread(wanted))
    assert np.unique(dcmread(wanted).pixel_array).size > 5


def same(one: Dataset, other: Dataset) -> None:
    assert one.SOPInstanceUID == other.SOPInstanceUID
    assert one.SeriesInstanceUID == other.SeriesInstanceUID
    assert (one.pixel_array == other.pixel_array).all()

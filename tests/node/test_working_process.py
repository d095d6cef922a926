"""The working process: what it leaves behind, and what it says of a data set."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

from inference.errors import HeaderError
from inference.many.batch import explained
from inference.scan.dicom.files import parsing
from node.segmenting import _unquoted
from node.working_process import WorkerDiedError, WorkingProcess


def test_what_a_killed_one_has_left_is_removed(tmp_path: Path):
    (tmp_path / "folder").mkdir()
    for name in ("frame.dcm", "folder/frame.dcm"):
        (tmp_path / name).touch()
    process = WorkingProcess([sys.executable, "-c", ""], tmp_path)
    with pytest.raises(WorkerDiedError):
        process.start(threading.Event())
    assert list(tmp_path.iterdir()) == []


def test_an_error_quotes_no_data_set():
    """pydicom's words, and those of an error that nobody has foreseen."""
    with pytest.raises(HeaderError) as read, parsing():
        raise ValueError("Invalid value for VR PN: 'Doe^Jane' (1960)")
    for line in (f"1.2.3.dcm {read.value}", explained(None, KeyError("Doe^Jane"))):
        assert "Doe" in line
        said = _unquoted(line)
        assert "Doe" not in said
        assert "Error)" in said
    assert _unquoted("1.2.3.dcm holds 3 slices (of 8); send all") == (
        "1.2.3.dcm holds 3 slices (of 8); send all"
    )

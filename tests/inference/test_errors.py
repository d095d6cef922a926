"""One line about whatever a file is called."""

from __future__ import annotations

import json
import os

import pytest

from inference.errors import AbdoboxError, one_line
from inference.many.run_report import CaseReport, RunReport


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"a\nb\tc", r"a\nb\tc"),
        ("Müller".encode(), "Müller"),
        (b"S\xf8ren", r"S\xf8ren"),
        (b"\x1b[2J", r"\x1b[2J"),
    ],
)
def test_one_line(data: bytes, line: str):
    assert one_line(os.fsdecode(data)) == line
    assert str(AbdoboxError(os.fsdecode(data), "is bad", "mend it")) == f"{line}: is bad; mend it"


def test_letters_that_were_read_in_the_c_locale():
    assert one_line("Müller".encode().decode("ascii", "surrogateescape")) == "Müller"


def test_a_surrogate_of_no_byte():
    assert one_line("\ud800") == r"\ud800"


def test_a_report_is_json_to_every_reader():
    name = os.fsdecode(b"S\xf8ren")
    report = RunReport([CaseReport(name, f"/in/{name}.nii.gz", "done")])
    text = json.dumps(report.document(None))
    (case,) = json.loads(text)["cases"]
    assert (case["name"], case["source"]) == (r"S\xf8ren", r"/in/S\xf8ren.nii.gz")
    text.encode()

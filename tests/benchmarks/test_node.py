"""The table of python -m benchmarks.node."""

from __future__ import annotations

from benchmarks.node import markdown

MACHINE = {
    "processor": "P", "cores": 2, "memory_bytes": 2**33, "commit": "abc", "load_1min": 0.1,
}  # fmt: skip


def test_a_table_of_what_was_run():
    kills = {"kills": 30, "held": {"sending": 9, "receiving": 11}, "studies": 41,
             "interrupted": 12, "seconds": 99.0}  # fmt: skip
    table = markdown({"machine": MACHINE, "kills": kills})
    assert "| SIGKILLs | 30 |" in table
    assert "receiving 11, sending 9" in table
    assert "41 (12)" in table
    assert "memory" not in table


def test_a_table_of_everything():
    figures = {
        "machine": MACHINE,
        "flood": {"studies": 100, "associations": 4, "sending_seconds": 60.0, "seconds": 90.0,
                  "real": 2},
        "memory": {"studies": 1000, "low_bytes": (300_000_000,) * 5, "bytes_per_study": 120.0,
                   "files": (20, 24), "studies_per_minute": 33.0},
        "result": {"model": "small", "studies": 12, "median": 3.2, "most": 4.0, "first": 4.0},
    }  # fmt: skip
    table = markdown(figures)
    assert "100 (2)" in table
    assert "1.0, 1.5" in table
    assert "300, 300, 300, 300, 300 MB" in table
    assert "| 3.2, 4.0 |" in table

"""Where the time goes: parsing and adding up."""

from __future__ import annotations

import pytest

from benchmarks.stages import IN_CASE, breakdown, medians, shares
from benchmarks.stages_table import markdown

IMPORTTIME = """import time: self [us] | cumulative | imported package
import time:       100 |        100 |   numpy.core
import time:       250 |        350 | numpy
import time:        50 |        400 | inference.grid
something else
"""


def test_shares_add_up_packages():
    assert shares(IMPORTTIME) == {"numpy": 0.00035, "inference": 0.00005}
    assert next(iter(shares(IMPORTTIME))) == "numpy"


def case() -> dict[str, float]:
    seconds = dict.fromkeys(IN_CASE, 0.5)
    return seconds | {"read": 1.0, "write": 0.25, "total": 0.5 * len(IN_CASE) + 0.1}


def test_breakdown_adds_up_to_the_wall_time():
    start = {"interpreter": 0.1, "import": 0.2, "load": 0.3}
    parts = breakdown(10.0, start, case())
    assert sum(parts.values()) == pytest.approx(10.0)
    assert parts["between stages"] == pytest.approx(0.1)
    assert parts["rest of the process"] == pytest.approx(10.0 - 0.6 - case()["total"] - 0.25)
    # A stage that this scan did not need takes no time.
    without = {name: seconds for name, seconds in case().items() if name != "organs"}
    assert breakdown(10.0, start, without)["organs"] == 0
    assert list(parts)[:4] == ["interpreter", "import", "load", "waited"]


def test_medians():
    assert medians([{"a": 1.0}, {"a": 5.0}, {"a": 2.0}]) == {"a": 2.0}


def test_markdown():
    start = {"interpreter": 0.1, "import": 0.2, "load": 0.3}
    document = {
        "machine": {"processor": "P", "cores": 2, "memory_bytes": 2**33, "load_1min": 0.0,
                    "commit": "abc"},
        "case": "x_0000.nii.gz", "shape_zyx": [3, 4, 5], "model": "m", "device": "cpu",
        "step": 0.5, "precision": "f32", "windows": 2, "runs": 1,
        "wall_s": {"one case": 10.0, "two cases": 14.0},
        "cold_s": breakdown(10.0, start, case()), "warm_s": breakdown(4.0, {}, case()),
        "import_s": {"numpy": 0.1},
        "roofline": {"precision": "f32",
                     "peak_gflops_per_s": 100.0, "bandwidth_gbytes_per_s": 10.0, "gflop": 20.0,
                     "gbyte": 1.0, "least_s": 0.25, "measured_s": 0.5,
                     "reached_gflops_per_s": 40.0, "share_of_roofline": 0.5},
    }  # fmt: skip
    text = markdown(document)
    assert "(5 x 4 x 3)" in text
    assert "| network | 0.500 | 5.0% | 0.500 |" in text
    assert "| load | 0.300 | 3.0% | - |" in text
    assert "step 0.5, precision f32, 2 windows" in text
    assert "Outside the networks: 90.0% of the process" in text
    assert "50% of the roofline" in text

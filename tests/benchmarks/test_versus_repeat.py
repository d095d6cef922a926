"""Two comparisons: the same ratios on machines of different speed agree."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.versus.__main__ import main
from tests.benchmarks.test_versus import one_run


def comparison(path: Path, ours: float, theirs: float, gib: float = 2.0, **changes: object) -> Path:
    runs = [
        one_run("c", "abdobox", ours, **changes),
        one_run("c", "nnunet", theirs, peak_tree_bytes=int(gib * 2**30), **changes),
        one_run("c", "monai", 9.0, ended="memory", **changes),
        one_run(path.stem, "abdobox", ours, **changes),
    ]
    path.write_text(json.dumps({"runs": runs}))
    return path


@pytest.mark.parametrize(
    ("ours", "theirs", "gib", "status", "worst"),
    [
        (2.0, 20.0, 2.0, 0, "worst 0.0%"),  # a machine of half the speed
        (1.0, 10.9, 2.0, 0, "worst 9.0% (c, nnunet, wall)"),
        (1.0, 9.0, 2.0, 1, "worst 11.1% (c, nnunet, wall)"),
        (1.0, 10.0, 2.5, 1, "worst 25.0% (c, nnunet, memory)"),
    ],
)
def test_repeat(
    tmp_path: Path, capsys, ours: float, theirs: float, gib: float, status: int, worst: str
):
    first = comparison(tmp_path / "first.json", 1.0, 10.0)
    second = comparison(tmp_path / "second.json", ours, theirs, gib)
    assert main(["repeat", str(first), str(second)]) == status
    text = capsys.readouterr().out
    assert worst in text
    assert ("do not agree" in text) == bool(status)
    assert "monai" not in text  # it never finished


def test_what_cannot_be_compared(tmp_path: Path, capsys):
    first = comparison(tmp_path / "first.json", 1.0, 10.0)
    second = comparison(tmp_path / "second.json", 1.0, 10.0, model="other")
    with pytest.raises(SystemExit, match="differ in model: m, other"):
        main(["repeat", str(first), str(second)])
    empty = tmp_path / "empty.json"
    empty.write_text(json.dumps({"runs": []}))
    with pytest.raises(SystemExit, match="no finished case"):
        main(["repeat", str(first), str(empty)])
    with pytest.raises(SystemExit, match="no such file"):
        main(["repeat", str(first), str(tmp_path / "gone.json")])

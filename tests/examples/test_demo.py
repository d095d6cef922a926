"""The demonstration's folder; ``make demo`` itself runs in .ci/run."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.demo import main


def test_a_folder_that_cannot_be_made_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert main([str(tmp_path / "file")]) == 1
    error = capsys.readouterr().err
    assert f"{tmp_path / 'file' / 'inputs'}: cannot be made" in error and error.count("\n") == 1

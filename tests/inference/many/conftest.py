"""Folders of made files, and what becomes of them as cases."""

from __future__ import annotations

from pathlib import Path

import pytest

from inference.errors import AbdoboxError
from inference.many.cases import find_cases


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    (tmp_path / "in").mkdir()
    return tmp_path / "in", tmp_path / "out"


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_bytes(b"")


def problem_of(source: Path, target: Path) -> AbdoboxError:
    found = find_cases(source, target)
    assert found.cases == []
    (problem,) = found.problems
    assert "\n" not in str(problem)
    return problem


def warnings_of(source: Path, target: Path) -> list[str]:
    found = find_cases(source, target)
    assert found.problems == []
    assert all(line.startswith(f"{source}: ") for line in found.warnings)
    return [line.removeprefix(f"{source}: ") for line in found.warnings]

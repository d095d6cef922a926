"""Imports run one way: which room of the box may import from which, and who may import the box."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
VALUES = {"labels", "grid", "errors", "types"}
# Room of inference/ -> the rooms that it may import from, besides itself.
BELOW = {
    "values": set(),
    "machine": {"values"},
    "model": {"values", "machine"},
    "steps": {"values", "machine", "model"},
    "scan": {"values", "machine", "model", "steps"},
    "engines": {"values", "machine", "model", "steps"},
    "pipeline": {"values", "machine", "model", "steps", "scan", "engines"},
    "findings": {"values", "machine", "model", "steps", "scan"},
}
BELOW["segmentation"] = BELOW["findings"] | {"findings"}
BELOW["segmenter"] = {*BELOW}
BELOW["many"] = {*BELOW}
BELOW["cli"] = {*BELOW}
# The face of the package and its entry points hand on names of any room.
FACES = {"__init__", "__main__", "convert", "merge"}
PEERS = {"nnunetv2", "monai"}
# Package -> the others of the repository that it may import.
PACKAGES = {
    "inference": set(),
    "phantom": {"inference"},
    "evaluation": {"inference"},
    "training": {"inference", "evaluation", "phantom"},
    "node": {"inference"},
    # Peers run in an environment of their own; kinds of bad input are the tests'.
    "benchmarks": {
        "inference",
        "training",
        "evaluation",
        "phantom",
        "examples",
        "node",
        "tests",
        *PEERS,
    },
    "examples": {"inference", "phantom", "evaluation"},
    "web": {"inference", "training"},
}


def is_module(path: Path) -> bool:
    """Whether it is one, and no name that a package's own file defines."""
    return path.with_suffix(".py").is_file() or path.is_dir()


def imported(path: Path, root: Path) -> set[tuple[str, ...]]:
    """What a file imports of its own package, by relative imports, as paths in it."""
    package = path.relative_to(root).parts[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - (node.level - 1)]
            parts = (*base, *(node.module or "").split(".")) if node.module else base
            names = {(*parts, alias.name) for alias in node.names}
            modules = {name for name in names if is_module(root.joinpath(*name))}
            found |= {parts} if node.module else modules
    return found


def room(parts: tuple[str, ...]) -> str:
    """The room that a module of inference/ belongs to."""
    name = parts[0].removesuffix(".py")
    return "values" if name in VALUES else name


@pytest.mark.parametrize(
    "path", sorted((ROOT / "inference").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT))
)
def test_imports_run_one_way(path: Path):
    here = room(path.relative_to(ROOT / "inference").parts)
    if here in FACES:
        return
    rooms = {room(parts) for parts in imported(path, ROOT / "inference")}
    assert rooms - {here, *BELOW[here]} == set()


def test_every_room_is_drawn():
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rooms = {
        p.stem for p in (ROOT / "inference").iterdir() if p.stem not in {*FACES, "__pycache__"}
    }
    assert {name for name in rooms if f"`{name}" not in text} == set()


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_packages_import_only_what_they_may(package: str):
    wrong = set()
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = (
                [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            )
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            tops = {name.partition(".")[0] for name in names}
            wrong |= {
                (str(path.relative_to(ROOT)), top)
                for top in tops & {*PACKAGES, "tests", *PEERS}
                if top != package and top not in PACKAGES[package]
            }
    assert wrong == set()

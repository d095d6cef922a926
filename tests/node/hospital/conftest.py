"""Fixtures of the tests against a real PACS; they skip where one is not installed."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.node.hospital import dcmtk, orthanc
from tests.node.hospital.world import World, world


@pytest.fixture(scope="session")
def _pacs() -> None:
    """What is needed beside Python."""
    if importlib.util.find_spec("pynetdicom") is None:
        pytest.skip("no pynetdicom: pip install -r requirements-node.txt")
    if orthanc.program() is None:
        pytest.skip(orthanc.MISSING)
    if not dcmtk.there():
        pytest.skip(dcmtk.MISSING)


@pytest.fixture
def make_world(_pacs: None, tmp_path: Path, tiny_model: Path) -> Iterator[Callable[..., World]]:
    """A function that starts a node and an Orthanc; settings of the node as keywords."""
    numbers = itertools.count()
    with ExitStack() as stack:

        def make(**settings: Any) -> World:
            settings.setdefault("model", tiny_model)
            return stack.enter_context(world(tmp_path / f"world{next(numbers)}", **settings))

        yield make

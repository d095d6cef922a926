"""What the node's tests share: an archive that takes results, and nodes in their own processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.node.listening import Listening, local
from tests.node.pacs import Archive
from tests.node.running import Launcher, RunningNode


@pytest.fixture
def archive() -> Iterator[Archive]:
    """A C-STORE SCP, listening."""
    with Archive().listening() as one:
        yield one


@pytest.fixture(scope="session")
def launcher() -> Iterator[Launcher]:
    """The process that nodes are forked from."""
    one = Launcher()
    yield one
    one.end()


@pytest.fixture
def start(
    tmp_path: Path, archive: Archive, launcher: Launcher
) -> Iterator[Callable[..., RunningNode]]:
    """A function that starts a node which sends to the archive; ended with the test."""
    with ExitStack() as nodes:

        def make(store: Path | None = None, **said: Any) -> RunningNode:
            said.setdefault("send", f"ARCHIVE@127.0.0.1:{archive.port}")
            return nodes.enter_context(RunningNode(launcher, store or tmp_path / "spool", **said))

        yield make


@pytest.fixture
def listen(tmp_path: Path) -> Iterator[Callable[..., Listening]]:
    """A function that starts a receiver by itself, settings as for :func:`local`."""
    with ExitStack() as stack:

        def make(**said: object) -> Listening:
            root = tmp_path / "spool"
            root.mkdir()
            one = Listening(root, local(root, **said))
            stack.callback(one.spool.leave)
            stack.callback(one.receiver.stop)
            return one

        yield make

"""Free TCP ports, and waiting for what comes."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(
    what: str,
    ready: Callable[[], object],
    seconds: float,
    pause: float = 0.1,
    state: Callable[[], object] = lambda: "",
) -> None:
    """Until ``ready()`` is true; ``state()`` says how things stand where it never is.

    Raises:
        AssertionError: it has not become so.
    """
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, f"after {seconds:g} s still not: {what}\n{state()}"
        time.sleep(pause)

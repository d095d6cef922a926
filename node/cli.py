"""The command line: ``python -m node``, or ``abdobox-node`` where that is installed."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .box import AbdoboxError, __version__, check_platform
from .checks import problems
from .log import Log
from .settings import Settings
from .settings_sources import read_settings

WRONG, FAILED = 2, 1
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def parser() -> argparse.ArgumentParser:
    """The few settings that are usual on a command line; all others go into file or environment."""
    made = argparse.ArgumentParser(
        prog="abdobox-node",
        description="A DICOM node: studies in by C-STORE, segmentations back by C-STORE. "
        "Every setting may stand in the TOML file, or in the environment as "
        "ABDOBOX_NODE_<SECTION>_<KEY>.",
        argument_default=argparse.SUPPRESS,
    )
    made.add_argument("--config", type=Path, metavar="FILE", help="a TOML file of settings")
    made.add_argument("--aet", help="own AE title (ABDOBOX)")
    made.add_argument("--bind", metavar="ADDRESS", help="address to listen on (0.0.0.0)")
    made.add_argument("--port", type=int, help="port to listen on (11112)")
    made.add_argument("--store", metavar="DIR", help="the spool: a folder on one file system")
    made.add_argument(
        "--allow", nargs="+", metavar="AET@HOST", help="who may send: address, network or host name"
    )
    made.add_argument(
        "--send", nargs="+", metavar="AET@HOST:PORT", help="where each result is sent"
    )
    made.add_argument(
        "--http-port",
        dest="http.port",
        type=int,
        metavar="PORT",
        help="of /health, /metrics and the status page on loopback (8042; 0: none)",
    )
    made.add_argument("--version", action="version", version=f"abdobox {__version__}")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the node until a signal ends it. Returns the exit status."""
    given: dict[str, Any] = vars(parser().parse_args(arguments))
    file = given.pop("config", None)
    try:
        check_platform()
        read = read_settings(given, os.environ, file)
    except AbdoboxError as error:
        sys.stderr.write(f"error: {error}\n")
        return WRONG
    found = [*read.faults]
    found += [line for line in problems(read.settings) if line.partition(":")[0] not in read.faulty]
    if found:
        for line in found:
            sys.stderr.write(f"error: {line}\n")
        return WRONG
    return run(read.settings)


def _hush(log: Log, described: Callable[[BaseException], dict[str, Any]]) -> None:
    """What Python and libraries say on standard error is no JSON, and may quote a data set."""

    def died(thread: threading.ExceptHookArgs) -> None:
        if thread.exc_value is not None:
            log("thread_ended", "error", reason=described(thread.exc_value))

    def ignored(error: Any) -> None:
        if error.exc_value is not None:
            log("ignored_error", "warning", reason=described(error.exc_value))

    threading.excepthook, sys.unraisablehook = died, ignored
    warnings.simplefilter("ignore")
    logging.getLogger().addHandler(logging.NullHandler())


def run(settings: Settings, **seams: Any) -> int:
    """A node in this process. ``seams``: :class:`node.node.Node`'s other arguments, for tests.

    Returns:
        128 and the signal's number that has ended it; 1: it cannot start, or cannot go on.
    """
    from .node import Node, described

    os.umask(0o077)  # what is received and what is made of it are a patient's
    log = Log()
    _hush(log, described)
    signalled = threading.Event()
    received: list[int] = []

    def hear(number: int, frame: object) -> None:
        received.append(number)
        signalled.set()

    for number in _SIGNALS:
        signal.signal(number, hear)
    try:
        node = Node(settings, log, **seams)
        node.start()
    except OSError as error:
        where = f"{settings.bind}:{settings.port}, {settings.http.bind}:{settings.http.port}"
        cause = f"cannot start ({error.strerror or error}; {settings.store}, {where})"
        sys.stderr.write(f"error: {cause}; check that ports and folder are free to use\n")
        return FAILED
    node.wait(signalled)
    node.stop()
    return FAILED if node.failed else 128 + received[0]

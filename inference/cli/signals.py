"""SIGTERM and Ctrl-C: leave within five seconds, whatever is being computed, nothing half done.

And with which status, where nobody hears what is printed.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

# To finish the file that is being written and the window that is being computed.
GRACE_S = 3.5
_LAST_S = 1.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
# Python's own, for a standard output that it cannot flush at its end.
_UNHEARD = 120


class Terminated(BaseException):
    """The process was asked to leave. ``status``, for its exit, is 128 and the signal's number."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.status = 128 + number


def unheard(error: OSError) -> int:
    """The exit status where standard output takes nothing more; says why on standard error.

    Unless it is a pipe whose reader has left (``| head``): that one knows.
    """
    if not isinstance(error, BrokenPipeError):
        with suppress(OSError):
            sys.stderr.write(
                f"error: standard output: cannot be written ({error.strerror}); "
                "check where it leads\n"
            )
    return _UNHEARD


@contextmanager
def leaving_on_signals() -> Iterator[list[Callable[[], None]]]:
    """Raise :class:`Terminated` in the main thread on SIGTERM or SIGINT.

    Python runs a signal's handler only between two of the main thread's own steps, and one step may
    be a network that computes for minutes. So a thread hears of the signal too, and ends the
    process after GRACE_S. Signals that the caller has had ignored (nohup, &) stay so.

    Yields:
        What that thread calls before it ends the process, to be filled; there is a second for it.
    """
    at_once: list[Callable[[], None]] = []
    ours, theirs = os.pipe()  # Python writes the number of each signal into it, from C
    os.set_blocking(theirs, False)
    heard = [number for number in _SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, _raise) for number in heard}
    wakeup = signal.set_wakeup_fd(theirs, warn_on_full_buffer=False)
    finished = threading.Event()
    thread = threading.Thread(target=_watch, args=(ours, finished, at_once), daemon=True)
    thread.start()
    try:
        yield at_once
    finally:
        finished.set()
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(theirs)
        thread.join()
        os.close(ours)


def _raise(number: int, frame: FrameType | None) -> NoReturn:
    for other in _SIGNALS:  # one is enough: the next must not disturb the leaving
        signal.signal(other, signal.SIG_IGN)
    raise Terminated(number)


def _watch(signals: int, finished: threading.Event, at_once: list[Callable[[], None]]) -> None:
    while received := os.read(signals, 1):
        if received[0] not in _SIGNALS:
            continue
        if finished.wait(GRACE_S):
            return
        status = 128 + received[0]
        last = threading.Timer(_LAST_S, os._exit, (status,))
        last.daemon = True
        last.start()
        try:
            for call in at_once:
                call()
        finally:
            os._exit(status)

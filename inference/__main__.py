"""Entry point of ``python -m inference``, and of ``abdobox`` where that is installed."""

import os
import sys
from contextlib import suppress
from typing import NoReturn

from .cli.main import main
from .cli.signals import unheard

# NumPy's matrix products are small here, and OpenBLAS's other threads wait for more of them by
# counting up while the scan is read. To be said before NumPy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def fill_streams() -> None:
    """Lead standard streams that were closed before the start to nowhere.

    The next file to be opened would otherwise be one of them, and get what a library prints.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) < 3:
        os.set_inheritable(number, True)
    os.close(number)
    for name, number in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w", encoding="utf-8"))


def leave(status: int) -> NoReturn:
    """End the process without taking libraries and arrays apart first: the kernel does it quicker.

    Every file is closed by now. Threads that still compute, after a signal, have nothing to write.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        status = unheard(error)
    with suppress(OSError):  # there is nowhere left to say so
        sys.stderr.flush()
    os._exit(status)


def status_of_main() -> int:
    """What :func:`inference.cli.main.main` returns, or argparse leaves with."""
    try:
        return main()
    except SystemExit as leaving:
        return int(leaving.code or 0)


def run() -> NoReturn:
    """The whole process."""
    fill_streams()
    leave(status_of_main())


if __name__ == "__main__":
    run()

"""Entry point of ``python -m inference``."""

import os
import sys

from inference.cli import main


def leave(status: int) -> None:
    """End the process without taking libraries and arrays apart first: the kernel does it quicker.

    Every file is closed by now and every thread of ours has ended.
    """
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:  # closed before the start
                stream.flush()
    except OSError:  # nobody reads: Python knows what to say
        sys.exit(status)
    os._exit(status)


if __name__ == "__main__":
    leave(main())

"""Entry point of ``python -m node``, and of ``abdobox-node``."""

import os
import sys
from contextlib import suppress
from typing import NoReturn

from .cli import main


def run() -> NoReturn:
    """The whole process. It ends without waiting for threads that hang on a connection."""
    try:
        status = main()
    except SystemExit as leaving:
        status = int(leaving.code or 0)
    with suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    run()

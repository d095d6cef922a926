"""JPEG, JPEG-LS and JPEG 2000 by GDCM, which SimpleITK brings, in processes of their own.

Its JPEG library dies of some damaged frames. A scan that kills its decoder costs one line, not the
run. A process gets one frame at a time in a data set of our own making that holds nothing else.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from ...errors import HeaderError
from .codestream import Layout, check_size, masked, wrapped
from .files import AGAIN

_CHILD = Path(__file__).with_name("gdcm_child.py")
# The slowest frame of a CT takes a tenth of a second.
_LONGEST_S = 60.0


class Gdcm:
    """Decoders for one series; several threads may use it, each call has a process to itself.

    Processes are started when they are first needed and ended with the context.
    """

    def __init__(self) -> None:
        self._idle: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()

    def __enter__(self) -> Gdcm:
        return self

    def __exit__(self, *error: object) -> None:
        while True:
            try:
                _end(self._idle.get_nowait())
            except Empty:
                return

    def __call__(self, codestream: bytes, layout: Layout, syntax: str) -> npt.NDArray[Any]:
        """Stored values (rows, columns) of a frame.

        Args:
            codestream: the frame.
            layout: what the header says of it.
            syntax: its transfer syntax.

        Raises:
            HeaderError: it is corrupt, or not what the header says.
        """
        check_size(codestream, layout)
        data = wrapped(codestream, layout, syntax)
        try:
            process = self._idle.get_nowait()
        except Empty:
            process = _start()
        pixels = b""
        try:
            pixels = _ask(process, data, layout)
            self._idle.put(process)
        except (OSError, EOFError):  # it has died, or was killed because it took too long
            _end(process)
        if len(pixels) != layout.frame_bytes:
            raise HeaderError("holds a frame that is corrupt", AGAIN)
        values = np.frombuffer(pixels, f"u{layout.allocated // 8}")
        return masked(values.reshape(layout.rows, layout.columns), layout)


def _start() -> subprocess.Popen[bytes]:
    # Not multiprocessing, which would run a caller's script once more.
    command = [sys.executable, "-P", str(_CHILD)]
    return subprocess.Popen(  # noqa: S603 (ourselves)
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )


def _ask(process: subprocess.Popen[bytes], data: bytes, layout: Layout) -> bytes:
    """Unsigned stored values; fewer bytes where the frame is corrupt. Raises OSError, EOFError."""
    assert process.stdin is not None
    assert process.stdout is not None
    late = threading.Timer(_LONGEST_S, process.kill)
    late.daemon = True
    late.start()
    try:
        process.stdin.write(len(data).to_bytes(8, "little"))
        process.stdin.write((layout.allocated // 8).to_bytes(1, "little") + data)
        process.stdin.flush()
        size = int.from_bytes(_exactly(process.stdout, 8), "little")
        if size not in (0, layout.frame_bytes):
            raise EOFError
        return _exactly(process.stdout, size)
    finally:
        late.cancel()


def _exactly(stream: IO[bytes], count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise EOFError
    return data


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            try:
                stream.close()
            except OSError:  # a pipe whose reader has died
                continue
    process.wait()

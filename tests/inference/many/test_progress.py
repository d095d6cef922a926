"""What a person sees while scans are worked on."""

from __future__ import annotations

import io

from inference.many.progress import Progress


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_progress_on_a_terminal():
    stream = Terminal()
    progress = Progress(stream=stream)
    progress.status(1, 2, "a_long_name", "reading", 0.4)
    progress.status(1, 2, "a", "segmenting", 3)
    progress.warning("odd")
    progress.done(1, 2, "a", 4.25)
    progress.summary("1 done")
    written = stream.getvalue()
    assert "\r[1/2] a_long_name: reading, 0 s\r[1/2] a: segmenting, 3 s" in written
    lines = [line.rsplit("\r", 1)[-1] for line in written.split("\n")]
    assert lines == ["warning: odd", "[1/2] a: 4.2 s", "1 done", ""]
    # A shorter line covers the longer one before it.
    first, second = written.split("\r")[1:3]
    assert len(second) >= len(first)


def test_quiet_on_a_terminal():
    stream = Terminal()
    progress = Progress(quiet=True, stream=stream)
    progress.status(1, 2, "a", "reading", 0.4)
    progress.warning("odd")
    progress.done(1, 2, "a", 4.25)
    progress.summary("1 done")
    assert stream.getvalue() == ""
    progress.error("bad")
    assert stream.getvalue() == "error: bad\n"

"""Errors that a person can act on: what is wrong, why, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress


def one_line(text: str) -> str:
    """``text`` with everything that is no visible character or plain space written out.

    File names and headers may hold line breaks and a terminal's control sequences. Of a name that
    is no UTF-8 the odd bytes are written out (``\\xf8``); one that was read in the C locale, where
    Python takes every other letter for such a byte, gets its letters back.
    """
    with suppress(UnicodeEncodeError):  # a surrogate of no byte
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


_speaks_of_flags = False


@contextmanager
def naming_flags() -> Iterator[None]:
    """Let :func:`argument` name flags meanwhile, in all threads: for a command line's whole run."""
    global _speaks_of_flags  # noqa: PLW0603 (one process is one command line)
    before, _speaks_of_flags = _speaks_of_flags, True
    try:
        yield
    finally:
        _speaks_of_flags = before


def argument(name: str, value: object) -> str:
    """An argument as whoever has to change it wrote it, for errors and warnings.

    Returns:
        ``device="cuda:3"`` for a caller in Python, ``--device cuda:3`` on the command line.
    """
    if _speaks_of_flags:
        return f"--{name} {value}"
    return f'{name}="{value}"' if isinstance(value, str) else f"{name}={value}"


class AbdoboxError(Exception):
    """One clear line: the subject (usually a file), the cause, the remedy.

    Args:
        subject: the file or :func:`argument` that is at fault, named as the user named it.
        cause: what is wrong with it.
        remedy: what the user can do.
    """

    def __init__(self, subject: object, cause: str, remedy: str) -> None:
        self.subject = str(subject)
        self.cause = cause
        self.remedy = remedy
        super().__init__(one_line(f"{self.subject}: {cause}; {remedy}"))


class ScanError(AbdoboxError):
    """A scan that cannot be read, or must not be segmented as it stands."""


class ModelError(AbdoboxError):
    """A model folder that is missing, damaged or not what its description says."""


class OutputError(AbdoboxError):
    """A result that cannot be written."""


class DeviceError(AbdoboxError):
    """A device or engine that was asked for and cannot be used."""


class HeaderError(ValueError):
    """A header that cannot be trusted. The message is the cause; ``remedy`` says what to do."""

    def __init__(self, cause: str, remedy: str = "convert the scan again from its source") -> None:
        super().__init__(cause)
        self.remedy = remedy

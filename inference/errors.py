"""Errors that a person can act on: what is wrong, why, and what to do about it."""

from __future__ import annotations


def one_line(text: str) -> str:
    """``text`` with everything that is no visible character or plain space written out.

    File names and headers may hold line breaks and a terminal's control sequences.
    """
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


class AbdoboxError(Exception):
    """One clear line: the subject (usually a file), the cause, the remedy.

    Args:
        subject: the file or argument that is at fault, named as the user named it.
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

"""A sending PACS that knows which instances were acknowledged, and sends the others again."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.filereader import read_file_meta_info

from tests.node.hospital.dcmtk import CALLING
from tests.node.hospital.running import AET

OUT_OF_RESOURCES = 0xA700  # PS3.4, B.2.3


@dataclass
class Sent:
    """What became of the files of one call.

    Attributes:
        acknowledged: files that were answered with Success.
        statuses: every status that was answered, in order.
        associated: whether the association was accepted.
    """

    acknowledged: list[Path] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    associated: bool = False


def send(
    port: int,
    paths: Iterable[Path],
    *,
    calling: str = CALLING,
    called: str = AET,
    pause: float = 0.0,
) -> Sent:
    """Send files over one association, each once and as it is, until one is not answered.

    Args:
        pause: seconds before each file.
    """
    from pynetdicom import AE
    from pynetdicom.sop_class import CTImageStorage  # type: ignore[attr-defined]

    entity = AE(ae_title=calling)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 30
    entity.connection_timeout = 10
    paths = list(paths)
    for syntax in sorted({read_file_meta_info(path).TransferSyntaxUID for path in paths}):
        entity.add_requested_context(CTImageStorage, syntax)
    sent = Sent()
    association = entity.associate("127.0.0.1", port, ae_title=called)
    if not association.is_established:
        _close(association)
        return sent
    sent.associated = True
    for path in paths:
        time.sleep(pause)
        try:
            answer = association.send_c_store(dcmread(path))
        except (RuntimeError, ValueError):  # the association is gone
            break
        if "Status" not in answer:
            break
        sent.statuses.append(int(answer.Status))
        if answer.Status == 0:
            sent.acknowledged.append(path)
        if not association.is_established:
            break
    if association.is_established:
        association.release()
    _close(association)
    return sent


def _close(association: Any) -> None:
    """Close the socket that pynetdicom leaves to the garbage collector where a line breaks."""
    line = association.dul.socket
    if line is not None and line.socket is not None:
        line.socket.close()


def send_until_taken(
    port: int, paths: Iterable[Path], seconds: float = 300, pause: float = 0.0
) -> int:
    """Send files as a PACS does: what was not acknowledged again, until all is.

    Returns:
        How many associations it took.

    Raises:
        AssertionError: the time is up.
    """
    left, tries, end = list(paths), 0, time.monotonic() + seconds
    while left:
        assert time.monotonic() < end, f"{len(left)} files were never acknowledged"
        sent = send(port, left, pause=pause)
        left = [path for path in left if path not in set(sent.acknowledged)]
        tries += 1
        if left:
            time.sleep(0.2)
    return tries


class Parallel:
    """Threads whose first error is raised by :meth:`join`."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []
        self._errors: list[BaseException] = []

    def start(self, work: object, *arguments: object) -> None:
        """Call ``work`` in a thread of its own."""

        def run() -> None:
            try:
                work(*arguments)  # type: ignore[operator]
            except BaseException as error:
                self._errors.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self._threads.append(thread)

    @property
    def alive(self) -> bool:
        """Whether one still works."""
        return any(thread.is_alive() for thread in self._threads)

    def join(self) -> None:
        """Wait for all. Raises what the first one to fail raised."""
        for thread in self._threads:
            thread.join()
        if self._errors:
            raise self._errors[0]

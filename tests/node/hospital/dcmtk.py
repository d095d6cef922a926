"""Debian's DCMTK: another maker's senders, finders and receivers."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from pydicom import Dataset, dcmread

from tests.node.hospital.ports import wait_until

TOOLS = ("storescu", "storescp", "echoscu", "findscu")
MISSING = "no DCMTK: apt-get install dcmtk"
CALLING = "ORTHANC"


def there() -> bool:
    """Whether all of its programs are."""
    return all(shutil.which(tool) for tool in TOOLS)


def _call(words: list[str], seconds: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, capture_output=True, text=True, errors="replace", check=False, timeout=seconds,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


def storescu(
    port: int, paths: Iterable[Path], *more: str, calling: str = CALLING, called: str = "ABDOBOX"
) -> subprocess.CompletedProcess[str]:
    """Send files over one association; ends with a status other than 0 where one was refused.

    ``more`` says how, e.g. ``-xv`` for files in JPEG 2000.
    """
    files = [str(path) for path in paths]
    words = ["storescu", "-v", "-R", "-aet", calling, "-aec", called]
    return _call([*words, *more, "127.0.0.1", str(port), *files], 600)


def echoscu(
    port: int, *more: str, calling: str = CALLING, called: str = "ABDOBOX"
) -> subprocess.CompletedProcess[str]:
    """C-ECHO."""
    words = ["echoscu", "-v", "-aet", calling, "-aec", called, *more, "127.0.0.1", str(port)]
    return _call(words, 60)


def findscu(port: int, folder: Path, level: str, **keys: str) -> list[Dataset]:
    """C-FIND in a PACS (study root); what it answers."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    words = ["findscu", "-S", "-X", "-od", str(folder), "-aet", "FINDSCU", "-aec", "ORTHANC"]
    words += ["-k", f"QueryRetrieveLevel={level}"]
    for key, value in keys.items():
        words += ["-k", f"{key}={value}"]
    done = _call([*words, "127.0.0.1", str(port)], 60)
    assert done.returncode == 0, done.stderr
    return [dcmread(path, force=True) for path in sorted(folder.glob("rsp*.dcm"))]


class StoreSCP:
    """storescp: takes everything, a file for each time that something was sent."""

    def __init__(self, folder: Path, port: int, aet: str = "STORESCP") -> None:
        self.folder, self.port, self.aet = folder, port, aet
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def start(self) -> None:
        """Start it, and wait until it listens."""
        words = ["storescp", "-od", str(self.folder), "+uf", "-pm", "+xa", "-aet", self.aet]
        self._process = subprocess.Popen([*words, str(self.port)])
        try:
            wait_until("storescp answers", lambda: echoscu(self.port).returncode == 0, 60)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def received(self) -> list[Dataset]:
        """Headers of what came."""
        return [dcmread(path, stop_before_pixels=True) for path in sorted(self.folder.iterdir())]

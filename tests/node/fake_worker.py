"""A working process without a model: a result from the UIDs of what it is given, or a fault.

What it does with a study is said by the PatientID of its instances: ``fail`` (an error), ``crash``
(it dies), ``hang`` (it never answers), ``full`` (no room for the result, once); else it makes a
result: a secondary capture whose InstanceNumber is the number of instances that it was made of. It
edits bytes, since pydicom would take longer to import than all the rest.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from inference.errors import OutputError, ScanError
from node.segmenting import PARTIAL, Order, Outcome, serve

CT, SECONDARY_CAPTURE = b"1.2.840.10008.5.1.4.1.1.2\0", b"1.2.840.10008.5.1.4.1.1.7\0"
SERIES = b"\x20\x00\x0e\x00UI"
PATIENT_ID, INSTANCE_NUMBER = b"\x10\x00\x20\x00LO", b"\x20\x00\x13\x00IS"


def value(data: bytes, element: bytes) -> tuple[int, int]:
    """Where the value of an explicit little endian element begins and ends."""
    start = data.index(element) + len(element)
    return start + 2, start + 2 + int.from_bytes(data[start : start + 2], "little")


def work(order: Order) -> Outcome:
    folder = Path(order.folder)
    files = sorted(folder.glob("*.dcm"))
    data = files[0].read_bytes()
    if data[slice(*value(data, SERIES))].decode().strip("\0") in order.apart:
        return Outcome()
    what = data[slice(*value(data, PATIENT_ID))].decode().strip()
    if what == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if what == "hang":
        time.sleep(3600)
    if what == "full" and not (folder / "tried").exists():
        (folder / "tried").touch()
        raise OutputError(folder, "cannot be written (No space left on device)", "make room")
    if what == "fail":
        raise ScanError(folder, "cannot be read", "send another")
    name = files[0].stem.encode()
    words = b" ".join(file.stem.encode() for file in files)
    digits = str(int.from_bytes(hashlib.sha256(words).digest(), "big")).encode()
    data = data.replace(name, (b"1.2." + digits)[: len(name)]).replace(CT, SECONDARY_CAPTURE)
    start, end = value(data, INSTANCE_NUMBER)
    data = data[:start] + str(len(files)).encode().ljust(end - start) + data[end:]
    (folder / PARTIAL).mkdir(exist_ok=True)
    (folder / PARTIAL / "series.seg.dcm").write_bytes(data)
    return Outcome(results=1)


if __name__ == "__main__":
    serve(lambda: work)

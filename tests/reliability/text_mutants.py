"""Sound NRRD and MetaImage files, attached and detached, and seeded ways to damage them.

``python -m tests.reliability.text_mutants FOLDER COUNT`` reads that many, each twice, and prints
how many were accepted, the longest time that one took, and a digest of all that came of them.
"""

from __future__ import annotations

import gzip
import hashlib
import random
import sys
import time
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inference.errors import ScanError
from inference.scan.volume import Volume, read_volume
from tests.inference.nifti_files import scan_voxels
from tests.inference.text_files import metaimage_bytes, nrrd_bytes

VOXELS = scan_voxels((4, 5, 6))
RAW = VOXELS.tobytes()
WORDS = " ".join(map(str, VOXELS.ravel())).encode()
DATA_FILE = "d.raw"
VALUES = (
    b"0", b"-1", b"1", b"2", b"3", b"4", b"7", b"16", b"8192", b"65536", b"1000000000",
    b"99999999999999999999", b"nan", b"inf", b"-inf", b"1e400", b"1e-400", b"0.5", b"0,5", b"1_0",
    b"", b"none", b"(1,0,0)", b"(0,0,0) (0,1,0) (0,0,1)", b"(nan,nan,nan)", b"raw", b"gzip", b"bz2",
    b"ascii", b"hex", b"LIST", b"LOCAL", b"d.raw", b"d%d.raw 1 4 1", b"../d.raw", b"/dev/zero",
    b".", b"True", b"False", b"MET_DOUBLE", b"MET_STRING", b"double", b"block", b"unsigned char",
    b"big", b"RAS", b"scanner-xyz", b"3D-left-handed", b"1 1 1", b"6 5 4", b"8000 8000 8000",
    b"6 5 4 1",
    b"1 0 0 0 1 0 0 0 1", b"1 0 0 0.01 1 0 0 0 1", b"\xff\xfe", b"\0",
)  # fmt: skip


@dataclass(frozen=True)
class Text:
    """A file's suffix and bytes, and those of the data file beside it."""

    suffix: str
    header: bytes
    data: bytes = RAW


SEEDS = (
    Text("nrrd", nrrd_bytes(VOXELS)),
    Text("nrrd", nrrd_bytes(VOXELS.astype(">f4"))),
    Text("nrrd", nrrd_bytes(VOXELS, gzip.compress(RAW, mtime=0), encoding="gzip")),
    Text("nrrd", nrrd_bytes(VOXELS, WORDS, encoding="ascii")),
    Text("nrrd", nrrd_bytes(VOXELS, RAW.hex().encode(), encoding="hex")),
    Text("nrrd", nrrd_bytes(VOXELS, b"a line\nx" + RAW, line_skip="1", byte_skip="1")),
    Text(
        "nrrd",
        nrrd_bytes(VOXELS, space=None, space_directions=None, space_origin=None,
                   spacings="1 2 5", axis_mins="0 1 2", centers="cell cell node"),
    ),
    Text("nhdr", nrrd_bytes(VOXELS, b"", data_file=DATA_FILE)),
    Text("nhdr", nrrd_bytes(VOXELS, b"", data_file=DATA_FILE, encoding="gz"),
         gzip.compress(RAW, mtime=0)),
    Text("mha", metaimage_bytes(VOXELS)),
    Text("mha", metaimage_bytes(VOXELS.astype(">u2"))),
    Text("mha", metaimage_bytes(VOXELS, zlib.compress(RAW), CompressedData="True",
                                CompressedDataSize="99")),
    Text("mha", metaimage_bytes(VOXELS, WORDS, BinaryData="False")),
    Text("mha", metaimage_bytes(VOXELS, HeaderSize="-1", ElementNumberOfChannels="1")),
    Text("mhd", metaimage_bytes(VOXELS, b"", DATA_FILE)),
    Text("mhd", metaimage_bytes(VOXELS, b"", DATA_FILE, CompressedData="True"), zlib.compress(RAW)),
)  # fmt: skip


def text_mutant(number: int) -> Text:
    """The file of this number: always the same one."""
    rng = random.Random(number)
    seed = rng.choice(SEEDS)
    header, data = bytearray(seed.header), bytearray(seed.data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        rng.choice((_flip, _noise, _value, _value, _value, _line, _splice))(header, rng)
    if rng.random() < 0.1:
        del header[rng.randrange(len(header)) :]
    if rng.random() < 0.2 and data:
        _flip(data, rng)
    if rng.random() < 0.05:
        del data[rng.randrange(len(data)) :]
    return Text(seed.suffix, bytes(header), bytes(data))


def _flip(data: bytearray, rng: random.Random) -> None:
    data[rng.randrange(max(1, len(data)))] ^= 1 << rng.randrange(8)


def _noise(data: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(data))
    data[at : at + rng.choice((1, 2, 4, 8))] = rng.randbytes(rng.choice((0, 1, 2, 4, 8)))


def _lines(data: bytearray) -> list[bytes]:
    return bytes(data).split(b"\n")


def _value(data: bytearray, rng: random.Random) -> None:
    """Another value of one field, or of one word in it."""
    lines = _lines(data)
    at = rng.randrange(min(len(lines), 14))
    for separator in (b" = ", b": "):
        key, found, old = lines[at].partition(separator)
        if found:
            words = old.split(b" ")
            words[rng.randrange(len(words))] = rng.choice(VALUES)
            whole = rng.random() < 0.5
            lines[at] = key + found + (rng.choice(VALUES) if whole else b" ".join(words))
            break
    data[:] = b"\n".join(lines)


def _line(data: bytearray, rng: random.Random) -> None:
    """A line lost, doubled or elsewhere."""
    lines = _lines(data)
    at = rng.randrange(min(len(lines), 14))
    line = lines.pop(at)
    for _ in range(rng.choice((0, 1, 2))):
        lines.insert(rng.randrange(min(len(lines) + 1, 14)), line)
    data[:] = b"\n".join(lines)


def _splice(data: bytearray, rng: random.Random) -> None:
    """A line of another file's header."""
    lines, others = _lines(data), _lines(bytearray(rng.choice(SEEDS).header))
    lines.insert(rng.randrange(min(len(lines), 12)), rng.choice(others[:12]))
    data[:] = b"\n".join(lines)


def put(folder: Path, file: Text) -> Path:
    """The header's path; the voxels lie beside it."""
    (folder / DATA_FILE).write_bytes(file.data)
    path = folder / f"m.{file.suffix}"
    path.write_bytes(file.header)
    return path


def outcome(path: Path) -> Volume | str:
    """The volume, or what is said in its place; anything else that is raised goes on."""
    try:
        return read_volume(path)
    except ScanError as error:
        assert str(error).isprintable()
        assert error.remedy
        return error.cause


def described(result: Volume | str) -> bytes:
    """All of an outcome, in bytes."""
    if isinstance(result, str):
        return result.encode("utf-8", "surrogateescape")
    words = repr((result.grid, result.warnings, result.voxels_ZYX.dtype))
    return words.encode() + np.ascontiguousarray(result.voxels_ZYX).tobytes()


def main() -> None:
    """See the module's first lines."""
    folder, count = Path(sys.argv[1]), int(sys.argv[2])
    digest, accepted, longest = hashlib.sha256(), 0, 0.0
    for number in range(count):
        path = put(folder, text_mutant(number))
        start = time.thread_time()
        results = outcome(path), outcome(path)
        longest = max(longest, (time.thread_time() - start) / 2)
        first, second = map(described, results)
        assert first == second, number
        digest.update(first)
        accepted += isinstance(results[0], Volume)
    print(accepted, f"{longest:.3f}", digest.hexdigest())


if __name__ == "__main__":
    main()

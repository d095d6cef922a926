"""Which gzip level for label maps: ``python -m benchmarks.compression LABELS.nii.gz ...``.

Prints, per file and compressor, the size and the median time of compressing, and for reading the
median time of decompressing the file by ISA-L and by zlib.
"""

from __future__ import annotations

import argparse
import gzip
import statistics
import time
import zlib
from collections.abc import Callable
from pathlib import Path

from isal import igzip, isal_zlib

RUNS = 5


def seconds(work: Callable[[], object]) -> float:
    """Median wall time of ``work``."""
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def compressors(raw: bytes) -> dict[str, Callable[[], bytes]]:
    """The contestants: ISA-L's four levels and three of zlib's."""
    contestants: dict[str, Callable[[], bytes]] = {
        f"ISA-L {level}": lambda level=level: isal_zlib.compress(raw, level, 31)
        for level in range(4)
    }
    for level in (1, 6, 9):
        contestants[f"zlib {level}"] = lambda level=level: zlib.compress(raw, level)
    return contestants


def main() -> None:
    """Compare on each file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compression")
    parser.add_argument("files", type=Path, nargs="+")
    for path in parser.parse_args().files:
        raw = gzip.decompress(path.read_bytes())
        print(f"\n{path.name}: {len(raw) / 1e6:.1f} MB\n\n| compressor | kB | ms |\n|---|---|---|")
        for name, compress in compressors(raw).items():
            print(f"| {name} | {len(compress()) / 1e3:.0f} | {1e3 * seconds(compress):.1f} |")
        for name, module in (("ISA-L", igzip), ("zlib", gzip)):
            data = path.read_bytes()
            spent = seconds(lambda module=module, data=data: module.decompress(data))
            print(f"| read back by {name} | | {1e3 * spent:.1f} |")


if __name__ == "__main__":
    main()

"""gzip by ISA-L, for what is written."""

from __future__ import annotations

from isal import isal_zlib

# ISA-L's level 1 is the quickest and, on label maps, smaller than its level 3 (RESULTS.md).
_LEVEL = 1
_CHUNK_BYTES = 1 << 24


def gzipped(*parts: bytes | memoryview) -> bytes:
    """``parts``, one behind the other, as one gzip member."""
    compressor = isal_zlib.compressobj(_LEVEL, wbits=31)
    data = [
        compressor.compress(part[i : i + _CHUNK_BYTES])
        for part in parts
        for i in range(0, len(part), _CHUNK_BYTES)
    ]
    return b"".join((*data, compressor.flush()))

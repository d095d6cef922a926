"""What this machine's processor multiplies natively, as far as Linux and oneDNN's settings say."""

from __future__ import annotations

import os
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
# Instructions that multiply bytes and add them up in 32 bits: VNNI in both encodings, and AMX.
_BYTES = {"avx512_vnni", "avx_vnni", "amx_int8"}
# What ONEDNN_MAX_CPU_ISA may hold oneDNN to that has none of them.
_HELD_WITHOUT_BYTES = {"sse41", "avx", "avx2", "avx512_core"}
# And what has no products of bfloat16.
_HELD_WITHOUT_BFLOAT16 = _HELD_WITHOUT_BYTES | {"avx2_vnni", "avx512_core_vnni"}


def multiplies_bytes() -> bool:
    """Whether a product of 8-bit integers is both exact and quick here. False where it is not
    known."""
    return _held() not in _HELD_WITHOUT_BYTES and not _BYTES.isdisjoint(_flags())


def held_without_bfloat16() -> bool:
    """Whether oneDNN is held to instructions without bfloat16. OpenVINO says what the processor has
    all the same, and then finds no primitive for it."""
    return _held() in _HELD_WITHOUT_BFLOAT16


def adds_bytes_in_pairs() -> bool:
    """Whether sums of two products of bytes are cut off at 16 bits here (``vpmaddubsw``), as on x86
    with AVX2 or AVX-512 but not VNNI. False where it is not known."""
    return "avx2" in _flags() and not multiplies_bytes()


def too_old_for_bytes() -> bool:
    """Whether OpenVINO has no int8 convolutions for this processor: known to lack AVX2."""
    flags = _flags()
    return "sse2" in flags and "avx2" not in flags


def _held() -> str:
    return os.environ.get("ONEDNN_MAX_CPU_ISA", "").lower()


def _flags() -> set[str]:
    """The x86 features of the first processor; none where it is another or not known."""
    try:
        lines = _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return set()
    flags = next((line for line in lines if line.startswith("flags")), "")
    return set(flags.partition(":")[2].split())

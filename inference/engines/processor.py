"""What this machine's processor multiplies natively, as far as Linux says."""

from __future__ import annotations

from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
# Instructions that multiply bytes and add them up in 32 bits: VNNI in both encodings, and AMX.
_BYTES = {"avx512_vnni", "avx_vnni", "amx_int8"}


def multiplies_bytes() -> bool:
    """Whether a product of 8-bit integers is both exact and quick here.

    Without such instructions sums of two products are cut off at 16 bits. False where it is not
    known.
    """
    return not _BYTES.isdisjoint(_flags())


def too_old_for_bytes() -> bool:
    """Whether OpenVINO has no int8 convolutions for this processor: known to lack AVX2."""
    flags = _flags()
    return "sse2" in flags and "avx2" not in flags


def _flags() -> set[str]:
    """The x86 features of the first processor; none where it is another or not known."""
    try:
        lines = _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return set()
    flags = next((line for line in lines if line.startswith("flags")), "")
    return set(flags.partition(":")[2].split())

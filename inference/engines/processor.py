"""What this machine's processor multiplies natively."""

from __future__ import annotations

from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
# Instructions that multiply bytes and add them up in 32 bits: VNNI in both encodings, and AMX.
_BYTES = {"avx512_vnni", "avx_vnni", "amx_int8"}


def multiplies_bytes() -> bool:
    """Whether a product of 8-bit integers is both exact and quick here.

    Without such instructions sums of two products are cut off at 16 bits. False where Linux does
    not say.
    """
    try:
        lines = _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    flags = next((line for line in lines if line.startswith("flags")), "")
    return not _BYTES.isdisjoint(flags.partition(":")[2].split())

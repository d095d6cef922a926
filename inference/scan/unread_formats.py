"""Files that are scans, but of kinds that are not read: what to say of them. No NumPy here."""

from __future__ import annotations

_COMPRESSIONS = {
    ".zst": "zstd", ".bz2": "bzip2", ".xz": "xz", ".lz4": "lz4", ".lzma": "lzma", ".7z": "7-Zip",
}  # fmt: skip
_SCANS = (".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".hdr", ".img")
_FORMATS = {
    ".mgh": "FreeSurfer's MGH", ".mgz": "FreeSurfer's MGH", ".mnc": "MINC", ".gipl": "GIPL",
    ".vtk": "VTK", ".vti": "VTK", ".hdf5": "HDF5", ".par": "Philips' PAR/REC",
}  # fmt: skip
_PAIR = (".hdr", ".img")


def unread(name: str) -> tuple[str, str] | None:
    """Cause and remedy for the name of a scan that is not read; None for any other name."""
    lower = name.lower()
    for suffix, method in _COMPRESSIONS.items():
        if lower.removesuffix(suffix).endswith(_SCANS) and lower.endswith(suffix):
            return f"is compressed by {method}, which is not read", "decompress it, or use gzip"
    if lower.endswith(".gz") and not lower.endswith(".nii.gz"):
        inner = lower.removesuffix(".gz")
        if inner.endswith(_SCANS) and not inner.endswith(_PAIR):
            return "is compressed as a whole, which is not read", "decompress it (gzip -d)"
        lower = inner
    if lower.endswith(_PAIR):
        cause = "is one of a pair of files (.hdr and .img), which is not read"
        return cause, "convert the pair to one .nii.gz"
    for suffix, label in _FORMATS.items():
        if lower.endswith(suffix):
            return f"is of a format that is not read ({label})", "convert it to .nii.gz"
    return None

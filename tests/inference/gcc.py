"""C source as a library of this process."""

from __future__ import annotations

import ctypes
import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest


def compiled(folder: Path, source: str, *defines: str) -> ctypes.CDLL:
    """Compile C by gcc, products and sums rounded one by one, as CUDA's --fmad=false has it.

    Args:
        folder: for files.
        defines: NAME=VALUE or NAME= of the preprocessor.
    """
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("no gcc to compile the kernels' source with")
    path = folder / hashlib.sha256(f"{source}{defines}".encode()).hexdigest()[:16]
    path.with_suffix(".c").write_text(source)
    flags = ["-O1", "-ffp-contract=off", "-shared", "-fPIC", *(f"-D{name}" for name in defines)]
    command = [compiler, *flags, str(path.with_suffix(".c")), "-o", str(path)]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(path))

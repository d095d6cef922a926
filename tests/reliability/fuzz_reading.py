"""Coverage-guided fuzzing of the reading path: ``python -m tests.reliability.fuzz_reading DIR``.

DIR keeps the corpus; libFuzzer's options follow (-runs, -max_total_time, -seed). Needs atheris,
from requirements-fuzz.txt. The first byte of an input chooses the format, the rest is the file,
which is written to $TMPDIR; what a detached header names is there beside it.
"""

from __future__ import annotations

import gzip
import os
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["inference"]):
    from inference.errors import ScanError
    from inference.scan.volume import read_labels, read_volume

from tests.reliability import text_mutants
from tests.reliability.mutations import SEEDS

FOLDER = Path(tempfile.mkdtemp(prefix="abdobox-fuzz-"))
SUFFIXES = ("nii", "nii.gz", "nrrd", "mha", "nhdr", "mhd")


def one_input(data: bytes) -> None:
    """A volume, a label map, or an error of ours in one line; anything else is a finding."""
    suffix = SUFFIXES[data[0] % len(SUFFIXES)] if data else "nii"
    path = FOLDER / f"f.{suffix}"
    path.write_bytes(gzip.compress(data[1:], 1) if suffix == "nii.gz" else data[1:])
    for read in (read_volume, read_labels):
        try:
            read(path)
        except ScanError as error:
            assert str(error).isprintable()


def main() -> None:
    """Fuzz until libFuzzer's limits."""
    corpus = next((Path(word) for word in sys.argv[1:] if not word.startswith("-")), None)
    if corpus is not None and not any(corpus.iterdir()):
        for number, seed in enumerate(SEEDS):
            (corpus / f"nifti{number}").write_bytes(b"\0" + seed)
        for number, text in enumerate(text_mutants.SEEDS):
            kind = SUFFIXES.index(text.suffix)
            (corpus / f"text{number}").write_bytes(bytes([kind]) + text.header)
    (FOLDER / text_mutants.DATA_FILE).write_bytes(text_mutants.RAW)
    os.chdir(FOLDER)  # a finding's file lands here
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

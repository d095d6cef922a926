"""Coverage-guided fuzzing of the reading path: ``python -m tests.reliability.fuzz_reading DIR``.

DIR keeps the corpus; libFuzzer's options follow (-runs, -max_total_time, -seed). Needs atheris,
from requirements-fuzz.txt. The first byte of an input chooses the format, the rest is the file,
which is written to $TMPDIR. SimpleITK is left out: its C++ is not instrumented, and not ours.
"""

from __future__ import annotations

import gzip
import os
import sys
import tempfile
from pathlib import Path

import atheris
from isal import isal_zlib

with atheris.instrument_imports(include=["inference"]):
    from inference.scan.other_formats import check_data_files

    from inference.errors import HeaderError, ScanError
    from inference.scan.metaimage import check_metaimage
    from inference.scan.nrrd import check_nrrd
    from inference.scan.volume import read_labels, read_volume

from tests.reliability.mutations import SEEDS

FOLDER = Path(tempfile.mkdtemp(prefix="abdobox-fuzz-"))
HEADERS = (
    b"NRRD0004\ntype: short\ndimension: 3\nsizes: 6 5 4\nencoding: gzip\nendian: little\n\n"
    + gzip.compress(bytes(240)),
    b"ObjectType = Image\nNDims = 3\nDimSize = 6 5 4\nElementType = MET_SHORT\n"
    b"ElementDataFile = LOCAL\n" + bytes(240),
)


def one_input(data: bytes) -> None:
    """A volume, a label map, or an error of ours in one line; anything else is a finding."""
    kind = data[0] % 4 if data else 0
    suffix = (".nii", ".nii.gz", ".nrrd", ".mha")[kind]
    path = FOLDER / f"f{suffix}"
    contents = gzip.compress(data[1:], 1) if kind == 1 else data[1:]
    path.write_bytes(contents)
    try:
        if kind < 2:
            read_volume(path)
            read_labels(path)
            return
        check_data_files(path)
        if kind == 2:
            check_nrrd(path, 240)
        else:
            check_metaimage(path)
    except ScanError as error:
        assert str(error).isprintable()
    except (HeaderError, EOFError, OSError, isal_zlib.error):
        if kind < 2:  # read_volume and read_labels explain these
            raise


def main() -> None:
    """Fuzz until libFuzzer's limits."""
    corpus = next((Path(word) for word in sys.argv[1:] if not word.startswith("-")), None)
    if corpus is not None and not any(corpus.iterdir()):
        for number, seed in enumerate(SEEDS):
            (corpus / f"nifti{number}").write_bytes(b"\0" + seed)
        for kind, header in zip((2, 3), HEADERS, strict=True):
            (corpus / f"header{kind}").write_bytes(bytes([kind]) + header)
    os.chdir(FOLDER)  # a finding's file lands here
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

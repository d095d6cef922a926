"""Coverage-guided fuzzing of DICOM's reading: ``python -m tests.reliability.fuzz_dicom DIR``.

DIR keeps the corpus; libFuzzer's options follow (-runs, -max_total_time, -seed). Needs atheris,
from requirements-fuzz.txt. The first byte of an input chooses what the rest is: one slice among
sound ones, a multi-frame file, or a .zip; it is written to $TMPDIR. pydicom is instrumented, too,
so that inputs go deep. GDCM's processes are left out, which test_hostile.py feeds.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

import atheris
import numpy as np
import numpy.typing as npt

with atheris.instrument_imports(include=["inference", "pydicom"]):
    import pydicom.encaps
    import pydicom.pixels.decoders.base
    import pydicom.pixels.decoders.rle  # noqa: F401 (all three, before anybody else does)

    from inference.errors import ScanError
    from inference.scan.dicom import codestream, gdcm, reading
    from inference.scan.dicom.files import DicomFile
    from inference.scan.volume import read_volume

from pydicom import uid

from tests.inference.scan.dicom.series_maker import (
    NATIVE,
    Geometry,
    data_set,
    encoded,
    make_slices,
    write_enhanced,
    write_series,
)
from tests.inference.scan.dicom.skimmed import check_skimmed
from tests.reliability.soundness import assert_sound

FOLDER = Path(tempfile.mkdtemp(prefix="abdobox-fuzz-"))
SLICE, FRAMES, ZIP = FOLDER / "series" / "IM0005", FOLDER / "frames.dcm", FOLDER / "series.zip"
PLACES = (SLICE, FRAMES, ZIP)
# Larger than need be: GDCM's own writer of JPEG 2000 dies of 5 x 4 pixels.
SLICES = make_slices(
    Geometry(shape=(10, 12), spacing=(9.0, 8.0), along=tuple(8.0 * k for k in range(8)))
)
PACKED = (uid.DeflatedExplicitVRLittleEndian, uid.RLELossless)
JPEGS = (uid.JPEGLosslessSV1, uid.JPEGLSLossless, uid.JPEG2000Lossless)


def one_input(data: bytes) -> None:
    """A sound volume, or an error of ours in one line; anything else is a finding."""
    path = PLACES[data[0] % len(PLACES)] if data else SLICE
    path.write_bytes(data[1:])
    if path != ZIP:
        check_skimmed(DicomFile(path))
    try:
        volume = read_volume(path.parent if path == SLICE else path)
    except ScanError as error:
        assert str(error).isprintable()
        assert len(str(error)) < 1000
        assert error.remedy
        return
    assert_sound(volume)
    assert volume.source is not None
    back = volume.source.labels_on_frames(np.zeros(volume.grid.shape, np.uint8))
    assert len(back) == len(volume.source.frames)


def undecoded(
    self: gdcm.Gdcm, data: bytes, layout: codestream.Layout, syntax: str
) -> npt.NDArray[Any]:
    """In place of ``Gdcm.__call__``: what is ours of it, and zeros."""
    codestream.check_size(data, layout)
    codestream.wrapped(data, layout, syntax)
    zeros = np.zeros((layout.rows, layout.columns), f"u{layout.allocated // 8}")
    return codestream.masked(zeros, layout)


def seeds() -> list[bytes]:
    """Sound inputs of every kind."""
    found = [b"\0" + encoded(data_set(SLICES[4], 5), s) for s in (*NATIVE, *PACKED, *JPEGS)]
    for syntax in (uid.ExplicitVRLittleEndian, *PACKED, uid.JPEGLSLossless):
        found.append(b"\1" + write_enhanced(FRAMES, SLICES, syntax=syntax).read_bytes())
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", method) as archive:
            for k, place in enumerate(SLICES):
                archive.writestr(f"{k}.dcm", encoded(data_set(place, k + 1)))
        found.append(b"\2" + packed.getvalue())
    return found


def main() -> None:
    """Fuzz until libFuzzer's limits."""
    write_series(SLICE.parent, SLICES)
    corpus = next((Path(word) for word in sys.argv[1:] if not word.startswith("-")), None)
    if corpus is not None and corpus.is_dir() and not any(corpus.iterdir()):
        for number, seed in enumerate(seeds()):
            (corpus / f"seed{number:02}").write_bytes(seed)
    gdcm.Gdcm.__call__ = undecoded  # type: ignore[method-assign]
    reading.worker_count = lambda: 1  # one thread, whose way through the code repeats
    # What pydicom says of odd values is no oddity of the volume; what NumPy says is.
    warnings.simplefilter("ignore")
    warnings.simplefilter("error", RuntimeWarning)
    os.chdir(FOLDER)  # a finding's file lands here
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

"""RLE Lossless in and out with what ``pip install abdobox[dicom]`` brings, and no plugin."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import RLELossless

from tests.inference.scan.dicom.series_maker import (
    Geometry,
    make_slices,
    write_enhanced,
    write_series,
)
from tests.reliability.conftest import ROOT

# The decoders that this environment has for the tests, and pylibjpeg, which is their frame.
CHILD = """
import json, sys
from pathlib import Path
for name in ("pylibjpeg", "rle", "openjpeg", "libjpeg"):
    sys.modules[name] = None
import numpy as np
from pydicom import dcmread
from pydicom.pixels.decoders import RLELosslessDecoder
from inference.scan.dicom.derived import Algorithm
from inference.scan.dicom.segmentation import write_segmentation
from inference.scan.volume import read_volume

place, out = map(Path, sys.argv[1:])
volume = read_volume(place)
np.save(out / "hu.npy", volume.voxels_ZYX)
labels = (volume.voxels_ZYX > -500).astype(np.uint8)
write_segmentation(out / "a.dcm", labels, volume.source, Algorithm("0" * 64))
seg = dcmread(out / "a.dcm")
frames = seg.pixel_array
seg.decompress(generate_instance_uid=False)  # as the node does for who takes no RLE
again = volume.source.labels_on_frames(labels)
equal = [bool(np.array_equal(f, again)) for f in (frames, seg.pixel_array)]
print(json.dumps([RLELosslessDecoder.available_plugins, equal]))
"""


@pytest.mark.parametrize("kind", ["single frames", "multi-frame"])
def test_rle_needs_no_plugin(tmp_path: Path, kind: str):
    slices = make_slices(Geometry())
    if kind == "multi-frame":
        write_enhanced(tmp_path / "in", slices, syntax=RLELossless)
    else:
        write_series(tmp_path / "in", slices, syntax=RLELossless)
    (tmp_path / "out").mkdir()
    command = [sys.executable, "-c", CHILD, tmp_path / "in", tmp_path / "out"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == [["pydicom"], [True, True]]
    np.testing.assert_array_equal(np.load(tmp_path / "out/hu.npy"), [s.hu for s in slices])

"""The container's DICOM scans: written as series, and their labels compared with the series.

PYTHONPATH=. python .ci/series.py write SCAN FOLDER     writes a scan as single-frame CT images
PYTHONPATH=. python .ci/series.py check INPUTS OUTPUTS  fails unless each series has its labels

NIfTI, SEG and RTSTRUCT must hold the same labels on the series' own slices, read back by our own
reader, by highdicom, and by a rasteriser of the tests'.
"""

import sys
from pathlib import Path

import numpy as np

from inference.scan.dicom.reading import source_of
from inference.scan.volume import read_labels, read_volume
from tests.inference.scan.dicom.oracles import by_highdicom, rasterised
from tests.inference.scan.dicom.series_maker import of_volume, write_series

task, source, target = sys.argv[1], *map(Path, sys.argv[2:4])
if task == "write":
    image, grid = read_volume(source).canonical()
    write_series(target, of_volume(image, grid.spacing, grid.origin))
    sys.exit()
folders = sorted(path for path in source.iterdir() if path.is_dir())
if not folders:
    sys.exit(f"{source} holds no series")
for folder in folders:
    series = source_of(folder)
    labels, grid = read_labels(target / f"{folder.name}.nii.gz")
    if grid.shape != series.grid.shape or not np.allclose(grid.origin, series.grid.origin):
        sys.exit(f"{folder.name}: the NIfTI labels lie elsewhere")
    expected = series.labels_on_frames(labels)
    for form, frames in {
        "SEG": by_highdicom(target / f"{folder.name}.seg.dcm", series),
        "RTSTRUCT": rasterised(target / f"{folder.name}.rtstruct.dcm", series),
    }.items():
        if not expected.any() or not np.array_equal(frames, expected):
            off = np.count_nonzero(frames != expected)
            sys.exit(f"{folder.name}: {form} differs from the NIfTI labels in {off} pixels")

"""What DICOM in and out costs beyond the NIfTI run of the same scan: seconds and memory.

    python -m benchmarks.dicom [--slices 300] [--runs 3] [--out FOLDER]

One phantom is written as .nii.gz and as a series of single-frame CT images. Then, in turn, whole
processes: NIfTI to NIfTI; the series to NIfTI alone; to each DICOM format; to what is the default.
Medians of the runs, and their difference to the NIfTI run's: the aim is at most 3 s and 300 MB. And
how long a study of 2,000 files is looked through, headers only: the aim is under 2 s. Tell it from
an idle machine only.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.environment import ROOT
from benchmarks.process import Usage, measure
from inference.grid import Grid
from inference.scan.nifti_header import NiftiHeader
from inference.scan.volume import write_image
from inference.types import Image
from phantom import make_phantom

# Name: input, then what --format and its like say.
RUNS: dict[str, tuple[str, tuple[str, ...]]] = {
    "NIfTI to NIfTI": ("nifti", ()),
    "series to NIfTI": ("series", ("--format", "nifti")),
    "series to NIfTI and SEG (default)": ("series", ()),
    "series to binary SEG": ("series", ("--format", "dicom-seg", "--seg-type", "binary")),
    "series to RTSTRUCT": ("series", ("--format", "rtstruct")),
    "series to .seg.nrrd": ("series", ("--format", "seg-nrrd")),
}
_UID = "1.2.826.0.1.3680043.10.2"


_HEADERS = 2000
_LOOK = """
import sys, time
from pathlib import Path
import pydicom
from inference.scan.dicom.candidates import candidates
from inference.scan.dicom.series import find_series
root, start = Path(sys.argv[1]), time.perf_counter()
(series,), _ = find_series(candidates(root), root)
print(time.perf_counter() - start, len(series.headers))
"""


def write_series(folder: Path, image_ZYX: Image, grid: Grid) -> None:
    """A scan as single-frame CT images, explicit little endian, uncompressed."""
    from pydicom import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    folder.mkdir(parents=True)
    z, y, x = grid.spacing
    for k, plane in enumerate(image_ZYX):
        data = Dataset()
        data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, f"{_UID}.3.{k + 1}"
        data.StudyInstanceUID, data.SeriesInstanceUID = f"{_UID}.1", f"{_UID}.2"
        data.FrameOfReferenceUID, data.Modality = f"{_UID}.4", "CT"
        data.PatientName = data.PatientID = "phantom"
        data.PatientBirthDate = data.PatientSex = data.AccessionNumber = data.StudyID = ""
        data.StudyDate, data.StudyTime, data.SeriesNumber = "20260101", "120000", 1
        data.ImageType, data.InstanceNumber = ["ORIGINAL", "PRIMARY", "AXIAL"], k + 1
        data.ImagePositionPatient = [*grid.origin[:2], grid.origin[2] + k * z]
        data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        data.PixelSpacing, data.SliceThickness = [y, x], z
        data.Rows, data.Columns = plane.shape
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated = data.BitsStored = 16
        data.HighBit, data.PixelRepresentation = 15, 1
        data.RescaleSlope, data.RescaleIntercept, data.RescaleType = 1, 0, "HU"
        data.PixelData = plane.astype("<i2").tobytes()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.save_as(folder / f"{k:04d}.dcm", enforce_file_format=True)


def run(source: Path, out: Path, words: tuple[str, ...], log: Path) -> Usage:
    """One run of the command line. Raises SystemExit where it fails."""
    command = [sys.executable, "-m", "inference", "-i", source, "-o", out, "--quiet", *words]
    usage = measure([str(word) for word in command], log, cwd=ROOT)
    if usage.ended != "done":
        raise SystemExit(f"{source.name} {' '.join(words)}: {log.read_text()}")
    return usage


def looked_through(folder: Path, runs: int) -> list[float]:
    """Seconds in which the series of a folder of 2,000 small slices is found, pydicom imported."""
    grid = Grid((_HEADERS, 64, 64), (0.5, 5.0, 5.0), (0.0, 0.0, 0.0))
    write_series(folder, np.zeros(grid.shape, np.int16), grid)
    found = []
    for _ in range(runs):
        done = subprocess.run(
            [sys.executable, "-c", _LOOK, str(folder)], cwd=ROOT, capture_output=True, text=True,
            check=True,
        )  # fmt: skip
        seconds, count = done.stdout.split()
        if int(count) != _HEADERS:
            raise SystemExit(f"{count} headers of {_HEADERS}")
        found.append(float(seconds))
    return found


def table(usages: dict[str, list[Usage]], sizes: dict[str, int]) -> str:
    """A Markdown table: medians, and what comes on top of the first row."""
    lines = ["| run | s | beyond | MB | beyond | written MB |", "|---|---|---|---|---|---|"]
    first: tuple[float, float] | None = None
    for name, runs in usages.items():
        seconds = statistics.median(usage.seconds for usage in runs)
        memory = statistics.median(usage.peak_tree_bytes for usage in runs) / 1e6
        first = first or (seconds, memory)
        lines.append(
            f"| {name} | {seconds:.2f} | {seconds - first[0]:+.2f} | {memory:.0f} "
            f"| {memory - first[1]:+.0f} | {sizes[name] / 1e6:.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, print the table, and leave every run's figures in ``dicom.json``."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--slices", type=int, default=300)
    p.add_argument("--size", type=int, default=512, help="rows and columns")
    p.add_argument("--runs", type=int, default=3)
    p.add_argument("--out", type=Path, default=Path("build/benchmarks"))
    options = p.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    pixel = 400 / options.size
    phantom = make_phantom((options.slices, options.size, options.size), (1.5, pixel, pixel), 1)
    usages: dict[str, list[Usage]] = {name: [] for name in RUNS}
    sizes: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        sources = {"nifti": folder / "phantom_0000.nii.gz", "series": folder / "series"}
        write_image(sources["nifti"], phantom.image_ZYX, NiftiHeader.of_grid(phantom.grid))
        write_series(sources["series"], phantom.image_ZYX, phantom.grid)
        for number in range(options.runs):
            for name, (kind, words) in RUNS.items():
                out = folder / f"out-{number}-{list(RUNS).index(name)}"
                usages[name].append(run(sources[kind], out, words, folder / "log"))
                sizes[name] = sum(path.stat().st_size for path in out.iterdir())
        looks = looked_through(folder / "headers", options.runs)
    figures: dict[str, object] = {
        name: [vars(usage) for usage in runs] for name, runs in usages.items()
    }
    figures["seconds for 2,000 headers"] = looks
    (options.out / "dicom.json").write_text(json.dumps(figures, indent=1))
    print(table(usages, sizes))
    print(f"\n{_HEADERS} headers looked through in {statistics.median(looks):.2f} s")


if __name__ == "__main__":
    main()

"""The main job on a sample scan: ``python -m examples.demo FOLDER`` (``make demo``).

Makes a phantom scan, segments it with the bundled default model through the command line that users
have, writes an overlay picture, and prints each organ's volume beside the phantom's true one.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from examples.overlay import organ_volumes, overlay_png
from inference.cli.main import main as segment
from inference.errors import AbdoboxError, OutputError
from inference.labels import NAMES
from inference.scan.nifti_header import NiftiHeader
from inference.scan.volume import read_labels, read_volume, write_image
from phantom import make_phantom

SHAPE, SPACING, SEED = (120, 256, 256), (2.5, 1.6, 1.6), 0


def main(arguments: list[str] | None = None) -> int:
    """Run the demonstration; returns the command line's exit code."""
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="where scan, labels and picture go")
    folder = parser.parse_args(arguments).folder
    try:
        return demonstrate(folder)
    except AbdoboxError as error:
        print(error, file=sys.stderr)
        return 1


def demonstrate(folder: Path) -> int:
    """Write scan, labels, report and picture below ``folder``; returns the exit code.

    Raises:
        AbdoboxError: they cannot be written.
    """
    inputs, outputs = _folders(folder)
    scan = inputs / "phantom_0000.nii.gz"
    phantom = make_phantom(SHAPE, SPACING, SEED)
    write_image(scan, phantom.image_ZYX, NiftiHeader.of_grid(phantom.grid))
    report = folder / "report.json"
    code = segment(["-i", str(inputs), "-o", str(outputs), "--device", "cpu",
                    "--report", str(report)])  # fmt: skip
    if code:
        return code
    labels, grid = read_labels(outputs / "phantom.nii.gz")
    picture = folder / "overlay.png"
    overlay_png(read_volume(scan).voxels_ZYX, labels, grid, picture)
    found, true = organ_volumes(labels, grid), organ_volumes(phantom.labels_ZYX, phantom.grid)
    print(f"{'organ':22}{'found ml':>10}{'phantom ml':>12}")
    for name in NAMES.values():
        print(f"{name:22}{found.get(name, 0.0):10.1f}{true.get(name, 0.0):12.1f}")
    print(f"\nscan    {scan}\nlabels  {outputs / 'phantom.nii.gz'}\npicture {picture}\n"
          f"report  {report}")  # fmt: skip
    return 0


def _folders(folder: Path) -> list[Path]:
    """For scans and for labels. Raises OutputError."""
    paths = [folder / "inputs", folder / "outputs"]
    try:
        for path in paths:
            path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            path, f"cannot be made ({error.strerror})", "name a folder in which you may write"
        ) from error
    return paths


if __name__ == "__main__":
    sys.exit(main())

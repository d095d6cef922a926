"""Write phantom scans and their labels as NIfTI files: ``python -m phantom --out DIR``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from inference.errors import AbdoboxError
from inference.scan.nifti_header import NiftiHeader
from inference.scan.volume import write_image
from phantom import PHASES, make_phantom


def main(arguments: list[str] | None = None) -> int:
    """Write ``phantom_SEED_0000.nii.gz`` and ``labels/phantom_SEED.nii.gz`` for every seed."""
    parser = argparse.ArgumentParser(prog="python -m phantom", description=main.__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    zyx = ("Z", "Y", "X")
    parser.add_argument("--shape", type=int, nargs=3, metavar=zyx, default=(120, 256, 256))
    parser.add_argument(
        "--spacing", type=float, nargs=3, metavar=zyx, default=(2.5, 1.6, 1.6), help="millimetres"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the first phantom")
    parser.add_argument("--count", type=int, default=1, help="number of phantoms, seeds in a row")
    parser.add_argument("--phase", choices=PHASES, default="portal", help="contrast phase")
    parser.add_argument("--no-tumor", action="store_true", help="healthy patients")
    options = parser.parse_args(arguments)

    try:
        write(options)
    except OSError as error:
        parser.exit(
            1, f"{options.out}: cannot be written to ({error.strerror}); name another folder\n"
        )
    except AbdoboxError as error:
        parser.exit(1, f"{error}\n")
    return 0


def write(options: argparse.Namespace) -> None:
    """Make and write the phantoms that the command line asks for."""
    (options.out / "labels").mkdir(parents=True, exist_ok=True)
    for seed in range(options.seed, options.seed + options.count):
        phantom = make_phantom(
            tuple(options.shape),
            tuple(options.spacing),
            seed,
            tumor=not options.no_tumor,
            phase=options.phase,
        )
        image_path = options.out / f"phantom_{seed}_0000.nii.gz"
        header = NiftiHeader.of_grid(phantom.grid)
        write_image(image_path, phantom.image_ZYX, header)
        write_image(options.out / "labels" / f"phantom_{seed}.nii.gz", phantom.labels_ZYX, header)
        print(image_path, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())

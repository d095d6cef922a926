"""``python -m inference.merge FOLDER``: one statistics.csv and, of pages, one index.html.

Of the shares of several machines. Made from the NAME.json and NAME.html beside the labels, as each
share's own statistics.I-of-N.csv and index.I-of-N.html are; those stay.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .. import check_platform
from ..errors import AbdoboxError


def main(argv: list[str] | None = None) -> int:
    """Returns the exit status: 0, or 1 where there is no table."""
    parser = argparse.ArgumentParser(prog="python -m inference.merge", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the runs' output folder")
    folder = parser.parse_args(argv).folder
    try:
        check_platform()
        from ..many.folder_index import index_name, write_index
        from ..many.statistics_table import table_name, write_table

        count = write_table(folder)
        pages = write_index(folder) if any(folder.glob("*.html")) else 0
    except AbdoboxError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    labels = sum(1 for _ in folder.glob("*.nii.gz"))
    lacking = f"; {labels - count} label files have no statistics" if labels > count else ""
    print(f"{folder / table_name()}: {count} cases{lacking}", file=sys.stderr)
    if pages:
        print(f"{folder / index_name()}: {pages} cases", file=sys.stderr)
    return 0

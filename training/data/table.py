"""The table of cases that ``fuse`` writes and the other verbs read, and CSV tables in general."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from inference.scan.atomic import write_atomically
from training.data.case import Case, DatasetError, format_classes

CASE_COLUMNS = ("name", "patient", "split", "image", "label", "annotated")


def read_cases(folder: Path, columns: Sequence[str] = CASE_COLUMNS) -> list[dict[str, str]]:
    """Rows of ``cases.csv`` in a folder that ``fuse`` has written.

    Args:
        columns: that are needed.

    Raises:
        DatasetError: there is no such table, or it lacks one of them.
    """
    return read_table(folder / "cases.csv", columns, "run python -m training fuse first")


def read_table(path: Path, columns: Sequence[str], remedy: str) -> list[dict[str, str]]:
    """Rows of a CSV file, each with a cell in every one of these columns.

    Raises:
        DatasetError: it cannot be read (``remedy`` says what then), or lacks a column or a cell.
    """
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            rows, found = list(reader), reader.fieldnames or ()
    except OSError as error:
        raise DatasetError(path, f"cannot be read ({error.strerror})", remedy) from error
    except (ValueError, csv.Error) as error:
        raise DatasetError(path, f"is no CSV table ({error})", remedy) from error
    if missing := [column for column in columns if column not in found]:
        raise DatasetError(path, f"has no column {', '.join(missing)}", "add it, or " + remedy)
    for number, row in enumerate(rows, 1):
        if any(row[column] is None for column in columns):
            raise DatasetError(path, f"row {number} has too few cells", "complete it")
    return rows


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file, whole or not at all, and through no link. Raises OutputError."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows(rows)
    write_atomically(path, text.getvalue().encode())


def write_annotated_table(path: Path, cases: Iterable[Case]) -> None:
    """CSV (name, source, classes): put it into the data folder to skip deriving it again."""
    rows = [
        (case.name, source, format_classes(classes))
        for case in cases
        for source, classes in case.annotated.items()
    ]
    write_table(path, ("name", "source", "classes"), rows)

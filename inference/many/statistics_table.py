"""``statistics.csv`` of a folder: made anew from the NAME.json beside the labels.

So it always says what the folder holds: after a run that was killed and gone on with, after several
runs into one folder, and after the shares of several machines. It is UTF-8, whatever names are.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import OutputError
from ..findings.document import COLUMNS, SCHEMA, rows
from ..scan.atomic import write_atomically
from ..scan.names import shown
from .shard import WHOLE, Shard

_MOST_BYTES = 1 << 24


def table_name(shard: Shard = WHOLE) -> str:
    """``statistics.csv``, or a share's."""
    return shard.named("statistics", ".csv")


def write_table(folder: Path, shard: Shard = WHOLE) -> int:
    """Write the table of all statistics in a folder, or of a share of its cases, by case.

    Returns:
        How many cases it holds.

    Raises:
        OutputError: the folder cannot be read or the table not be written.
    """
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    table.writeheader()
    count = 0
    for document in _documents(folder, shard):
        try:
            table.writerows([*rows(document)])
        except (KeyError, TypeError, AttributeError) as error:
            raise OutputError(
                folder / f"{document['case']}.json",
                f"is no statistics of this version ({error!r})",
                "remove it, or segment its scan again",
            ) from error
        count += 1
    # JSON may hold half a character, which is no UTF-8.
    data = text.getvalue().encode(errors="backslashreplace")
    write_atomically(folder / table_name(shard), data)
    return count


def _documents(folder: Path, shard: Shard) -> Iterator[dict[str, Any]]:
    for name in shard.files(folder, ".json"):
        path = folder / name
        try:
            if path.stat().st_size > _MOST_BYTES:
                continue
            document = json.loads(path.read_bytes())
        except (OSError, ValueError, RecursionError):  # somebody else's
            continue
        if isinstance(document, dict) and document.get("schema") == SCHEMA:
            yield {**document, "case": shown(name.removesuffix(".json"))}

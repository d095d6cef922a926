"""``index.html`` of a folder: made anew from the heads of the NAME.html in it.

So it always lists what the folder holds, as statistics.csv does: after a run that was killed and
gone on with, after several runs into one folder, and after the shares of several machines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..findings.page.folder_page import folder_page
from ..findings.page.summary import HEAD_BYTES, of_page
from ..scan.atomic import write_atomically
from .shard import WHOLE, Shard

_INDEX = re.compile(r"index(\.\d+-of-\d+)?")


def index_name(shard: Shard = WHOLE) -> str:
    """``index.html``, or a share's."""
    return shard.named("index", ".html")


def is_index(name: str) -> bool:
    """Whether the page of a case of that name would be in an index's place."""
    return _INDEX.fullmatch(name) is not None


def write_index(
    folder: Path, shard: Shard = WHOLE, problems: Sequence[tuple[str, str]] = ()
) -> int:
    """Write the list of all pages in a folder, or of a share of its cases.

    Args:
        problems: name and reason of what did not become a case.

    Returns:
        How many cases it holds.

    Raises:
        OutputError: the folder cannot be read or the list not be written.
    """
    cases = [*_cases(folder, shard)]
    write_atomically(folder / index_name(shard), folder_page(cases, problems))
    return len(cases)


def _cases(folder: Path, shard: Shard) -> Iterator[dict[str, Any]]:
    for name in shard.files(folder, ".html"):
        case = name.removesuffix(".html")
        if is_index(case):
            continue
        try:
            with (folder / name).open("rb") as file:
                summary = of_page(file.read(HEAD_BYTES))
        except OSError:  # somebody else's
            continue
        if summary is not None:
            yield {**summary, "case": case}

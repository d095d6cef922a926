"""One HTML page that lists a folder's cases: pictures, doubts, sorting, search."""

from __future__ import annotations

import html
import os
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from ... import __version__
from . import texts
from .assets import filled, part
from .frame import framed, now, printable, script_json
from .summary import of_failure


def folder_page(
    cases: Iterable[Mapping[str, Any]], problems: Iterable[tuple[str, str]] = ()
) -> bytes:
    """The page, as UTF-8.

    Args:
        cases: :func:`inference.findings.page.summary.of_page` of each, with ``case`` the stem of
            its page's name in the same folder.
        problems: name and reason of what has no page, since it did not become a case.
    """
    made = now()
    listed = [
        {**one, "case": printable(one["case"]), "href": page_address(one["case"])} for one in cases
    ]
    for name, reason in problems:
        row = of_failure(printable(name), printable(reason), made)
        listed.append({**row, "href": ""})
    words = {**texts.FOLDER, "doubtful_mark": texts.SCRIPT["doubtful"]}
    values = {
        "made": html.escape(f"{texts.FOLDER['made']} {made}, abdobox {__version__}"),
        "cases": script_json({"cases": listed, "texts": words}),
        "script": part("folder.js"),
        **{key: html.escape(texts.FOLDER[key]) for key in ("title", "search", "doubtful_only")},
    }
    body = filled(part("folder.html"), values)
    return framed(texts.FOLDER["title"], body, part("case.css") + part("folder.css"))


def page_address(name: str) -> str:
    """A relative address of NAME.html, whatever the name holds: ``./`` keeps it from being another
    scheme's, and bytes that are no text are written as they are."""
    return "./" + quote(os.fsencode(f"{name}.html"))

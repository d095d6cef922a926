"""What all pages share: the HTML around their contents, and how foreign text becomes HTML or JSON.

Whatever comes from outside (names of files, headers) is escaped where it becomes HTML or JSON, and
a content security policy keeps a page from loading or sending anything.
"""

from __future__ import annotations

import html
import json
import time
from collections.abc import Mapping
from typing import Any

from ... import __version__
from ...scan.names import shown
from . import texts
from .assets import filled, part

POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; connect-src data:; base-uri 'none'; form-action 'none'"
)


def framed(
    title: str,
    body: str,
    css: str,
    summary: Mapping[str, Any] | None = None,
    policy: str = POLICY,
) -> bytes:
    """A whole page, as UTF-8.

    Args:
        title: in plain words.
        body: HTML that follows title and notice.
        css: styles.
        summary: what lists of cases read of it (:mod:`.summary`); it lies near the head.
        policy: content security policy.
    """
    values = {
        "policy": policy,
        "generator": f"abdobox {__version__}",
        "title": html.escape(title),
        "summary": "",
        "css": css,
        "notice": html.escape(texts.NOTICE),
        "body": body.rstrip("\n"),
    }
    if summary is not None:
        data = script_json(summary)
        values["summary"] = f'\n<script type="application/json" id="abdobox-case">{data}</script>'
    return filled(part("frame.html"), values).encode("utf-8", "replace")


def printable(name: str) -> str:
    """A name of a file without what is no text: undecodable bytes (``\\xf8``), control codes."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in shown(name))


def script_json(value: Any) -> str:
    """JSON that can end no script element and begin no comment there."""
    text = json.dumps(value, allow_nan=False)  # ASCII
    return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


def now() -> str:
    """UTC, ISO 8601."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())

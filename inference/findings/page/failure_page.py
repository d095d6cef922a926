"""The page of a case that failed: why there are no labels, and what to do about it."""

from __future__ import annotations

import html
import time

from ... import __version__
from . import texts
from .assets import filled, part
from .case_page import POLICY, printable, script_json
from .summary import of_failure


def failure_page(name: str, reason: str) -> bytes:
    """The page, as UTF-8. Lists of cases read it as they read a case's.

    Args:
        name: of the case.
        reason: in one line, as the run has said it.
    """
    made = now()
    shown = printable(name)
    values = {
        "policy": POLICY,
        "generator": f"abdobox {__version__}",
        "title": html.escape(shown),
        "summary": script_json(of_failure(shown, printable(reason), made)),
        "css": part("case.css"),
        "notice": html.escape(texts.NOTICE),
        "failed": html.escape(texts.FAILED["title"]),
        "reason": html.escape(printable(reason)),
        "older": html.escape(texts.FAILED["older"]),
        "footer": html.escape(f"{texts.RUN['made']} {made}, abdobox {__version__}"),
    }
    return filled(part("failure.html"), values).encode("utf-8", "replace")


def now() -> str:
    """UTC, ISO 8601."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())

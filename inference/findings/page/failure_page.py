"""The page of a case that failed: why there are no labels, and what to do about it."""

from __future__ import annotations

import html

from ... import __version__
from . import texts
from .assets import filled, part
from .frame import framed, now, printable
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
        "failed": html.escape(texts.FAILED["title"]),
        "reason": html.escape(printable(reason)),
        "older": html.escape(texts.FAILED["older"]),
        "footer": html.escape(f"{texts.RUN['made']} {made}, abdobox {__version__}"),
    }
    summary = of_failure(shown, printable(reason), made)
    return framed(shown, filled(part("failure.html"), values), part("case.css"), summary)

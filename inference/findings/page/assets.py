"""The files that pages are made of, NiiVue's script among them, which is built and not in git."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from ...errors import ModelError, argument

_HERE = Path(__file__).resolve().parent
# In the package where it was installed from a wheel; in the repository's build folder, which the
# images take over, else (`make page-assets`).
_PLACES = (_HERE / "niivue", _HERE.parents[2] / "build" / "page")
_NIIVUE = "niivue.umd.js"
_ENDS = re.compile(r"<(?=/script|!--)", re.IGNORECASE)
_PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}")


@lru_cache(8)
def niivue() -> str:
    """NiiVue's script, and the notices that its licences ask for. Raises ModelError."""
    # Inside a script element only its own end, and what opens a comment, must not be met.
    notices = niivue_notices().replace("*/", "* /")
    return _ENDS.sub(r"<\\", f"/*! {notices} */\n{_built(_NIIVUE)}")


def niivue_notices() -> str:
    """Licences of NiiVue and of what it is made of. Raises ModelError."""
    return _built("LICENSES.txt")


def _built(name: str) -> str:
    folder = next((place for place in _PLACES if (place / _NIIVUE).is_file()), None)
    if folder is None:
        raise ModelError(
            argument("html", True),
            "the viewer NiiVue is not installed",
            "run make page-assets (it needs npm), or leave it out",
        )
    try:
        return (folder / name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        cause = error.strerror if isinstance(error, OSError) else "no UTF-8"
        raise ModelError(
            folder, f"cannot be read ({cause})", "run make page-assets again"
        ) from error


@lru_cache(8)
def part(name: str) -> str:
    """A file beside this one."""
    return (_HERE / name).read_text(encoding="utf-8")


def filled(template: str, values: Mapping[str, str]) -> str:
    """``{{name}}`` replaced, once: what is put in is not looked through again."""
    return _PLACEHOLDER.sub(lambda match: values[match.group(1)], template)

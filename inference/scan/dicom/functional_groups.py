"""Functional groups of a multi-frame image (PS3.3, C.7.6.16): a frame's own, and those of all."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ...errors import HeaderError

if TYPE_CHECKING:
    from pydicom import Dataset


# No place, direction or spacing; sums and squares of what is smaller have room in float64.
_BEYOND = 1e9


def numbers(texts: list[str], count: int) -> tuple[float, ...] | None:
    """Exactly ``count`` finite numbers, or None.

    Raises:
        HeaderError: one of them is beyond all that is measured.
    """
    try:
        values = tuple(float(text) for text in texts)
    except ValueError:
        return None
    if len(values) != count or not all(map(math.isfinite, values)):
        return None
    if abs(most := max(values, key=abs)) > _BEYOND:
        raise HeaderError(f"states its place, orientation or spacing as {most:g}")
    return values


class FunctionalGroups:
    """Attributes of a frame, from its own functional groups or else those that all share."""

    def __init__(self, shared: Dataset | None, own: Dataset) -> None:
        self._groups = [own] if shared is None else [own, shared]

    def values(self, macro: str, keyword: str) -> list[Any]:
        """The values of an attribute, none where it is absent or empty."""
        for group in self._groups:
            items = group.get(macro)
            value = items[0].get(keyword) if items else None
            if value not in (None, ""):
                many = not isinstance(value, str) and hasattr(value, "__len__")
                return list(value) if many else [value]
        return []

    def text(self, macro: str, keyword: str) -> str:
        """Its values as one text."""
        return "\\".join(str(value) for value in self.values(macro, keyword))

    def numbers(self, macro: str, keyword: str, count: int) -> tuple[float, ...] | None:
        """See :func:`numbers`."""
        return numbers([str(value) for value in self.values(macro, keyword)], count)

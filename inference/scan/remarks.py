"""What is to be said beside labels, in words, where a format has room for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Remarks:
    """Words that are no part of the labels: why they are doubted.

    Attributes:
        labels: by label.
        scan: of all of them.
    """

    labels: Mapping[int, str] = field(default_factory=dict)
    scan: tuple[str, ...] = ()


NO_REMARKS = Remarks()

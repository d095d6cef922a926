"""abdobox: abdominal CT in, 13 organs and tumours out.

The public names are loaded on first use, so that ``python -m inference --help`` imports no
numerical library at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Segmentation", "Segmenter", "__version__"]

if TYPE_CHECKING:
    from .segmenter import Segmentation, Segmenter


def __getattr__(name: str) -> Any:
    if name in ("Segmenter", "Segmentation"):
        from . import segmenter

        return getattr(segmenter, name)
    raise AttributeError(f"module 'inference' has no attribute {name!r}")

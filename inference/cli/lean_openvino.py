"""OpenVINO without its model converter, which is of no use here and twice the rest's import."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_CONVERTER = "openvino.tools.ovc"


@contextmanager
def without_model_converter() -> Iterator[None]:
    """Let ``import openvino`` leave ``openvino.convert_model`` out meanwhile.

    For a process that is the command line's own: where OpenVINO is first imported so, it stays
    without its converter.
    """
    if _CONVERTER in sys.modules:
        yield
        return
    sys.modules[_CONVERTER] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[_CONVERTER]

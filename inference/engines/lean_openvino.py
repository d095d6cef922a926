"""OpenVINO without its model converter, which is of no use here and twice the rest's import."""

from __future__ import annotations

import sys

_CONVERTER = "openvino.tools.ovc"
_loaded = _CONVERTER in sys.modules
sys.modules.setdefault(_CONVERTER, None)  # type: ignore[arg-type]
try:
    import openvino as ov
    from openvino import opset13 as ops
finally:
    if not _loaded:
        del sys.modules[_CONVERTER]

__all__ = ["ops", "ov"]

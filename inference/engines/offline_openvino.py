"""OpenVINO without its telemetry, which at import would write to the home directory and call home.

OpenVINO itself does without where the package openvino-telemetry is not installed, as in the
images. A caller who has imported OpenVINO before has it as it was.
"""

from __future__ import annotations

import sys

_TELEMETRY = "openvino_telemetry"
_loaded = _TELEMETRY in sys.modules
sys.modules.setdefault(_TELEMETRY, None)  # type: ignore[arg-type]
try:
    import openvino as ov
    from openvino import opset13 as ops
finally:
    if not _loaded:
        del sys.modules[_TELEMETRY]

__all__ = ["ops", "ov"]

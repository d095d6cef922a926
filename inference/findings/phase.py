"""Which contrast phase a scan is in, by the HU of aorta, veins and kidneys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from .hounsfield import Hounsfield

Phase = Literal["unenhanced", "arterial", "portal venous or later", "unknown"]

_LIVER, _RIGHT_KIDNEY, _AORTA, _CAVA, _LEFT_KIDNEY = 1, 2, 5, 6, 13
# Blood without contrast has 30 to 60 HU. In the late arterial phase the aorta rises by about 300 HU
# and the liver by 15 to 25, in the portal venous phase by about 120 and 60 (171 patients, MDCT;
# Goshima et al., AJR 2006;187:W25-W32). With the limits below 41 of 42 scans whose phase a person
# noted are put right (docs/doubts.md).
_UNENHANCED_HU, _ARTERIAL_HU = 75.0, 150.0
_KIDNEYS_ENHANCED_HU = 90.0
_ABOVE_LIVER_HU = 90.0


def contrast_phase(hu: Mapping[int, Hounsfield]) -> Phase:
    """A guess from medians; unknown without an aorta."""
    median = {label: one.p50 for label, one in hu.items()}
    aorta = median.get(_AORTA)
    if aorta is None:
        return "unknown"
    kidneys = max(median.get(_RIGHT_KIDNEY, 0.0), median.get(_LEFT_KIDNEY, 0.0))
    if aorta < _UNENHANCED_HU and kidneys < _KIDNEYS_ENHANCED_HU:
        return "unenhanced"
    later = median.get(_LIVER, median.get(_CAVA, aorta))
    if aorta > _ARTERIAL_HU and aorta - later > _ABOVE_LIVER_HU:
        return "arterial"
    return "portal venous or later"

"""The rules of scoring, as data: FLARE 2023's official ones, and the same ones without their slips.

Both modes share the tolerances and the values of empty classes (DSC = NSD = 1 where neither label
map holds the class, 0 where only one does). Both score the aorta, the inferior vena cava and the
esophagus only between the lowest and the highest slice that the reference labels, since references
often stop before the vessel does. They differ in the fields of :class:`Rules`.

Source: FLARE23_DSC_NSD_Eval.py of https://github.com/JunMa11/FLARE at commit aad2cc2 (an earlier
state, 082b340, set NSD to 0 below a DSC of 0.1 instead of 0.2). The checks of files (labels outside
0..14, geometry) are stricter here than there, in both modes: such a case fails, it gets no score.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

# Millimetres by label, from the inter-rater variability of each organ.
TOLERANCES_MM: Mapping[int, float] = MappingProxyType(
    {1: 5, 2: 3, 3: 3, 4: 5, 5: 2, 6: 2, 7: 2, 8: 2, 9: 2, 10: 3, 11: 5, 12: 7, 13: 3, 14: 2}
)
# Aorta, inferior vena cava, esophagus.
PARTLY_LABELLED: frozenset[int] = frozenset({5, 6, 10})


@dataclass(frozen=True)
class Rules:
    """How a case is scored.

    Attributes:
        canonical_axes: slices are those of the patient's foot-to-head axis; otherwise those of the
            last axis of the file, whatever it is.
        keeps_last_slice: the labelled range of the aorta, IVC and esophagus includes its highest
            slice. Otherwise the slice is lost, and a reference of a single slice has no score (NaN;
            the official script stops with an error there).
        nsd_needs_dsc: NSD is 0 where DSC is below this.
        decimals: DSC and NSD of every case, and every mean, are rounded to this; None: not at all.
        tolerances_mm: greatest distance of two surfaces that counts as agreement, by label.
    """

    canonical_axes: bool
    keeps_last_slice: bool
    nsd_needs_dsc: float
    decimals: int | None
    tolerances_mm: Mapping[int, float] = field(default_factory=lambda: TOLERANCES_MM)


MODES: Mapping[str, Rules] = MappingProxyType(
    {
        "default": Rules(
            canonical_axes=True, keeps_last_slice=True, nsd_needs_dsc=0.0, decimals=None
        ),
        "flare23": Rules(
            canonical_axes=False, keeps_last_slice=False, nsd_needs_dsc=0.2, decimals=4
        ),
    }
)

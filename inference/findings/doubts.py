"""May the labels be believed? One score for each organ, and what is odd about the scan.

Everything is judged by what a run has anyway: the labels, the scan, and what the smaller model that
looked first has seen. The figures behind the limits are in docs/doubts.md (benchmarks/doubts).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ..grid import Grid
from ..labels import NAMES, ORGANS
from ..scan.remarks import Remarks
from ..steps.organs import AGREED, Evidence
from ..types import Image, Labels
from .extents import Extent
from .hounsfield import Hounsfield
from .look import Look
from .neighbourhood import isolation, relations
from .phase import Phase, contrast_phase
from .presence import CutOff, Present
from .reference_volumes import REFERENCES
from .scan_doubts import scan_doubts

# Below this score an organ is doubtful.
THRESHOLD = 0.5
_AORTA = 5
# The whole scan is doubted with so many doubtful organs and a larger share of the volume, or with
# more of them and this share of the organs.
_FEW, _MOST_VOLUME = 3, 0.4
_MANY, _MOST_ORGANS = 4, 0.5


class Weight(NamedTuple):
    """One thing that speaks for or against an organ: 0 against it, 1 nothing to say; in words."""

    score: float
    words: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """Of one organ that is there.

    Attributes:
        score: 0 (not to be believed) to 1 (nothing speaks against it): that of the weightiest
            reason. It orders organs; it is no probability.
        reasons: what speaks against it, the weightiest first; empty above the threshold.
    """

    score: float
    reasons: tuple[str, ...]

    @property
    def doubtful(self) -> bool:
        """Whether the labels should be looked at before they are used."""
        return self.score < THRESHOLD


@dataclass(frozen=True, slots=True)
class Doubts:
    """What is doubted about a scan's labels.

    Attributes:
        organs: by label; of an absent organ only where it is missed. The tumour has no judgement:
            nothing in a run tells a true one.
        scan: oddities of the whole scan, in words.
        phase: contrast phase, guessed.
    """

    organs: dict[int, Judgement]
    scan: tuple[str, ...]
    phase: Phase

    def lines(self, labels: Collection[int] = ORGANS) -> tuple[str, ...]:
        """In words: one line for each oddity, and one for all doubtful organs of ``labels``."""
        doubtful = {k: one for k, one in self.organs.items() if one.doubtful and k in labels}
        if not doubtful:
            return self.scan
        said = "; ".join(
            f"{NAMES[label]} {one.score:.2f} ({one.reasons[0]})" for label, one in doubtful.items()
        )
        return (*self.scan, f"doubtful: {said}")

    def remarks(self, labels: Collection[int] = ORGANS) -> Remarks:
        """The same for files of labels that have room for words."""
        said = {
            label: f"doubtful, score {one.score:.2f}: {'; '.join(one.reasons)}"
            for label, one in self.organs.items()
            if one.doubtful and label in labels
        }
        return Remarks(said, self.scan)


def doubts(
    labels_ZYX: Labels, image_ZYX: Image, grid: Grid, evidence: Evidence | None = None
) -> Doubts:
    """Judge the labels of a scan.

    Args:
        labels_ZYX: values of inference.labels.NAMES, any axis order.
        image_ZYX: HU of the same voxels.
        grid: of both.
        evidence: what the run has seen; by default nothing.
    """
    return judged(Look.at(labels_ZYX, image_ZYX, grid, evidence or Evidence()))


def judged(look: Look) -> Doubts:
    """As :func:`doubts`, of a look that was taken before."""
    if not look.found and not look.specks_ml:  # whoever emptied the labels has said so
        return Doubts({}, (), "unknown")
    organs = {}
    for organ in ORGANS:
        if organ in look.found:
            weights = list(_weights(organ, look))
        elif ml := look.specks_ml.get(organ):
            weights = [Weight(0.0, f"only specks of it are found, {ml:.2g} ml in all")]
        else:
            weights = list(_missed(organ, look))
        if weights:
            organs[organ] = _judgement(weights)
    volumes = {label: look.ml(label) for label in look.found if label in ORGANS}
    said = scan_doubts(look.found, volumes, look.hu, look.grid, look.liver_like_ml)
    return Doubts(organs, (*said, *_mostly_doubtful(organs, look)), contrast_phase(look.hu))


def _mostly_doubtful(organs: Mapping[int, Judgement], look: Look) -> Iterator[str]:
    """The whole scan is doubted where most organs are, or most of their volume is."""
    # Stubs of organs in the last slices are many and say little of the scan.
    drawn = {
        organ: look.ml(organ)
        for organ in organs
        if organ in look.found and look.ml(organ) >= _least_ml(organ, look.found[organ].state)
    }
    doubtful = [organ for organ in drawn if organs[organ].doubtful]
    volume = sum(drawn[organ] for organ in doubtful) / max(sum(drawn.values()), 1.0)
    by_volume = len(doubtful) >= _FEW and volume > _MOST_VOLUME
    if by_volume or len(doubtful) >= max(_MANY, _MOST_ORGANS * len(drawn)):
        yield (
            f"{len(doubtful)} of {len(drawn)} organs and {volume:.0%} of their volume are "
            "doubtful: check the scan's orientation, spacing and HU, "
            "and whether it shows an abdomen"
        )


def _judgement(weights: list[Weight]) -> Judgement:
    weights.sort(key=lambda one: one.score)
    scored = [(round(one.score, 3), one.words) for one in weights]
    return Judgement(scored[0][0], tuple(words for score, words in scored if score < THRESHOLD))


def _weights(organ: int, look: Look) -> Iterator[Weight]:
    extent = look.found[organ]
    yield _agreement(organ, look.evidence)
    yield _volume(organ, look.ml(organ), extent.state)
    yield _pieces(organ, extent)
    yield _values(organ, look.hu[organ])
    yield Weight(*isolation(organ, look.found, look.grid))
    yield from _places(organ, look)
    if organ in look.evidence.clipped:
        yield Weight(0.45, "it reaches the border of what was looked at: a part may be missing")


def _places(organ: int, look: Look) -> Iterator[Weight]:
    wrong = [place for place in relations(look.found, look.grid) if not place.holds]
    for place in wrong:
        words = f"the {NAMES[place.organ]} is not {place.words} the {NAMES[place.reference]}"
        if place.organ == organ:
            yield Weight(0.0, words)
        # Whom one organ contradicts may well be right; two do not err together.
        elif place.reference == organ and sum(one.reference == organ for one in wrong) > 1:
            yield Weight(0.3, words)


# The score falls from 1 to 0 around what parts good organs from bad ones.
_AGREEMENT_RAMP = 0.15


def _agreement(organ: int, evidence: Evidence) -> Weight:
    if organ not in evidence.agreement:
        return Weight(1.0, "")
    agreed, middle = evidence.agreement[organ], AGREED[organ]
    score = _ramp(agreed, middle - _AGREEMENT_RAMP, middle + _AGREEMENT_RAMP)
    return Weight(score, f"the two models agree by {agreed:.2f} only")


# The score is 0.5 at the ends of the reference range, 0 and 1 at these times more and less.
_VOLUME_RAMP = 1.5
# Of a cut organ at least this share of the least must be there: what is less, in the last slices,
# is mostly a guess.
_CUT_SHARE = 0.2


def _volume(organ: int, ml: float, state: Present | CutOff) -> Weight:
    reference, ramp = REFERENCES[organ], math.log(_VOLUME_RAMP)
    low = _least_ml(organ, state)
    small = _ramp(math.log(ml / low), -ramp, ramp)
    large = _ramp(math.log(reference.high / ml), -ramp, ramp)
    if small < large:
        return Weight(small, f"{ml:.1f} ml is little (from {low:g})")
    return Weight(large, f"{ml:.0f} ml is much (up to {reference.high:g})")


def _least_ml(organ: int, state: Present | CutOff) -> float:
    return REFERENCES[organ].low * (_CUT_SHARE if isinstance(state, CutOff) else 1.0)


def _pieces(organ: int, extent: Extent) -> Weight:
    if organ == _AORTA and isinstance(extent.state, CutOff):  # the arch leaves and comes back
        return Weight(1.0, "")
    share = extent.largest / extent.voxels
    words = f"the largest of its {extent.pieces} pieces holds {share:.0%} only"
    return Weight(_ramp(share, *(_TUBE_SHARE if organ in _TUBES else _LUMP_SHARE)), words)


# Long thin organs fall apart where a few voxels are missed, and are still where they are.
_TUBES = (4, 5, 6, 10, 12)
_TUBE_SHARE, _LUMP_SHARE = (0.2, 0.6), (0.5, 0.8)


# Medians beyond which an organ's voxels are something else: fat, air, bone, metal.
_SOLID, _VESSEL, _HOLLOW = (-30.0, 300.0), (0.0, 700.0), (-950.0, 700.0)
_VALUES_HU: dict[int, tuple[float, float]] = {
    **dict.fromkeys(ORGANS, _SOLID),
    2: (-10.0, 450.0), 13: (-10.0, 450.0), 4: (-60.0, 300.0), 5: _VESSEL, 6: _VESSEL,
    9: (-50.0, 700.0), 10: (-200.0, 400.0), 11: _HOLLOW, 12: (-300.0, 700.0),
}  # fmt: skip
_VALUES_RAMP_HU = 30.0


def _values(organ: int, hu: Hounsfield) -> Weight:
    low, high = _VALUES_HU[organ]
    beyond = max(low - hu.p50, hu.p50 - high)
    return Weight(
        _ramp(-beyond, -_VALUES_RAMP_HU, 0.0), f"its median of {hu.p50:.0f} HU is not an organ's"
    )


# Organs that are seldom removed, and two others that show that the scan reaches where they lie.
_WITNESSES: dict[int, tuple[int, int]] = {
    1: (9, 10), 2: (1, 13), 3: (11, 13), 4: (3, 12), 5: (1, 6), 6: (1, 2), 11: (1, 3), 13: (3, 2),
}  # fmt: skip
# So much of the least volume, and so many ml, must a model have seen of what the other leaves out.
_SEEN_SHARE, _SEEN_ML = 0.1, 1.0


def _missed(organ: int, look: Look) -> Iterator[Weight]:
    """What speaks against an organ's absence."""
    least_ml = max(_SEEN_ML, _SEEN_SHARE * REFERENCES[organ].low)
    seen, left_out = (
        ml.get(organ, 0.0) for ml in (look.evidence.found_ml, look.evidence.left_out_ml)
    )
    if left_out > least_ml:
        words = f"{left_out:.1f} ml of it were left out: little, and the two models differ"
        yield Weight(0.2, words)
    elif seen > least_ml:
        yield Weight(0.2, f"one model sees {seen:.1f} ml of it, the other none")
    witnesses = _WITNESSES.get(organ, ())
    if witnesses and all(look.ml(label) >= REFERENCES[label].low for label in witnesses):
        one, other = (NAMES[label] for label in witnesses)
        yield Weight(0.3, f"not found, though {one} and {other} are: removed, or missed")


def _ramp(value: float, zero: float, one: float) -> float:
    """0 up to ``zero``, 1 from ``one`` on, a straight line between."""
    return min(1.0, max(0.0, (value - zero) / (one - zero)))

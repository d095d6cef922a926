"""The one table of labels, against the coding schemes that it names."""

from __future__ import annotations

import itertools
import math

import pytest

from inference.labels import BACKGROUND, COLUMNS, NAMES, STRUCTURES, TUMOR

CIELabColor = pytest.importorskip("highdicom.color").CIELabColor
CONCEPTS = pytest.importorskip("pydicom.sr._concepts_dict").concepts


def test_labels_are_those_of_the_challenge():
    assert list(NAMES) == list(COLUMNS) == list(range(1, 15))
    assert NAMES[2] == "right kidney" and NAMES[13] == "left kidney"
    assert NAMES[7] == "right adrenal gland" and NAMES[8] == "left adrenal gland"


def test_every_code_is_in_dicoms_own_list_with_its_meaning():
    known = {
        (code, meaning)
        for versions in CONCEPTS["SCT"].values()
        for code, (meaning, _) in versions.items()
    }
    for one in STRUCTURES.values():
        for code in (one.type, one.category, one.modifier, one.region):
            assert code is None or (code.value, code.meaning) in known
            assert code is None or code.scheme == "SCT"


def test_names_codes_and_sides_agree():
    for value, one in STRUCTURES.items():
        side = one.modifier.meaning.lower() if one.modifier else ""
        if value != TUMOR:
            assert one.name == f"{side} {one.type.meaning.lower()}".strip()
    # Type and side together tell every two labels apart.
    assert len({(one.type, one.modifier) for one in STRUCTURES.values()}) == len(STRUCTURES)


def test_sides_of_a_pair_can_be_told_apart_by_colour():
    """A CIELab distance (CIE 1976) of 2.3 is just noticeable; ten times that is another colour."""
    lab = {value: CIELabColor.from_rgb(*one.rgb).lab for value, one in STRUCTURES.items()}
    assert math.dist(lab[2], lab[13]) > 20
    assert math.dist(lab[7], lab[8]) > 20
    colours = [one.rgb for one in STRUCTURES.values()]
    assert all(a != b for a, b in itertools.combinations(colours, 2))
    assert BACKGROUND not in STRUCTURES

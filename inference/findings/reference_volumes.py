"""How large the organs of adults are, by published measurements and by the label maps at hand.

A scan with an organ outside its range is doubted, so the ranges are wide: they take in a large
spleen, a lone kidney and a full stomach, and reach at least from the smallest to the largest organ
that the sources and 42 label maps of patients (two models' agreeing labels, organs that no border
cuts) show. Both sexes share one range, since a file of voxels does not tell a patient's sex.
"""

from __future__ import annotations

from dataclasses import dataclass

_MAPS = "no published range is used; 42 label maps of patients"


@dataclass(frozen=True, slots=True)
class Reference:
    """The volume of an organ of adults.

    Attributes:
        low, high: ml; outside, the labels are doubted.
        typical: ml; 0 where it depends on the filling or on how much of it a scan shows.
        source: what was measured, by whom.
    """

    low: float
    high: float
    typical: float
    source: str


REFERENCES: dict[int, Reference] = {
    1: Reference(
        600, 3800, 1500,
        "mean 1505, SD 385 ml, 2773 volunteers, MRI (Kromrey et al., Eur J Radiol 2018;106:32-37); "
        "95 % of 2989 donors 825 to 1700 ml (Kim et al., Radiology 2021); maps to 3172 ml",
    ),
    2: Reference(
        50, 450, 155,
        "median (5th percentile) 138 (99) ml in women, 174 (126) ml in men, 1815 volunteers, MRI "
        "(SHIP-Trend, J Clin Med 2024;13:769); maps 83 to 283 ml",
    ),
    3: Reference(
        40, 1500, 200,
        "mean 215, range 107 to 315 ml, 140 patients, CT (Prassopoulos et al., Eur Radiol "
        "1997;7:246-248); 95 % of 2989 donors 81 to 322 ml (Kim et al., Radiology 2021); maps to "
        "610 ml",
    ),
    4: Reference(
        20, 200, 72,
        "mean 72, SD 26 ml from 20 to 60 years, smaller later, 1886 adults, CT (Saisho et al., "
        "Clin Anat 2007;20:933-942); 19 to 140 ml in 204 (Abdom Radiol 2019;44:958-966)",
    ),
    5: Reference(25, 450, 0, f"{_MAPS}: 22 to 209 ml, by how much of it a scan shows"),
    6: Reference(15, 200, 0, f"{_MAPS}: 18 to 107 ml, by how much of it a scan shows"),
    7: Reference(
        1.0, 15, 4,
        "mean 4.26, SD 0.86 ml, 81 adults, CT (Wang et al., Chin Med Sci J 2012;27:220-224); mean "
        "3.47, SD 1.33 ml, 115 adults, CT (Sisli Etfal Hastan Tip Bul 2021;55:333-338); maps 1.1 "
        "to 8.8 ml",
    ),
    8: Reference(
        1.0, 15, 4.5,
        "mean 4.23, SD 0.74 ml (Wang et al. 2012); mean 4.77, SD 1.33 ml (Sisli Etfal 2021); maps "
        "1.4 to 12.1 ml",
    ),
    9: Reference(
        3, 200, 0,
        "fasting mean 19 ml in men, 17 ml in women, 1703 healthy, ultrasound (Am J Gastroenterol "
        "1992;87:493-497); maps 3.5 to 108 ml, hydrops more",
    ),
    10: Reference(4, 80, 0, f"{_MAPS}: 4 to 38 ml, by how much of it a scan shows"),
    11: Reference(30, 2000, 0, f"{_MAPS}: 159 to 846 ml, by its filling"),
    12: Reference(15, 200, 0, f"{_MAPS}: 31 to 107 ml, by its filling"),
    13: Reference(
        50, 450, 160,
        "median (5th percentile) parenchyma 144 ml in women, 180 ml in men (SHIP-Trend, J Clin Med "
        "2024;13:769); maps 109 to 277 ml",
    ),
}  # fmt: skip

"""The per-case table and the summary."""

from __future__ import annotations

import csv
import io
import math

import pytest

from evaluation.results import CaseResult
from evaluation.table import cases_csv, summarise, summary_csv, summary_markdown

RESULTS = [
    CaseResult("a.nii.gz", {1: (0.9, 0.8), 2: (1.0, 1.0), 14: (0.5, 0.25)}),
    CaseResult("b.nii.gz", {1: (0.7, 1.0), 5: (math.nan, math.nan)}),
    CaseResult("c.nii.gz", error="c.nii.gz: has no prediction; segment it"),
]


def test_columns_of_the_per_case_table() -> None:
    header, first, second, failed = csv.reader(io.StringIO(cases_csv(RESULTS)))
    organs = "Liver RK Spleen Pancreas Aorta IVC RAG LAG Gallbladder Esophagus Stomach Duodenum LK"
    columns = [*organs.split(), "Lesion"]
    assert header == ["Name", *(f"{c}_DSC" for c in columns), *(f"{c}_NSD" for c in columns)]
    cells = dict(zip(header, first, strict=True))
    assert (cells["Liver_DSC"], cells["Liver_NSD"], cells["Spleen_DSC"]) == ("0.9", "0.8", "")
    assert (cells["RK_DSC"], cells["Lesion_NSD"]) == ("1.0", "0.25")
    assert second[:2] == ["b.nii.gz", "0.7"] and second[5] == ""  # no score: empty, not "nan"
    assert failed == ["c.nii.gz"] + 28 * [""]


def test_summary_is_mean_and_sample_deviation_over_scored_cases() -> None:
    rows = {row.target: row for row in summarise(RESULTS, None)}
    liver = rows["Liver"]
    assert liver.cases == 2
    assert liver.dsc == pytest.approx((0.8, math.sqrt(2 * 0.1**2 / 1)))
    assert liver.nsd == pytest.approx((0.9, math.sqrt(2 * 0.1**2 / 1)))
    assert rows["Aorta"].cases == rows["Spleen"].cases == 0
    assert math.isnan(rows["Spleen"].dsc[0])
    # Averages are means of the rows, with and without the tumor.
    assert rows["Organs"].dsc[0] == pytest.approx((0.8 + 1.0) / 2)
    assert rows["Average"].dsc[0] == pytest.approx((0.8 + 1.0 + 0.5) / 3)


def test_averages_of_the_official_script_are_of_rounded_means() -> None:
    thirds = [CaseResult(str(k), {1: (v, v), 2: (v, v)}) for k, v in enumerate((0.0, 0.0, 1.0))]
    rows = {row.target: row for row in summarise(thirds, 4)}
    assert rows["Liver"].dsc[0] == rows["Organs"].dsc[0] == 0.3333


def test_summary_in_the_form_of_table_5() -> None:
    text = summary_markdown(summarise(RESULTS, None), "default", RESULTS)
    assert "| Liver | 2 | 80.00 ± 14.14 | 90.00 ± 14.14 |" in text
    assert "| Tumor | 1 | 50.00 | 25.00 |" in text
    assert "| Inferior vena cava | 0 | - | - |" in text
    assert "Mode default; 2 of 3 cases scored.\nNot scored: c.nii.gz.\n" in text


def test_summary_csv() -> None:
    rows = list(csv.DictReader(io.StringIO(summary_csv(summarise(RESULTS, None)))))
    assert [row["Target"] for row in rows][-3:] == ["Tumor", "Organs", "Average"]
    assert rows[0]["DSC_mean"] == "80.00" and rows[0]["NSD_SD"] == "14.14"
    assert rows[2]["DSC_mean"] == "" and rows[2]["Cases"] == "0"

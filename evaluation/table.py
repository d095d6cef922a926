"""Tables of scores: one row per case, and the summary in the form of the paper's Table 5."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.results import CaseResult
from evaluation.scoring import rounded
from inference.labels import COLUMNS, NAMES, TUMOR


@dataclass(frozen=True)
class SummaryRow:
    """Mean and standard deviation of a class over the cases, or of all classes; fractions of 1.

    Attributes:
        target: name of the class, or of the average.
        cases: how many cases score the class; for an average, how many score any class of it.
        dsc: mean and standard deviation of DSC; NaN where there are too few values.
        nsd: the same of NSD.
    """

    target: str
    cases: int
    dsc: tuple[float, float]
    nsd: tuple[float, float]


def cases_csv(results: Iterable[CaseResult]) -> str:
    """Per-case table: ``Name``, 14 DSC and 14 NSD columns; empty where a class has no score.

    A case that failed keeps its row, with the name alone.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = [f"{column}_{metric}" for metric in ("DSC", "NSD") for column in COLUMNS.values()]
    writer.writerow(["Name", *columns])
    for result in results:
        cells = [
            _cell(result.scores[label][metric]) if label in result.scores else ""
            for metric in (0, 1)
            for label in COLUMNS
        ]
        writer.writerow([result.name, *cells])
    return text.getvalue()


def summarise(results: Sequence[CaseResult], decimals: int | None) -> list[SummaryRow]:
    """Mean and sample standard deviation of every class, then of the organs, then of all classes.

    Cases that failed and classes without a score are left out. As in the paper's Table 5, the last
    two rows are the means of the rows above them: of the means, and of the standard deviations.

    Args:
        results: the cases.
        decimals: rounding of every mean, as ``Rules.decimals``; averages are of rounded means then,
            as in the official script.
    """
    rows = {}
    for label, name in NAMES.items():
        scores = [r.scores[label] for r in results if label in r.scores]
        scores = [score for score in scores if not math.isnan(score[0])]
        dsc = _mean_sd([score[0] for score in scores], decimals)
        nsd = _mean_sd([score[1] for score in scores], decimals)
        rows[label] = SummaryRow(name.capitalize(), len(scores), dsc, nsd)
    organs = [row for label, row in rows.items() if label != TUMOR]
    return [
        *rows.values(),
        _average("Organs", organs, decimals),
        _average("Average", list(rows.values()), decimals),
    ]


def summary_csv(rows: Iterable[SummaryRow]) -> str:
    """The summary in percent; empty where there is no value."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["Target", "Cases", "DSC_mean", "DSC_SD", "NSD_mean", "NSD_SD"])
    for row in rows:
        cells = ["" if math.isnan(v) else f"{100 * v:.2f}" for v in (*row.dsc, *row.nsd)]
        writer.writerow([row.target, row.cases, *cells])
    return text.getvalue()


def summary_markdown(rows: Iterable[SummaryRow], mode: str, results: Sequence[CaseResult]) -> str:
    """The summary as a markdown table, mean +- standard deviation in percent."""
    lines = ["| Target | Cases | DSC (%) | NSD (%) |", "|---|---:|---:|---:|"]
    lines += [
        f"| {row.target} | {row.cases} | {_percent(row.dsc)} | {_percent(row.nsd)} |"
        for row in rows
    ]
    failed = [result.name for result in results if result.error is not None]
    lines += ["", f"Mode {mode}; {len(results) - len(failed)} of {len(results)} cases scored."]
    if failed:
        lines += [f"Not scored: {', '.join(failed)}."]
    return "\n".join(lines) + "\n"


def _mean_sd(values: Sequence[float], decimals: int | None) -> tuple[float, float]:
    mean = float(np.mean(values)) if values else math.nan
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
    return rounded(mean, decimals), deviation


def _average(target: str, rows: Sequence[SummaryRow], decimals: int | None) -> SummaryRow:
    rows = [row for row in rows if row.cases]
    cases = max((row.cases for row in rows), default=0)

    def mean(values: Iterable[float]) -> float:
        known = [value for value in values if not math.isnan(value)]
        return float(np.mean(known)) if known else math.nan

    dsc = (rounded(mean(row.dsc[0] for row in rows), decimals), mean(row.dsc[1] for row in rows))
    nsd = (rounded(mean(row.nsd[0] for row in rows), decimals), mean(row.nsd[1] for row in rows))
    return SummaryRow(target, cases, dsc, nsd)


def _cell(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6f}".rstrip("0").ljust(3, "0")


def _percent(value: tuple[float, float]) -> str:
    mean, deviation = value
    if math.isnan(mean):
        return "-"
    if math.isnan(deviation):
        return f"{100 * mean:.2f}"
    return f"{100 * mean:.2f} ± {100 * deviation:.2f}"

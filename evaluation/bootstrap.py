"""Confidence intervals by the bootstrap over cases (Efron 1979), percentile method.

Cases, not lesions or classes, are drawn with replacement: lesions of one patient are not
independent. Every figure of a summary sees the same draws.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
LEVEL = 0.95
SEED = 0


@dataclass(frozen=True)
class Interval:
    """A figure over all cases and its 95 % interval; NaN where there are too few cases for it."""

    value: float
    low: float
    high: float


class Bootstrap:
    """Draws of ``cases`` cases: how often each is drawn, the same in every run.

    Args:
        cases: how many there are.
    """

    def __init__(self, cases: int) -> None:
        rng = np.random.default_rng(SEED)
        share = np.full(cases, 1 / max(cases, 1))
        draws = rng.multinomial(cases, share, RESAMPLES) if cases else np.zeros((RESAMPLES, 0))
        # The first row is all cases once: the value itself.
        self._weights = np.vstack((np.ones(cases), draws))

    def ratio(self, above: NDArray[np.float64], below: NDArray[np.float64]) -> Interval:
        """Of sums over the cases, such as detected lesions over all lesions.

        Args:
            above, below: one number per case.
        """
        return _interval(self._ratios(above, below), int(np.count_nonzero(below)))

    def mean(self, values: NDArray[np.float64]) -> Interval:
        """Of one number per case; NaN where a case has none."""
        return self.mean_of_means(values[None])

    def mean_of_means(self, rows: NDArray[np.float64]) -> Interval:
        """Mean over classes (rows) of the mean over cases (columns); NaN where there is none."""
        known = ~np.isnan(rows)
        rows, known = rows[known.any(1)], known[known.any(1)]
        if not len(rows):
            return Interval(math.nan, math.nan, math.nan)
        means = [self._ratios(np.where(k, row, 0.0), k) for row, k in zip(rows, known, strict=True)]
        with np.errstate(invalid="ignore"):
            values = np.nansum(means, 0) / np.sum(~np.isnan(means), 0)
        return _interval(values, int(known.any(0).sum()))

    def _ratios(
        self, above: NDArray[np.float64], below: NDArray[np.float64] | NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        with np.errstate(invalid="ignore"):
            return np.asarray((self._weights @ above) / (self._weights @ below), np.float64)


def _interval(values: NDArray[np.float64], cases: int) -> Interval:
    """Of the value over all cases and those of the draws; a draw without any says nothing."""
    value, draws = float(values[0]), values[1:][np.isfinite(values[1:])]
    if cases < 2 or not draws.size or math.isnan(value):
        return Interval(value, math.nan, math.nan)
    low, high = np.quantile(draws, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Interval(value, float(low), float(high))

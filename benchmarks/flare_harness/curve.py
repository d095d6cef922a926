"""A quantity over time: sampled by a thread, summed up as the challenge does and rightly."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, TypeVar

INTERVAL_S = 0.1

T = TypeVar("T")


@dataclass(frozen=True)
class Curve:
    """Samples of one quantity.

    Attributes:
        seconds: when each sample was taken, from the start of the measurement.
        values: the samples, in the quantity's own unit.
    """

    seconds: tuple[float, ...]
    values: tuple[float, ...]

    @property
    def peak(self) -> float:
        """The largest sample."""
        return max(self.values, default=0.0)

    @property
    def official_area(self) -> float:
        """The challenge's area under the curve: the sum of the samples times 0.1 s.

        The organisers' sampler sleeps 0.1 s between readings, so that its samples are in truth a
        little further apart and its sum a little lower than this one, whose clock does not drift.
        """
        return sum(self.values) * INTERVAL_S

    @property
    def area(self) -> float:
        """The true area under the curve (trapezoids between the moments of sampling)."""
        return sum(
            (t1 - t0) * (v0 + v1) / 2
            for t0, t1, v0, v1 in zip(
                self.seconds, self.seconds[1:], self.values, self.values[1:], strict=False
            )
        )


class Sampler(Generic[T]):
    """Calls ``read`` at fixed intervals while its ``with`` block runs.

    Ticks are counted from the start, so that slow readings do not stretch the intervals; ticks that
    were missed are skipped. Readings that return None (nothing to be seen yet) are left out.

    Args:
        read: takes one sample.
        interval_s: seconds between samples.
    """

    def __init__(self, read: Callable[[], T | None], interval_s: float = INTERVAL_S) -> None:
        self._read, self._interval = read, interval_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._start = 0.0
        self._samples: list[tuple[float, T]] = []
        self._error: Exception | None = None

    def __enter__(self) -> Sampler[T]:
        self._start = time.perf_counter()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        if self._error is not None and error is None:
            raise self._error

    @property
    def samples(self) -> list[tuple[float, T]]:
        """(seconds from the start, sample) so far."""
        return list(self._samples)

    def curve(self, value: Callable[[T], float]) -> Curve:
        """The curve of one quantity of the samples."""
        samples = self.samples
        return Curve(tuple(t for t, _ in samples), tuple(value(s) for _, s in samples))

    def _run(self) -> None:
        tick = 0
        while not self._stop.is_set():
            try:
                sample = self._read()
            except Exception as error:
                self._error = error
                return
            now = time.perf_counter() - self._start
            if sample is not None:
                self._samples.append((now, sample))
            tick = max(tick + 1, int(now / self._interval))
            self._stop.wait(max(0.0, tick * self._interval - now))

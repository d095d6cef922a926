"""Many scans with one loaded model: the next is read and the last written while one computes."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from inference.atomic import remove_leftovers
from inference.cases import Case
from inference.description import Decode
from inference.doubts import doubts
from inference.errors import AbdoboxError, OutputError, ScanError, one_line
from inference.progress import Progress
from inference.report import CaseReport, RunReport
from inference.segmenter import Segmentation, Segmenter
from inference.volume import Volume, read_volume


@dataclass(frozen=True)
class BatchOptions:
    """How to segment: ``decode`` and ``step`` default to the model's.

    ``skip_existing`` leaves out cases whose labels are there; ``debug`` prints tracebacks.
    """

    decode: Decode | None = None
    step: float | None = None
    skip_existing: bool = False
    debug: bool = False


@dataclass(frozen=True)
class _Written:
    case: Case
    report: CaseReport
    index: int
    future: Future[float]


class Batch:
    """Segments cases one after another; a case that fails is reported and the others go on.

    Args:
        load: loads the model; called while the first scan is being read, and only if there is one.
        options: see :class:`BatchOptions`.
        progress: what to tell a person.
        report: filled as cases end.

    Attributes:
        segmenter: the model, once it is loaded.
    """

    def __init__(
        self,
        load: Callable[[], Segmenter],
        options: BatchOptions,
        progress: Progress,
        report: RunReport,
    ) -> None:
        self.segmenter: Segmenter | None = None
        self._load, self._options = load, options
        self._progress, self._report = progress, report
        self._count = 0

    def run(self, cases: list[Case]) -> None:
        """Segment ``cases`` in order. Failures end up in the report, not in an exception.

        Raises:
            AbdoboxError: the model cannot be loaded.
        """
        for folder in {case.target.parent for case in cases}:
            remove_leftovers(folder)
        todo = [case for case in cases if not self._skipped(case)]
        self._count = len(todo)
        if not todo:
            return
        with ThreadPoolExecutor(1) as writer, ThreadPoolExecutor(1) as reader:
            ahead = _ahead(todo, reader)
            self.segmenter = segmenter = self._load()
            pending: _Written | None = None
            try:
                for index, (case, read) in enumerate(ahead, 1):
                    done = self._segment(segmenter, case, read, index)
                    # The last labels must be on disk before more are handed over: one at a time.
                    last, pending = pending, None
                    self._settle(last)
                    if done is not None:
                        result, report = done
                        future = writer.submit(_write, result, case.target)
                        pending = _Written(case, report, index, future)
            finally:  # also of a run that is ended: these labels are on their way
                self._settle(pending)

    def _skipped(self, case: Case) -> bool:
        # Unlike Path.exists, False where nobody may look: writing there says so.
        if not (self._options.skip_existing and os.path.exists(case.target)):  # noqa: PTH110
            return False
        self._report.cases.append(CaseReport(case.name, str(case.source), "skipped"))
        return True

    def _segment(
        self, segmenter: Segmenter, case: Case, read: Future[tuple[Volume, float]], index: int
    ) -> tuple[Segmentation, CaseReport] | None:
        self._progress.status(index, self._count, case.name, "reading", 0.0)
        start = time.perf_counter()
        try:
            volume, seconds = read.result()
            waited = time.perf_counter() - start
            result = segmenter.segment(
                volume,
                decode=self._options.decode,
                step=self._options.step,
                on_stage=lambda stage: self._progress.status(
                    index, self._count, case.name, stage, time.perf_counter() - start
                ),
            )
        except Exception as error:
            self._failed(case, error)
            return None
        warnings = (*result.warnings, *doubts(result.labels, result.grid))
        for warning in warnings:
            self._progress.warning(f"{case.source}: {warning}")
        report = CaseReport(
            case.name,
            str(case.source),
            "done",
            {
                **result.timings,
                "read": seconds,
                "waited": waited,
                "total": time.perf_counter() - start,
            },
            result.grid.shape,
            result.grid.spacing,
            result.windows,
            warnings,
        )
        return result, report

    def _settle(self, written: _Written | None) -> None:
        """Wait for a case's labels to be on disk and report it."""
        if written is None:
            return
        try:
            written.report.seconds["write"] = written.future.result()
        except Exception as error:
            self._failed(written.case, error)
            return
        self._report.cases.append(written.report)
        total = written.report.seconds["total"]
        self._progress.done(written.index, self._count, written.case.name, total)

    def _failed(self, case: Case, error: Exception) -> None:
        line = str(error) if isinstance(error, ScanError | OutputError) else explained(case, error)
        if self._options.debug:
            traceback.print_exception(error)
        self._progress.error(line)
        self._report.cases.append(CaseReport(case.name, str(case.source), "failed", error=line))


def explained(case: Case | None, error: Exception) -> str:
    """One line about an error that does not name the scan itself."""
    subject = f"{case.source}: " if case else ""
    if isinstance(error, AbdoboxError):
        return one_line(f"{subject}{error}")
    what = " ".join(f"{type(error).__name__}: {error}".split())
    return one_line(f"{subject}internal error ({what}); please report it, with --debug")


def _ahead(
    cases: list[Case], reader: ThreadPoolExecutor
) -> Iterator[tuple[Case, Future[tuple[Volume, float]]]]:
    """Each case with its volume on the way: while one is worked on, the next is being read.

    The first is being read from this call on.
    """
    coming = reader.submit(_read, cases[0].source)

    def pairs(
        coming: Future[tuple[Volume, float]],
    ) -> Iterator[tuple[Case, Future[tuple[Volume, float]]]]:
        for case, following in zip(cases, [*cases[1:], None], strict=True):
            current = coming
            current.exception()  # waits, so that two volumes at most are in memory
            if following is not None:
                coming = reader.submit(_read, following.source)
            yield case, current

    return pairs(coming)


def _read(path: Path) -> tuple[Volume, float]:
    start = time.perf_counter()
    volume = read_volume(path)
    return volume, time.perf_counter() - start


def _write(result: Segmentation, path: Path) -> float:
    start = time.perf_counter()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            path.parent, f"cannot be made ({error.strerror})", "check the path and its permissions"
        ) from error
    result.write(path)
    return time.perf_counter() - start

"""Many scans with one loaded model, several at a time: their networks take turns, and beside one
scan's network the others are read, resampled, decoded and written.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

from ..errors import AbdoboxError, OutputError, ScanError, one_line
from ..findings.document import document
from ..findings.doubts import Doubts
from ..findings.page.case_page import case_page
from ..machine.memory import Admit, SharedMemory
from ..machine.threads import worker_count
from ..scan.atomic import remove_leftovers
from ..scan.formats import check_formats
from ..scan.volume import read_series, read_volume
from ..segmentation import Segmentation
from ..segmenter import Segmenter
from ..types import Decode
from .cases import Case
from .outputs import Said, Wanted, check_places, split_folder, write_case, write_failure
from .progress import Progress
from .run_report import CaseReport, RunReport, doubts_json

_MOST_JOBS = 8


@dataclass(frozen=True)
class BatchOptions:
    """How to segment: ``decode`` and ``step`` default to the model's.

    ``jobs`` is how many scans are worked on at a time, by default :func:`usual_jobs`;
    ``skip_existing`` leaves out cases of which all that is ``wanted`` is there; ``debug`` prints
    tracebacks.
    """

    decode: Decode | None = None
    step: float | None = None
    jobs: int | None = None
    skip_existing: bool = False
    debug: bool = False
    wanted: Wanted = field(default_factory=Wanted)


class _EndedError(Exception):
    """The run has ended while a scan was worked on."""


@dataclass
class _Job:
    """One scan's way through a thread.

    ``writing`` once nothing must stop it any more; ``trace`` of its failure, if asked for. (The
    error itself would keep the scan in memory until the cases before it are done.)
    """

    case: Case
    index: int
    writing: bool = False
    trace: str | None = None


class Batch:
    """Segments cases, several at a time; a case that fails is reported and the others go on.

    Args:
        load: loads the model; called while the first scans are read, and only if there are any.
        options: see :class:`BatchOptions`.
        progress: what to tell a person.
        report: filled as cases end, in their order.

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
        self._loaded: Future[tuple[Segmenter, float]] = Future()
        self._memory = SharedMemory()
        self._ended, self._gate = False, threading.Lock()

    def run(self, cases: list[Case]) -> None:
        """Segment ``cases``. Failures end up in the report, not in an exception.

        Raises:
            AbdoboxError: the model cannot be loaded.
        """
        for folder in {case.target.parent for case in cases}:
            remove_leftovers(folder)
        if self._options.wanted.split:
            for case in cases:
                remove_leftovers(split_folder(case))
        todo = [case for case in cases if not self._skipped(case)]
        self._count = len(todo)
        if not todo:
            return
        threads = ThreadPoolExecutor(min(self._options.jobs or usual_jobs(), len(todo)))
        jobs = [_Job(case, index) for index, case in enumerate(todo, 1)]
        running = deque((job, threads.submit(self._work, job)) for job in jobs)
        try:
            self.segmenter = self._load()
            self.segmenter.prepare(self._options.step)
            self._loaded.set_result((self.segmenter, time.perf_counter()))
            while running:
                self._settle(*running[0])
                running.popleft()
        except BaseException:
            self._end(running)
            raise
        finally:
            # Threads that compute still are left behind; the process is about to end.
            threads.shutdown(wait=not self._ended, cancel_futures=True)

    def _skipped(self, case: Case) -> bool:
        if not (self._options.skip_existing and self._options.wanted.there(case)):
            return False
        self._report.cases.append(CaseReport(case.name, str(case.source), "skipped"))
        return True

    def _work(self, job: _Job) -> CaseReport:
        """All of one case, in a thread of its own."""
        case = job.case
        try:
            formats = [*case.files(self._options.wanted.formats)]
            check_formats(case.source, formats, case.series is not None)
            check_places(case, self._options.wanted)
            with self._memory.place() as admit:
                result, said, report = self._segment(job, admit)
                with self._gate:
                    self._check()
                    job.writing = True
                start = time.perf_counter()
                write_case(result, said, case, self._options.wanted)
                report.seconds["write"] = time.perf_counter() - start
                return report
        except (_EndedError, CancelledError):
            raise
        except Exception as error:
            if self._options.debug:
                job.trace = traceback.format_exc()
            known = isinstance(error, ScanError | OutputError)
            line = str(error) if known else explained(case, error)
            if self._options.wanted.html:
                with suppress(OutputError):  # the reason is said in any case
                    write_failure(case, line)
            return CaseReport(case.name, str(case.source), "failed", error=line)

    def _segment(self, job: _Job, admit: Admit) -> tuple[Segmentation, Said, CaseReport]:
        """Labels without their scan, what is wanted to be said of them, and what is reported."""
        case, begun = job.case, time.perf_counter()

        def tell(stage: str) -> None:
            self._check()
            seconds = time.perf_counter() - begun
            self._progress.status(job.index, self._count, case.name, stage, seconds)

        tell("reading")
        if case.series is None:
            volume = read_volume(case.source, admit)
        else:
            volume = read_series(case.series, admit)
        read = time.perf_counter()
        segmenter, loaded = self._loaded.result()
        # What went by while the model was being loaded has cost nothing.
        start = max(begun, loaded)
        result = segmenter.segment(
            volume, decode=self._options.decode, step=self._options.step, on_stage=tell
        )
        tell("findings")
        computed = time.perf_counter()
        doubts = result.doubts()
        wanted = self._options.wanted
        warnings = (*result.warnings, *doubts.lines(wanted.labels))
        for warning in warnings:
            self._progress.warning(f"{case.source}: {warning}")
        said = self._said(case.name, segmenter, result, doubts)
        report = CaseReport(
            case.name,
            str(case.source),
            "done",
            {
                **result.timings,
                "findings": time.perf_counter() - computed,
                "read": read - begun,
                "waited": max(0.0, read - start),
                "total": time.perf_counter() - start,
            },
            result.grid.shape,
            result.grid.spacing,
            result.windows,
            warnings,
            doubts=doubts_json(doubts, wanted.labels),
        )
        return result.without_image(), said, report

    def _said(self, name: str, segmenter: Segmenter, result: Segmentation, doubts: Doubts) -> Said:
        wanted, description = self._options.wanted, segmenter.description
        if not (wanted.statistics or wanted.html):
            return Said(remarks=doubts.remarks(wanted.labels))
        model = {key: getattr(description, key) for key in ("name", "version", "sha256")}
        measured = result.statistics()
        statistics = document(name, measured, doubts, result.grid, model, wanted.labels)
        page = None
        if wanted.html and result.image is not None:
            page = case_page(statistics, result.image, result.labels, result.grid, result.warnings)
        statistics_wanted = statistics if wanted.statistics else None
        return Said(statistics_wanted, page, doubts.remarks(wanted.labels))

    def _check(self) -> None:
        """Stop a scan whose run has ended."""
        if self._ended:
            raise _EndedError

    def _settle(self, job: _Job, future: Future[CaseReport]) -> None:
        """Wait for a case's labels to be on disk, or for its failure, and report it."""
        report = future.result()
        self._report.cases.append(report)
        if report.error is None:
            self._progress.done(job.index, self._count, report.name, report.seconds["total"])
            return
        if job.trace:
            sys.stderr.write(job.trace)
        self._progress.error(report.error)

    def _end(self, running: Iterable[tuple[_Job, Future[CaseReport]]]) -> None:
        """Begin nothing more, and report what is done and the labels that are on their way."""
        with self._gate:
            self._ended = True
        self._loaded.cancel()
        reported = {id(report) for report in self._report.cases}
        for job, future in running:
            if (job.writing or _done(future)) and id(future.result()) not in reported:
                self._settle(job, future)


def _done(future: Future[CaseReport]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


def usual_jobs() -> int:
    """Scans at a time: one in the network, and the others beside it on the other processors."""
    return min(1 + worker_count() // 2, _MOST_JOBS)


def explained(case: Case | None, error: Exception) -> str:
    """One line about an error that does not name the scan itself."""
    subject = f"{case.source}: " if case else ""
    if isinstance(error, AbdoboxError):
        return one_line(f"{subject}{error}")
    if isinstance(error, MemoryError):  # of what comes before or behind the network
        return one_line(f"{subject}there is not enough memory; give more, or crop the scan")
    what = " ".join(f"{type(error).__name__}: {error}".split())
    return one_line(f"{subject}internal error ({what}); please report it, with --debug")

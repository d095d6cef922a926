"""One call of the command line, from finding the scans to the closing line and the report."""

from __future__ import annotations

import argparse
import os
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from ..errors import AbdoboxError, OutputError
from ..labels import NAMES
from ..many.batch import Batch, BatchOptions, explained
from ..many.cases import Case, find_cases
from ..many.folder_index import write_index
from ..many.outputs import Wanted, statistics_file
from ..many.progress import Progress
from ..many.run_report import CaseReport, RunReport
from ..many.shard import WHOLE, Shard
from ..many.statistics_table import write_table
from ..model.folder import WEIGHTS
from ..scan.atomic import discard_live, remove_leftovers
from ..segmenter import Segmenter
from .signals import Terminated

DONE, FAILED = 0, 1


class Run:
    """Segments what parsed arguments name, and says how it went.

    Args:
        args: of :func:`inference.cli.parser.parser`.
        progress: what to tell a person.
    """

    def __init__(self, args: argparse.Namespace, progress: Progress) -> None:
        self._args, self._progress = args, progress
        self._report = RunReport()
        self._count = 0
        self._folder: Path | None = None  # of the labels, where there are any
        self._problems: list[tuple[str, str]] = []  # of what did not become a case
        self._wanted = Wanted(
            args.labels or tuple(NAMES),
            args.split,
            args.statistics,
            args.format,
            args.seg_type,
            args.label_table,
            args.html,
        )
        options = BatchOptions(
            args.decode, args.step, args.jobs, args.skip_existing, args.debug, self._wanted
        )
        self._batch = Batch(self._load, options, progress, self._report)

    def __call__(self) -> int:
        """Segment everything. Returns 0, or 1 where anything that was asked for is missing.

        Raises:
            Terminated: the process was asked to leave; the report is written.
        """
        status = FAILED
        try:
            status = self._segment()
        except Terminated:
            self._progress.error(self.left())
            raise
        except Exception as error:
            if self._args.debug:
                traceback.print_exception(error)
            self._progress.error(explained(None, error))
        finally:
            try:
                written = [self._write_table(), self._write_index()]
            finally:  # whatever ends these
                written_report = self._write_report()
        return status if written_report and all(written) else FAILED

    def at_once(self) -> None:
        """Leave no partial file, but a report. For a process that is ended from another thread."""
        discard_live()
        self._progress.error(self.left())
        self._write_report()

    def left(self) -> str:
        """What an ended run has done and what it leaves."""
        done, failed = self._report.count("done"), self._report.count("failed")
        left = self._count - len(self._report.cases)
        return (
            f"terminated: {done} done, {failed} failed, {left} left: {self._args.output}; "
            "go on with --skip-existing"
        )

    def _segment(self) -> int:
        args, report = self._args, self._report
        self._wanted.check()
        # Its warnings name no file; what matters of them the reader says in its own words.
        warnings.filterwarnings("ignore", module="pydicom")
        found = find_cases(args.input, args.output, args.shard or WHOLE)
        report.left_out = found.left_out
        self._count = len(found.cases) + len(found.problems)
        self._check_report(found.cases)
        for warning in found.warnings:
            self._progress.warning(warning)
            report.warnings.append(warning)
        for problem in found.problems:
            self._progress.error(str(problem))
            name = Path(problem.subject).name
            self._problems.append((name, str(problem)))
            report.cases.append(CaseReport(name, problem.subject, "failed", error=str(problem)))
        self._folder = next((case.target.parent for case in found.cases), None)
        self._batch.run(found.cases)
        report.complete = True
        failed = report.count("failed")
        share = f" (share {args.shard})" if args.shard else ""
        skipped = f", {report.count('skipped')} skipped" if report.count("skipped") else ""
        left_out = f", {n} DICOM images left out" if (n := report.images_left_out) else ""
        self._progress.summary(
            f"{report.count('done')} done{skipped}, {failed} failed{left_out}{share}: {args.output}"
        )
        return FAILED if failed else DONE

    def _check_report(self, cases: list[Case]) -> None:
        """Raise OutputError where report and statistics would be one file."""
        if self._args.statistics and self._args.report is not None:
            report = os.path.realpath(self._args.report)
            for case in cases:
                if os.path.realpath(statistics_file(case)) == report:
                    cause = f"the statistics of {case.name} go there"
                    report, self._args.report = self._args.report, None
                    raise OutputError(f"--report {report}", cause, "name another file")

    def _load(self) -> Segmenter:
        args = self._args
        return Segmenter.load(
            WEIGHTS,
            args.device,
            model=args.model,
            resampler=args.resampler,
            precision=args.precision,
        )

    def _write_table(self) -> bool:
        """Whether there is a table of statistics, if one was asked for and any could be made."""
        if not self._args.statistics or self._folder is None or not self._folder.is_dir():
            return True
        return self._written(write_table)

    def _write_index(self) -> bool:
        """Whether there is a list of pages, if one was asked for and any could be made."""
        if not self._args.html or self._folder is None or not self._folder.is_dir():
            return True
        return self._written(partial(write_index, problems=self._problems))

    def _written(self, write: Callable[[Path, Shard], int]) -> bool:
        assert self._folder is not None
        try:
            write(self._folder, self._args.shard or WHOLE)
        except AbdoboxError as error:
            self._progress.error(str(error))
            return False
        return True

    def _write_report(self) -> bool:
        """Whether there is a report, if one was asked for."""
        if self._args.report is None:
            return True
        with suppress(OSError):  # writing says why; the labels' folder, where none were made
            self._args.report.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(self._args.report.parent)
        try:
            self._report.write(self._args.report, self._batch.segmenter)
        except AbdoboxError as error:
            self._progress.error(str(error))
            return False
        return True

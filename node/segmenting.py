"""The working process: one loaded model, one study after another, asked over a pipe.

It is a process of its own so that a file that takes it down (a decoder's fault, memory) does not
take the receiver with it. One JSON object a line: ``{"ready": seconds}`` once the model is loaded,
then for each ``{"folder": ...}`` an answer::

    {"results": 2, "failed": ["..."], "left_out": {"...": 3}, "warnings": ["..."], "seconds": 12.1}

It ends when its standard input does, whatever it computes: then the node is gone.
"""

from __future__ import annotations

import faulthandler
import io
import json
import os
import queue
import re
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or __package__ == "node":
    from inference.errors import AbdoboxError, one_line
else:
    from ..errors import AbdoboxError, one_line

if TYPE_CHECKING:
    from inference.many.cases import Case, Found
    from inference.segmenter import Segmenter

PARTIAL, RESULTS = "results.part", "results"
_ONE_SERIES = "series"


@dataclass(frozen=True)
class Order:
    """What is to be made of a study.

    Attributes:
        folder: its instances; results go below it.
        formats, seg_type, html: as the command line's.
        apart: series of which only a part is there: they get no result.
    """

    folder: str
    formats: list[str] = field(default_factory=lambda: ["dicom-seg"])
    seg_type: str = "labelmap"
    html: bool = False
    apart: list[str] = field(default_factory=list)

    def line(self) -> bytes:
        """For the pipe."""
        return json.dumps(asdict(self)).encode() + b"\n"


@dataclass(frozen=True)
class Outcome:
    """What came of it: ``results`` written, series that ``failed`` and why, images left out by
    reason.
    """

    results: int = 0
    failed: list[str] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def line(self) -> bytes:
        """For the pipe."""
        return json.dumps(asdict(self)).encode() + b"\n"


def segment_study(segmenter: Segmenter, order: Order) -> Outcome:
    """Segment the CT series of a study's folder, as the command line does those of any folder.

    Results that an earlier try has left are kept. They appear in ``results`` all at once.
    """
    if TYPE_CHECKING or __package__ == "node":
        from inference.many.batch import Batch, BatchOptions
        from inference.many.outputs import Wanted
        from inference.many.progress import Progress
        from inference.many.run_report import RunReport
    else:
        from ..many.batch import Batch, BatchOptions
        from ..many.outputs import Wanted
        from ..many.progress import Progress
        from ..many.run_report import RunReport

    begun = time.monotonic()
    folder = Path(order.folder)
    partial = folder / PARTIAL
    partial.mkdir(exist_ok=True)
    found = _find(folder, partial, set(order.apart))
    wanted = Wanted(formats=order.formats, seg_type=_seg_type(order.seg_type), html=order.html)
    options = BatchOptions(jobs=1, skip_existing=True, wanted=wanted)
    report = RunReport()
    Batch(lambda: segmenter, options, Progress(True, io.StringIO()), report).run(found.cases)
    left_out: Counter[str] = Counter()
    for out in found.left_out:
        left_out[out.reason] += out.images
    failed = [str(problem) for problem in found.problems if not _nothing_here(problem, found)]
    failed += [case.error for case in report.cases if case.error is not None]
    failed = [_unquoted(line) for line in failed]
    return Outcome(
        results=sum(path.suffix == ".dcm" for path in partial.iterdir()),
        failed=failed,
        left_out=dict(left_out),  # asdict takes a Counter apart
        warnings=[line for case in report.cases for line in case.warnings],
        seconds=round(time.monotonic() - begun, 3),
    )


def _find(folder: Path, partial: Path, apart: set[str]) -> Found:
    """The study's series; one alone would be named after a folder whose name changes."""
    if TYPE_CHECKING or __package__ == "node":
        from inference.many.cases import find_cases
    else:
        from ..many.cases import find_cases
    found = find_cases(folder, partial)
    cases: list[Case] = []
    for case in found.cases:
        if case.series and not apart.isdisjoint(one.series_uid for one in case.series.headers):
            continue
        of_folder = case.name == folder.name
        target = case.target.with_name(f"{_ONE_SERIES}.nii.gz") if of_folder else case.target
        cases.append(replace(case, target=target))
    return replace(found, cases=cases)


def _nothing_here(problem: AbdoboxError, found: Found) -> bool:
    """Whether it only says that no series is a CT to segment: for a node that is no failure."""
    return not found.cases and len(found.problems) == 1 and bool(found.left_out)


def _unquoted(line: str) -> str:
    """An error without a library's own words, which may quote what the data set holds."""
    known = "cannot be read by pydicom|internal error"
    return re.sub(rf"((?:{known}) \(\w+): .*\)", r"\1)", line)


def _seg_type(name: str) -> Any:
    return name


def serve(load: Callable[[], Callable[[Order], Outcome]]) -> None:
    """Load what answers orders, and answer them until standard input ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    orders: queue.Queue[bytes] = queue.Queue()
    threading.Thread(target=_listen, args=(orders,), daemon=True).start()

    def answer(line: bytes) -> None:
        answers.write(line)
        answers.flush()

    begun = time.monotonic()
    try:
        work = load()
    except Exception as error:  # nothing of any patient has been read yet
        said = str(error) if isinstance(error, AbdoboxError) else f"{type(error).__name__}: {error}"
        answer(json.dumps({"error": one_line(said)}).encode() + b"\n")
        return
    answer(json.dumps({"ready": round(time.monotonic() - begun, 3)}).encode() + b"\n")
    while True:
        order = Order(**json.loads(orders.get()))
        try:
            outcome = work(order)
        except AbdoboxError as error:
            outcome = Outcome(failed=[_unquoted(str(error))])
        except Exception as error:  # one study's fault, and not its contents' place in a log
            where = error.__traceback__
            while where is not None and where.tb_next is not None:
                where = where.tb_next
            line = f"{where.tb_frame.f_code.co_filename}:{where.tb_lineno}" if where else ""
            outcome = Outcome(failed=[one_line(f"internal error ({type(error).__name__}, {line})")])
        answer(outcome.line())


def _listen(orders: queue.Queue[bytes]) -> None:
    for line in sys.stdin.buffer:
        orders.put(line)
    os._exit(0)


def main(model: str, device: str) -> None:
    """The process: ``python -m node.segmenting MODEL DEVICE``, both may be empty."""
    faulthandler.enable()
    # They may quote what a data set holds.
    warnings.simplefilter("ignore")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

    def load() -> Callable[[Order], Outcome]:
        if TYPE_CHECKING or __package__ == "node":
            from inference.segmenter import Segmenter
        else:
            from ..segmenter import Segmenter
        segmenter = Segmenter.load(device=device or "auto", model=model or None)
        segmenter.prepare()
        return lambda order: segment_study(segmenter, order)

    serve(load)


if __name__ == "__main__":
    main(*sys.argv[1:3])

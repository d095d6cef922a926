"""How gpu.py runs its sections: each in its own time, whatever happens to the others."""

from __future__ import annotations

import gc
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.flare_harness.machine import Gpu, NoGpuError
from inference.engines.choice import with_index

Row = dict[str, Any]


@dataclass
class Bench:
    """What every section works with.

    Attributes:
        device: ``cuda:N`` (``cuda`` is made ``cuda:0``) or ``cpu``.
        quick: small scans and few repetitions.
        work: an empty folder.
        model: a model's folder.
        gpu: the device as NVML sees it; None without one.
        notes: what the reader of the results should know.
    """

    device: str
    quick: bool
    work: Path
    model: Path
    gpu: Gpu | None = None
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.device = with_index(self.device)
        if self.gpu is not None or not self.cuda:
            return
        try:
            self.gpu = Gpu(f"device={nvml_device(self.device)}")
        except NoGpuError as error:
            self.notes.append(f"no memory by NVML: {error}")

    @property
    def cuda(self) -> bool:
        """Whether this is about a CUDA device, and not a trial run on the CPU."""
        return self.device.startswith("cuda")


def nvml_device(device: str) -> str:
    """NVML's index or UUID of ``cuda`` or ``cuda:N``, which count the visible devices only."""
    index = int(device.partition(":")[2] or 0)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",")[index] if visible else str(index)


@dataclass(frozen=True)
class Section:
    """A part of the benchmark.

    Attributes:
        name: of the section in the results.
        run: yields rows (name to value); a row with ``ok`` is a check.
        budget_s: no further row is begun after this time, seconds.
    """

    name: str
    run: Callable[[Bench], Iterator[Row]]
    budget_s: float


def within(sections: list[Section], limit_s: float) -> list[Section]:
    """The sections with budgets that end before ``limit_s``, each cut by the same share.

    A tenth of the time, and no more than 20 s, is left for rows that overrun.
    """
    wanted = sum(section.budget_s for section in sections)
    share = min(1.0, (limit_s - min(20.0, 0.1 * limit_s)) / wanted)
    return [replace(section, budget_s=share * section.budget_s) for section in sections]


def run_sections(bench: Bench, sections: list[Section], out: Path) -> dict[str, Any]:
    """Run ``sections`` and write their rows to ``out`` (JSON) and beside it (Markdown).

    Returns:
        The document that was written.
    """
    document: dict[str, Any] = {
        "device": bench.device,
        "model": bench.model.name,
        "quick": bench.quick,
        "notes": bench.notes,
        "sections": {},
        "failed_checks": [],
    }
    for section in sections:
        print(f"== {section.name}", file=sys.stderr, flush=True)
        document["sections"][section.name] = _run(bench, section)
        _release()
        document["failed_checks"] = [
            f"{name}: {row.get('what')}"
            for name, result in document["sections"].items()
            for row in result["rows"]
            if row.get("ok") is False
        ]
        out.write_text(json.dumps(document, indent=1, default=str) + "\n")
        out.with_suffix(".md").write_text(markdown(document))
    print(markdown(document))
    return document


def _run(bench: Bench, section: Section) -> dict[str, Any]:
    rows: list[Row] = []
    result: dict[str, Any] = {"rows": rows}
    start = time.perf_counter()
    try:
        for row in section.run(bench):
            rows.append(row)
            if time.perf_counter() - start > section.budget_s:
                result["stopped"] = f"after {section.budget_s:.0f} s: rows are missing"
                break
    except Exception as error:
        result["error"] = f"{type(error).__name__}: {error}"
        result["traceback"] = traceback.format_exc().splitlines()[-12:]
        print(traceback.format_exc(), file=sys.stderr)
    result["seconds"] = round(time.perf_counter() - start, 2)
    return result


def _release() -> None:
    """Give back what a section, or its failure, still held."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def markdown(document: dict[str, Any]) -> str:
    """A table per section."""
    lines = [f"Device {document['device']}, model {document['model']}."]
    lines += [f"Note: {note}." for note in document["notes"]]
    lines += [f"FAILED: {check}" for check in document["failed_checks"]]
    for name, result in document["sections"].items():
        lines += ["", f"### {name} ({result['seconds']:.1f} s)", ""]
        columns = list(dict.fromkeys(key for row in result["rows"] for key in row))
        if columns:
            lines.append("| " + " | ".join(columns) + " |")
            lines.append("|" + "---|" * len(columns))
            for row in result["rows"]:
                lines.append("| " + " | ".join(_cell(row.get(c)) for c in columns) + " |")
        lines += [f"{key}: {result[key]}" for key in ("stopped", "error") if key in result]
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)

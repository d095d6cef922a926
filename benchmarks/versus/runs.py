"""Running the comparison: tools in turn, results kept in one JSON file as they come."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from benchmarks.environment import ROOT, child, describe
from benchmarks.process import Usage, measure
from benchmarks.versus.agreement import between
from benchmarks.versus.tools import OWN_NETWORKS, TOOLS, Task, case_name, fresh
from inference.model.description import ModelDescription
from inference.scan.atomic import write_atomically
from inference.scan.volume import read_labels

# Of the memory that is available at the start, what a tool may take before it is stopped.
MEMORY_SHARE = 0.9


@dataclass(frozen=True)
class Plan:
    """What to run.

    Attributes:
        scans: ``X_0000.nii.gz`` files.
        tools: names of :data:`benchmarks.versus.tools.TOOLS`; the first is the reference of ratios.
        model: folder of the model.
        runs: of each tool on each scan.
        device: ``cpu`` or ``cuda``.
        minutes: for everything; runs that are not done by then are left out.
        work: folder for labels and logs.
        minutes_each: for one run; a tool that takes longer is stopped, and the others still run.
    """

    scans: list[Path]
    tools: list[str]
    model: Path
    runs: int
    device: str
    minutes: float
    work: Path
    minutes_each: float = math.inf

    def turns(self) -> Iterator[tuple[Path, str]]:
        """(scan, tool) in the order of running: A B C A B C for each scan."""
        for scan in self.scans:
            for _ in range(self.runs):
                for tool in self.tools:
                    yield scan, tool


def load(path: Path) -> dict[str, Any]:
    """The document of earlier runs, or an empty one."""
    if path.exists():
        document: dict[str, Any] = json.loads(path.read_text())
        return document
    return {"runs": [], "agreement": {}}


def run(plan: Plan, path: Path) -> dict[str, Any]:
    """Carry out ``plan``, adding to ``path`` after every run. Returns the whole document.

    Raises:
        ValueError: ``path`` holds runs of another model or device.
    """
    document = load(path)
    setting = _setting(plan)
    if any(run[key] != value for run in document["runs"] for key, value in setting.items()):
        raise ValueError(f"{path} holds runs of another model or device: name another --out")
    document["machine"] = describe()
    deadline = time.monotonic() + 60 * plan.minutes
    read_device = _device_reader(plan.device)
    for scan, tool in plan.turns():
        left = deadline - time.monotonic()
        if left <= 0:
            _say(f"no time left for {tool} on {case_name(scan)}")
            continue
        usage, labels = _one(plan, scan, tool, min(left, 60 * plan.minutes_each), read_device)
        machine = {key: document["machine"][key] for key in ("commit", "processor", "cores")}
        document["runs"].append(
            {
                "case": case_name(scan), "tool": tool, **setting, "voxels": _voxels(scan),
                **asdict(usage), **machine,
                "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            }
        )  # fmt: skip
        if usage.ended == "done":
            _compare(document, plan, scan, tool, labels)
        write_atomically(path, json.dumps(document, indent=1).encode())
        _say(_summary(scan, tool, usage))
    return document


def _setting(plan: Plan) -> dict[str, str]:
    description = ModelDescription.load(plan.model)
    return {"device": plan.device, "model": description.name, "weights": description.sha256[:12]}


def _one(
    plan: Plan, scan: Path, tool: str, limit_s: float, read_device: Callable[[], float] | None
) -> tuple[Usage, Path]:
    name = case_name(scan)
    folder = fresh(plan.work / name / tool)
    task = Task(scan.resolve(), plan.model.resolve(), folder, plan.device)
    command = TOOLS[tool](task)
    usage = measure(
        command, plan.work / name / f"{tool}.log", cwd=ROOT, env=child(), limit_s=limit_s,
        limit_bytes=MEMORY_SHARE * psutil.virtual_memory().available, device_bytes=read_device,
    )  # fmt: skip
    if usage.ended == "done" and not task.labels.exists():
        usage = replace(usage, ended="nothing")
    return usage, task.labels


def _compare(document: dict[str, Any], plan: Plan, scan: Path, tool: str, labels: Path) -> None:
    """Agreement with the first tool's latest labels of the same case."""
    first = plan.tools[0]
    reference = plan.work / case_name(scan) / first / labels.name
    if tool == first or not OWN_NETWORKS.isdisjoint((tool, first)) or not reference.exists():
        return
    agreement = between(read_labels(labels)[0], read_labels(reference)[0])
    document["agreement"].setdefault(case_name(scan), {})[f"{tool} / {first}"] = agreement


def _voxels(scan: Path) -> int:
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(scan))
    reader.ReadImageInformation()
    x, y, z = reader.GetSize()
    return int(x * y * z)


def _device_reader(device: str) -> Callable[[], float] | None:
    if device == "cpu":
        return None
    from benchmarks.flare_harness.machine import MB, Gpu

    gpu = Gpu("device=0")
    return lambda: gpu.used_mb() * MB


def _summary(scan: Path, tool: str, usage: Usage) -> str:
    gigabytes = usage.peak_tree_bytes / 2**30
    return (
        f"{case_name(scan)} {tool}: {usage.ended}, {usage.seconds:.1f} s, "
        f"CPU {usage.cpu_s:.1f} s, {gigabytes:.2f} GiB"
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

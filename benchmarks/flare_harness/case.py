"""One case through one container, with everything that was seen of it."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.flare_harness.cgroup import Container, Usage
from benchmarks.flare_harness.curve import Curve, Sampler
from benchmarks.flare_harness.engine import Docker, Limits, Outcome, challenge_command
from benchmarks.flare_harness.machine import Gpu, Load, Machine
from benchmarks.flare_harness.output import header, output_problems


@dataclass(frozen=True)
class Result:
    """A case as it was measured.

    Attributes:
        name: the case's, without ``_0000.nii.gz``.
        scan: size (x, y, z) and spacing_mm (x, y, z) of the scan.
        command: docker's arguments.
        state: ``done``, ``failed`` (exit code), ``timeout`` or ``wrong output``.
        problems: what is wrong with the output, in words.
        outcome: the container's end.
        gpu_mb: the device's memory in use over time, MB; None without a GPU.
        cpu_percent, ram_mb: the whole machine's over time.
        container: the container's usage over time; empty where it cannot be seen.
    """

    name: str
    scan: dict[str, Any]
    command: list[str]
    state: str
    problems: list[str]
    outcome: Outcome
    gpu_mb: Curve | None
    cpu_percent: Curve
    ram_mb: Curve
    container: list[tuple[float, Usage]]

    def figures(self) -> dict[str, float | None]:
        """The numbers that the tables show. Memory in MB of 2^20 bytes, times in seconds."""
        gpu = self.gpu_mb
        return {
            "seconds": self.outcome.seconds,
            "gpu_idle_mb": gpu.values[0] if gpu and gpu.values else None,
            "gpu_max_mb": gpu.peak if gpu else None,
            "gpu_official_mb_s": gpu.official_area if gpu else None,
            "gpu_area_mb_s": gpu.area if gpu else None,
            "cpu_max_percent": self.cpu_percent.peak,
            "cpu_official_percent_s": self.cpu_percent.official_area,
            "ram_max_mb": self.ram_mb.peak,
            "ram_official_mb_s": self.ram_mb.official_area,
            "container_ram_max_mb": max((u.ram_mb for _, u in self.container), default=None),
            "container_cpu_s": max((u.cpu_s for _, u in self.container), default=None),
        }

    def document(self) -> dict[str, Any]:
        """The case as JSON values, samples included."""
        gpu = self.gpu_mb.values if self.gpu_mb else None
        return {
            "name": self.name,
            **self.scan,
            "state": self.state,
            "problems": self.problems,
            "exit_code": self.outcome.exit_code,
            "command": ["docker", *self.command],
            **{k: None if v is None else round(v, 3) for k, v in self.figures().items()},
            "log": self.outcome.log,
            "samples": {
                "seconds": [round(t, 3) for t in self.cpu_percent.seconds],
                "gpu_mb": None if gpu is None else [round(v, 1) for v in gpu],
                "cpu_percent": list(self.cpu_percent.values),
                "ram_mb": [round(v, 1) for v in self.ram_mb.values],
                "container": [
                    [round(t, 3), round(u.ram_mb, 1), round(u.cpu_s, 3)] for t, u in self.container
                ],
            },
        }


def run_case(
    scan: Path, image: str, out: Path, limits: Limits, *, gpu: Gpu | None, docker: Docker
) -> Result:
    """Run one scan in one container; its labels are moved to ``out``/labels.

    Args:
        scan: ``X_0000.nii.gz``.
        image: the image to run.
        out: existing folder of the results.
        limits: see :class:`Limits`.
        gpu: the device to watch.
        docker: the client.
    """
    case = scan.name.removesuffix(".nii.gz").removesuffix("_0000")
    name = f"flare-{uuid.uuid4().hex[:12]}"
    # The container's user may own what it writes: what cannot be removed is left to the system.
    with tempfile.TemporaryDirectory(prefix="flare_", ignore_cleanup_errors=True) as folder:
        work = Path(folder)
        work.chmod(0o755)
        for part, mode in (("inputs", 0o755), ("outputs", 0o777)):
            (work / part).mkdir()
            (work / part).chmod(mode)
        shutil.copyfile(scan, work / "inputs" / scan.name)
        (work / "inputs" / scan.name).chmod(0o644)
        command = challenge_command(image, name, work, limits)
        machine = Machine(gpu)
        loads: Sampler[Load] = Sampler(machine.load)
        usages: Sampler[Usage] = Sampler(Container(lambda: docker.pid(name)).usage)
        with loads, usages:
            outcome = docker.run(command, name, work / "log", limits.timeout_s)
        labels = work / "outputs" / f"{case}.nii.gz"
        problems = output_problems(scan, labels)
        if labels.is_file():
            (out / "labels").mkdir(exist_ok=True)
            shutil.copyfile(labels, out / "labels" / labels.name)
    return Result(
        case,
        header(scan),
        command,
        _state(outcome, problems),
        problems,
        outcome,
        loads.curve(lambda s: s.gpu_mb or 0.0) if gpu else None,
        loads.curve(lambda s: s.cpu_percent),
        loads.curve(lambda s: s.ram_mb),
        usages.samples,
    )


def _state(outcome: Outcome, problems: list[str]) -> str:
    if outcome.exit_code is None:
        return "timeout"
    if outcome.exit_code:
        return "failed"
    return "wrong output" if problems else "done"

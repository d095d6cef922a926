"""The figures of benchmarks.stages as Markdown."""

from __future__ import annotations

from typing import Any

from benchmarks import environment
from benchmarks.models import How

NETWORKS = ("organs network", "network")


def markdown(document: dict[str, Any]) -> str:
    """The tables."""
    cold, warm, walls = document["cold_s"], document["warm_s"], document["wall_s"]
    shape = " x ".join(str(n) for n in reversed(document["shape_zyx"]))
    lines = [
        environment.line(document["machine"]), "",
        f"{document['case']} ({shape}), model {document['model']}, {document['device']}, "
        f"{How(document['step'], document['precision']).text}, {document['windows']} windows; "
        f"medians of {document['runs']} runs; whole process "
        f"{walls['one case']:.2f} s, with the scan twice {walls['two cases']:.2f} s", "",
        "| stage | cold s | share | warm s |", "|---|---|---|---|",
    ]  # fmt: skip
    total = sum(cold.values())
    for stage, seconds in cold.items():
        second = f"{warm[stage]:.3f}" if stage in warm else "-"
        lines.append(f"| {stage} | {seconds:.3f} | {seconds / total:.1%} | {second} |")
    lines.append(f"| sum | {total:.3f} | 100% | {sum(warm.values()):.3f} |")
    outside = ", ".join(
        f"{1 - sum(of.get(name, 0.0) for name in NETWORKS) / sum(of.values()):.1%} of the {what}"
        for of, what in ((cold, "process"), (warm, "time of a further scan"))
    )
    lines += ["", f"Outside the networks: {outside}."]
    largest = ", ".join(
        f"{n} {seconds:.3f} s" for n, seconds in [*document["import_s"].items()][:8]
    )
    lines += ["", f"Importing, by package, under -X importtime: {largest}."]
    if roof := document.get("roofline"):
        lines += [
            "",
            f"Roofline ({roof['precision']}): peak {roof['peak_gflops_per_s']:.0f} GFLOP/s, memory "
            f"{roof['bandwidth_gbytes_per_s']:.1f} GB/s (triad); the warm network's "
            f"{roof['gflop']:.0f} GFLOP and {roof['gbyte']:.1f} GB need at least "
            f"{roof['least_s']:.2f} s, took {roof['measured_s']:.2f} s "
            f"({roof['reached_gflops_per_s']:.0f} GFLOP/s): {roof['share_of_roofline']:.0%} of the "
            "roofline.",
        ]
    return "\n".join(lines) + "\n"

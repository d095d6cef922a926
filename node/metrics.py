"""Counters and gauges in Prometheus' text format (version 0.0.4)."""

from __future__ import annotations

import threading
from collections.abc import Mapping


class Counter:
    """A number that grows, in total or by label; any thread may add."""

    def __init__(self, name: str, text: str, label: str = "") -> None:
        self.name, self.text, self.label = name, text, label
        self._values: dict[str, float] = {} if label else {"": 0.0}
        self._lock = threading.Lock()

    def add(self, value: float = 1.0, of: str = "") -> None:
        """Count; ``of`` is the label's value."""
        with self._lock:
            self._values[of] = self._values.get(of, 0.0) + value

    def values(self) -> dict[str, float]:
        """By the label's value."""
        with self._lock:
            return dict(self._values)


class Metrics:
    """What is counted while the node runs."""

    def __init__(self) -> None:
        self.received = Counter("instances_received_total", "Instances stored and acknowledged.")
        self.refused = Counter("instances_refused_total", "Instances answered with a failure.")
        self.rejected = Counter(
            "associations_rejected_total", "Connections and associations refused."
        )
        self.studies = Counter("studies_total", "Studies that have reached a state.", "state")
        self.in_part = Counter(
            "studies_in_part_total", "Studies sent without those of their series that failed."
        )
        self.sent = Counter("results_sent_total", "Results taken by a destination.", "destination")
        self.send_failures = Counter("send_failures_total", "Tries that failed.", "destination")
        self.work_seconds = Counter("work_seconds_sum", "Seconds of work on studies.")
        self.work_count = Counter("work_seconds_count", "Studies worked on.")
        self.worker_starts = Counter("worker_starts_total", "Starts of the working process.")

    def text(self, gauges: Mapping[str, Mapping[str, float] | float]) -> str:
        """All of it, and gauges: a number, or numbers by the value of a label ``state``."""
        lines: list[str] = []
        for one in vars(self).values():
            if one in (self.work_seconds, self.work_count):
                continue
            lines += _series(one.name, one.text, "counter", one.values(), one.label)
        name = "work_seconds"
        lines += [f"# HELP abdobox_node_{name} Seconds of work on a study.",
                  f"# TYPE abdobox_node_{name} summary",
                  f"abdobox_node_{name}_sum {self.work_seconds.values()['']:g}",
                  f"abdobox_node_{name}_count {self.work_count.values()['']:g}"]  # fmt: skip
        for name, value in gauges.items():
            values = {"": value} if isinstance(value, int | float) else dict(value)
            label = "" if isinstance(value, int | float) else "state"
            lines += _series(name, "Now.", "gauge", values, label)
        return "\n".join(lines) + "\n"


def _series(name: str, text: str, kind: str, values: Mapping[str, float], label: str) -> list[str]:
    full = f"abdobox_node_{name}"
    lines = [f"# HELP {full} {text}", f"# TYPE {full} {kind}"]
    for key, value in sorted(values.items()):
        where = f'{{{label}="{_escaped(key)}"}}' if label else ""
        lines.append(f"{full}{where} {value:.15g}")
    return lines


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")

"""What is kept of a run for a machine elsewhere: journal, report, and checkpoints in parts."""

from __future__ import annotations

import shutil
from pathlib import Path

from training.learn import checkpoint
from training.ship import parts

CHECKPOINT_PART_BYTES = 16 * parts.MIB
# Beside the checkpoints; all small.
KEPT = ("log.jsonl", "recipe.json", "report.md", "curve.png")


def keep(run: Path, out: Path, kept: dict[str, int]) -> None:
    """Bring what has changed in a run's folder into ``out``.

    Args:
        run, out: folders.
        kept: name to time of change (ns) of what is there already; brought up to date.
    """
    for name in (checkpoint.LAST, checkpoint.BEST, *KEPT):
        path = run / name
        if not path.exists() or path.stat().st_mtime_ns == kept.get(name):
            continue
        changed = path.stat().st_mtime_ns
        if name in KEPT:
            shutil.copyfile(path, out / name)
        else:
            parts.split(path, out, CHECKPOINT_PART_BYTES)
        kept[name] = changed


def restore(out: Path, run: Path) -> None:
    """A run's folder from what was kept of it.

    Raises:
        PartsError: a part is missing or damaged, or there is no checkpoint.
    """
    if not parts.exists(out, checkpoint.LAST):
        raise parts.PartsError(out, "holds no checkpoint", "name the folder that train has kept")
    for name in (checkpoint.BEST, checkpoint.LAST):
        if parts.exists(out, name):
            parts.join(out, name, run / name)
    for name in KEPT:
        if (out / name).exists():
            shutil.copyfile(out / name, run / name)


def step_kept(out: Path, run: Path) -> int:
    """How far what was kept has come."""
    copy = run / "kept.pt"
    parts.join(out, checkpoint.LAST, copy)
    step = step_of(copy)
    copy.unlink()
    return step


def step_of(path: Path) -> int:
    """How far a checkpoint has come; -1 where there is none."""
    return int(checkpoint.load(path)["position"]["step"]) if path.exists() else -1

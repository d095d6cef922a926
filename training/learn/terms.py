"""What a training set out with. It goes on with the same terms, or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.learn import checkpoint

# Settings of a recipe that no step depends on.
FREE = ("name", "title", "decode")
# Key in a checkpoint: (what it is called, what to do about it).
NAMES = {
    "intensity_hu": ("intensity statistics", "take the same store"),
    "held_out": ("patients held out", "hold out the same"),
    "recipe": ("settings in its recipe", "take the same, or begin anew with --start-from"),
    "schedule_minutes": ("--schedule-minutes", "give the same, or begin anew with --start-from"),
    "label_maps": ("--label-maps", "give the same"),
}


def check(terms: Mapping[str, Any], state: Mapping[str, Any], out: Path) -> None:
    """Compare a training's terms with a checkpoint's; what the checkpoint does not say may differ.

    Args:
        terms: by the keys of :data:`NAMES`, plain values as they are written.
        state: the checkpoint.
        out: folder of the run.

    Raises:
        CheckpointError: naming the first that differs.
    """
    for key, (what, remedy) in NAMES.items():
        if key in terms and key in state and _plain(terms[key]) != _plain(state[key]):
            raise checkpoint.CheckpointError(out, f"was trained with other {what}", remedy)


def check_held_out(
    held_out: tuple[str, ...], other: Mapping[str, Any], path: Path, out: Path
) -> None:
    """Whether first weights may come from another training: it must not have seen the held-out.

    Raises:
        CheckpointError: it trained on one of the patients.
    """
    seen = sorted({*held_out} - {*other.get("held_out", [])})
    if seen:
        raise checkpoint.CheckpointError(
            path,
            f"has not held out {', '.join(seen)}, on whom {out} is to be validated",
            "start from a training that held them out too",
        )


def _plain(value: Any) -> Any:
    """Tuples as lists, as they come back from a file, and without what is free."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items() if key not in FREE}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value

"""The report of a finished training: the paper's Table 4 in figures of this run, and its curve."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from training.learn.journal import read_journal
from training.recipe import Recipe

SIZE = (800, 480)
MARGIN = 50
LOSS_COLOR, DICE_COLOR = (178, 24, 43), (33, 102, 172)
Curve = Sequence[tuple[float, float]]


class Emissions:
    """Greenhouse gas of a training in kg CO2eq, where codecarbon is installed.

    Attributes:
        kilograms: of this sitting; None without codecarbon.
    """

    def __init__(self) -> None:
        self.kilograms: float | None = None

    @contextlib.contextmanager
    def measured(self) -> Iterator[None]:
        """Measure what runs inside."""
        try:
            from codecarbon import OfflineEmissionsTracker
        except ImportError:
            yield
            return
        # Offline: no request leaves the machine. The country decides how much carbon a
        # kilowatt-hour costs; set the variable to yours.
        country = os.environ.get("CODECARBON_COUNTRY_ISO_CODE", "USA")
        tracker = OfflineEmissionsTracker(
            country_iso_code=country, save_to_file=False, log_level="error"
        )
        tracker.start()
        try:
            yield
        finally:
            self.kilograms = tracker.stop()


def write_report(run: Path, recipe: Recipe) -> None:
    """``report.md`` and ``curve.png`` in the run's folder, over all sittings."""
    events = read_journal(run)
    emitted = [float(e["kilograms"]) for e in events if e["kind"] == "emissions"]
    kilograms = sum(emitted) if emitted else None
    training = [e for e in events if e["kind"] == "training"]
    losses = [(e["step"], e["loss"]) for e in training]
    scores = [
        (e["step"], e["mean_dice"])
        for e in events
        if e["kind"] == "validation" and not math.isnan(e["mean_dice"])
    ]
    draw_curves(losses, scores).save(run / "curve.png")
    seconds = training[-1]["seconds"] if training else 0.0
    (run / "report.md").write_text(
        protocol(recipe, seconds, kilograms, losses, scores), encoding="utf-8"
    )


def protocol(
    recipe: Recipe, seconds: float, kilograms: float | None, losses: Curve, scores: Curve
) -> str:
    """Markdown table with the rows of the paper's Table 4."""
    net, settings = recipe.network.architecture(), recipe.optimisation
    optimizer = "AdamW"
    if settings.optimizer == "sgd":
        optimizer = f"SGD with Nesterov momentum (µ = {settings.momentum})"
    decay = "poly, exponent 0.9" if settings.decay == "poly" else "cosine"
    selected = ", ".join(map(str, recipe.loss.selected)) or "none (normal compound loss)"
    rows = {
        "Recipe": recipe.name,
        "Network initialization": "He normal",
        "Batch size": str(recipe.sampling.batch),
        "Patch size": " × ".join(map(str, recipe.sampling.patch)),
        "Input spacing (z, y, x)": ", ".join(map(str, recipe.sampling.spacing)) + " mm",
        "Total epochs": f"{settings.epochs} of {settings.steps_per_epoch} steps",
        "Steps done": str(losses[-1][0] if losses else 0),
        "Optimizer": optimizer,
        "Initial learning rate": str(settings.rate),
        "Lr decay schedule": f"{decay}, warm-up {100 * settings.warmup:g} %",
        "Training time": f"{seconds / 3600:.2f} h",
        "Loss function": f"BCE minus Dice; selected classes: {selected}",
        "Number of model parameters": f"{net.parameters() / 1e6:.2f} M",
        "Multiply-accumulates per patch": f"{net.macs(recipe.sampling.patch) / 1e9:.1f} G",
        "CO2eq": "not measured" if kilograms is None else f"{kilograms:.3f} kg",
        "Last loss": f"{losses[-1][1]:.4f}" if losses else "-",
        "Last quick mean DSC": f"{scores[-1][1]:.4f}" if scores else "-",
    }
    lines = [f"| {name} | {value} |" for name, value in rows.items()]
    head, tail = ["| Training protocol | |", "|---|---|"], ["", "![curve](curve.png)", ""]
    return "\n".join([*head, *lines, *tail])


def draw_curves(losses: Curve, scores: Curve) -> Image.Image:
    """Loss (red, left axis) and mean DSC of the quick validation (blue, right axis, 0 to 1)."""
    image = Image.new("RGB", SIZE, "white")
    draw = ImageDraw.Draw(image)
    last = max([step for step, _ in (*losses, *scores)], default=1)
    values = [value for _, value in losses] or [0.0]
    low, high = min(values), max(values)
    high = high if high > low else low + 1
    draw.rectangle((MARGIN, MARGIN, SIZE[0] - MARGIN, SIZE[1] - MARGIN), outline="black")
    for curve, bounds, color in (
        (losses, (low, high), LOSS_COLOR),
        (scores, (0.0, 1.0), DICE_COLOR),
    ):
        points = [
            _place(step / last, (v - bounds[0]) / (bounds[1] - bounds[0])) for step, v in curve
        ]
        if len(points) > 1:
            draw.line(points, fill=color, width=2)
    for k in range(5):
        share = k / 4
        x, _ = _place(share, 0)
        _, y = _place(0, share)
        draw.text((x - 10, SIZE[1] - MARGIN + 8), f"{share * last:.0f}", fill="black")
        draw.text((4, y - 6), f"{low + share * (high - low):.2f}", fill=LOSS_COLOR)
        draw.text((SIZE[0] - MARGIN + 8, y - 6), f"{share:.2f}", fill=DICE_COLOR)
    draw.text((MARGIN, 20), "loss", fill=LOSS_COLOR)
    draw.text((MARGIN + 60, 20), "mean DSC of the validation scans", fill=DICE_COLOR)
    draw.text((SIZE[0] // 2, SIZE[1] - 20), "step", fill="black")
    return image


def _place(right: float, up: float) -> tuple[float, float]:
    """Pixel of a point given as shares of the axes."""
    return (MARGIN + right * (SIZE[0] - 2 * MARGIN), SIZE[1] - MARGIN - up * (SIZE[1] - 2 * MARGIN))

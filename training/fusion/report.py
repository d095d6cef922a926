"""What fusion decided, for people: a CSV per case and organ, a summary, and a histogram."""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from inference.errors import one_line
from inference.labels import NAMES
from inference.scan.atomic import write_atomically
from training.data.table import write_table
from training.fusion.agreement import Judgement, Settings

BINS = 20


def write_report(
    folder: Path,
    settings: Settings,
    judged: Sequence[Judgement],
    used: Sequence[Judgement],
    rejected: Mapping[str, str],
    notes: Sequence[str] = (),
) -> None:
    """Write ``agreement.csv``, ``report.md`` and ``agreement.png`` into ``folder``.

    Args:
        judged: every case that could be read; ``used``: the ones of them that were fused.
        rejected: name -> reason of the cases that were left out.
        notes: what else was odd, a line each.
    """
    _write_table(folder / "agreement.csv", judged, {j.case.name for j in used})
    text = _summary(settings, judged, used, rejected, notes)
    write_atomically(folder / "report.md", text.encode())
    values = [judgement.agreement for judgement in judged if not math.isnan(judgement.agreement)]
    picture = io.BytesIO()
    draw_histogram(values, settings.threshold).save(picture, "png")
    write_atomically(folder / "agreement.png", picture.getvalue())


def draw_histogram(values: Sequence[float], threshold: float) -> Image.Image:
    """Number of cases per agreement (mean DSC, 0 to 1), the threshold as a line."""
    counts = Counter(min(int(value * BINS), BINS - 1) for value in values)
    top = max(counts.values(), default=1)
    width, height, margin = 640, 320, 40
    image = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(image)
    step = (width - 2 * margin) / BINS
    for bin_, count in counts.items():
        left = margin + bin_ * step
        upper = height - margin - (height - 2 * margin) * count / top
        draw.rectangle((left + 1, upper, left + step - 1, height - margin), fill=(67, 147, 195))
        draw.text((left + step / 2, upper - 12), str(count), fill="black", anchor="mt")
    draw.line((margin, height - margin, width - margin, height - margin), fill="black")
    for tick in range(0, 11, 2):
        x = margin + (width - 2 * margin) * tick / 10
        draw.text((x, height - margin + 6), f"{tick / 10:.1f}", fill="black", anchor="mt")
    line = margin + (width - 2 * margin) * threshold
    draw.line((line, margin / 2, line, height - margin), fill=(214, 96, 77), width=2)
    draw.text(
        (width / 2, height - 14), "mean DSC of the two pseudo-label sets", fill="black", anchor="mm"
    )
    return image


def _write_table(path: Path, judged: Sequence[Judgement], used: set[str]) -> None:
    columns = ("name", "split", "agreement", "used", "class", "organ", "source", "dice", "rule")
    rows = [
        (
            judgement.case.name,
            judgement.case.split,
            f"{judgement.agreement:.4f}",
            int(judgement.case.name in used),
            value,
            NAMES[value],
            choice.source or "",
            "" if math.isnan(choice.dice) else f"{choice.dice:.4f}",
            choice.rule,
        )
        for judgement in judged
        for value, choice in judgement.choices.items()
    ]
    write_table(path, columns, rows)


def _summary(
    settings: Settings,
    judged: Sequence[Judgement],
    used: Sequence[Judgement],
    rejected: Mapping[str, str],
    notes: Sequence[str],
) -> str:
    train = [judgement for judgement in used if judgement.case.split == "train"]
    partial = sum(judgement.partial for judgement in train)
    above = sum(judgement.agreement > settings.threshold for judgement in judged)
    mode, teachers = "per-class" if settings.per_class else "paper", ", ".join(settings.teachers)
    rule = f"Mode {mode}; teachers {teachers} (the first fills); DSC > {settings.threshold}."
    numbers = (
        f"{len(judged)} cases judged, {above} above the threshold, {len(used)} fused: "
        f"{len(train)} for training ({partial} with ground truth, {len(train) - partial} without), "
        f"{len(used) - len(train)} for validation. {len(rejected)} left out as unusable."
    )
    lines = [
        "# Pseudo-label fusion",
        "",
        rule,
        "",
        numbers,
        "",
        "![cases per agreement](agreement.png)",
        "",
        "| class | training cases that annotate it | why |",
        "|---|---|---|",
    ]
    for value, name in NAMES.items():
        choices = [judgement.choices[value] for judgement in train]
        rules = Counter(_short(choice.rule) for choice in choices)
        why = ", ".join(f"{rule} {count}" for rule, count in rules.most_common())
        annotated = sum(choice.source is not None for choice in choices)
        lines.append(f"| {value} {name} | {annotated} | {why} |")
    lines += ["", *(one_line(f"- left out {n}: {reason}") for n, reason in rejected.items())]
    lines += [f"- {note}" for note in notes]
    return "\n".join(lines) + "\n"


def _short(rule: str) -> str:
    """A rule without its figures: what stands before the colon."""
    return rule if rule.startswith("teachers agree") else rule.split(":", maxsplit=1)[0]

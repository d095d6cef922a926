"""Where models lie."""

from __future__ import annotations

from pathlib import Path

from inference.errors import ModelError

WEIGHTS = Path(__file__).resolve().parent.parent / "weights"


def model_folder(path: Path, model: str | None = None) -> Path:
    """The folder of one model: ``path`` itself, or one below it. Raises ModelError."""
    if model is not None:
        named = Path(model) if Path(model).name != model else path / model
        if not (named / "model.json").is_file():
            known = sorted(p.parent.name for p in path.glob("*/model.json"))
            raise ModelError(
                f"model {model}",
                "is not there",
                f"use one of: {', '.join(known) or 'none installed'}",
            )
        return named
    if (path / "model.json").is_file():
        return path
    try:
        return path / (path / "default").read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ModelError(path, "holds no model", "name a model's folder") from error

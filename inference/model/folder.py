"""Where models lie."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import ModelError, argument

_PACKAGE = Path(__file__).resolve().parents[1]
# In the package where it was installed from a wheel; beside it in the repository and the images.
_PLACES = (_PACKAGE / "weights", _PACKAGE.parent / "weights")
WEIGHTS = next((place for place in _PLACES if place.is_dir()), _PLACES[-1])


def model_folder(path: Path, model: str | None = None) -> Path:
    """The folder of one model: ``path`` itself, or one below it. Raises ModelError."""
    if model is not None:
        bare = model.rstrip(os.sep)
        places = [path / bare] if Path(bare).name == bare else [Path(model)]
        if bare != model:  # a path, as a shell completes one; else a name, given like one
            places.insert(0, Path(model))
        named = next((place for place in places if (place / "model.json").is_file()), None)
        if named is None:
            known = sorted(p.parent.name for p in path.glob("*/model.json"))
            raise ModelError(
                argument("model", model),
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
    except UnicodeDecodeError as error:
        raise ModelError(path / "default", "is no text", "write a model's name into it") from error


def finder_folder(folder: Path, finder: str) -> Path:
    """Where the model lies that finds the organs for the one in ``folder``. Raises ModelError."""
    if folder.name in ("", ".."):  # its parent is not what pathlib says
        folder = folder.resolve()
    beside = folder.parent / finder
    if os.path.realpath(beside) == os.path.realpath(folder):
        raise ModelError(
            folder / "model.json",
            "names itself as the model that finds the organs first",
            "restore the model folder",
        )
    if not (beside / "model.json").exists():
        raise ModelError(
            beside, f"is not there, and {folder.name} finds the organs with it", "copy both"
        )
    return beside

"""The recipes in small: what each adds to its base stays, network, patch and steps are replaced."""

from __future__ import annotations

from pathlib import Path

# Table 7's columns and small, of which normal_inference is the same training, decoded otherwise.
TABLE7 = ("without_unlabelled", "small", "normal_inference", "n_cascade", "p_cascade")
FIRST_STAGE = "tiny"
# Table 2's columns, with the smallest patches (z, y, x) that their strides allow.
TABLE2 = {"default": (8, 64, 64), "small": (32, 32, 32), "tiny": (32, 32, 32)}

_NETWORK = """
[network]
features = [8, 16, 32, 64]
strides = [[1, 1, 1], [2, 2, 2], [2, 2, 2], [2, 2, 2]]
kernels = [[3, 3, 3], [3, 3, 3], [3, 3, 3], [3, 3, 3]]
head_prior = 0.01
"""
_OPTIMISATION = """
[optimisation]
optimizer = "adamw"
rate = 1e-2
weight_decay = 1e-2
warmup = 0.05
decay = "cosine"
ema = 0.98
epochs = {epochs}
steps_per_epoch = {steps_per_epoch}
"""
_SAMPLING = """
[sampling]
spacing = {spacing}
patch = {patch}
batch = 2
slab = 0.0
"""


def write_recipe(folder: Path, base: str, steps: int, name: str = "", more: str = "") -> Path:
    """A TOML file for a row of Table 7: ``base`` on voxels of 6 to 7.5 mm, the first stage on 10 to
    12 mm; ``more`` is TOML of its own sections."""
    first = base == FIRST_STAGE
    spacing, patch = ("[10, 8, 8]", "[24, 40, 48]") if first else ("[7.5, 6, 6]", "[32, 48, 64]")
    epochs = max(steps // 100, 1)
    optimisation = _OPTIMISATION.format(epochs=epochs, steps_per_epoch=steps // epochs)
    sampling = _SAMPLING.format(spacing=spacing, patch=patch)
    text = "".join((f'base = "{base}"\n', _NETWORK, sampling, optimisation, more))
    path = folder / f"{name or base}.toml"
    path.write_text(text, encoding="utf-8")
    return path


def write_table2_recipe(folder: Path, base: str, steps: int) -> Path:
    """A TOML file for a column of Table 2: its network as it is, on small patches, which are
    sampled from the phantoms' own grid, so that all columns train from one store."""
    path = folder / f"table2_{base}.toml"
    text = f"""base = "{base}"
[sampling]
patch = {list(TABLE2[base])}
batch = 2
native = true
[optimisation]
epochs = 1
steps_per_epoch = {steps}
"""
    path.write_text(text, encoding="utf-8")
    return path

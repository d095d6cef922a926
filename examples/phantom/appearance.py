"""What tissue looks like in CT: HU by contrast phase, texture, and the scanner's noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from inference.grid import Grid

Phase = Literal["plain", "arterial", "portal"]
PHASES: tuple[str, ...] = get_args(Phase)


@dataclass(frozen=True)
class Tissue:
    """Radiodensity of a tissue.

    Attributes:
        plain, arterial, portal: mean HU without contrast, about 35 s and about 70 s after it.
        texture: standard deviation of the tissue's own irregularity, HU.
        speck: HU added in its small bright spots (vessels cut across), reached in about 2 % of it.
    """

    plain: float
    arterial: float
    portal: float
    texture: float = 2.0
    speck: float = 0.0

    def hu(self, phase: Phase, gain: float) -> float:
        """Mean HU; ``gain`` scales the enhancement over the plain scan."""
        return self.plain + gain * (getattr(self, phase) - self.plain)


def _unenhanced(hu: float, texture: float = 2.0, speck: float = 0.0) -> Tissue:
    return Tissue(hu, hu, hu, texture, speck)


TISSUES: dict[str, Tissue] = {
    "air": _unenhanced(-1000, 0),
    "couch shell": _unenhanced(60, 0),
    "couch foam": _unenhanced(-930, 0),
    "skin": _unenhanced(30, 8),
    "fat": _unenhanced(-108, 7, 45),
    "visceral fat": _unenhanced(-102, 8, 150),
    "muscle": Tissue(50, 55, 60, 9),
    "diaphragm": Tissue(45, 55, 60, 3),
    "lung": _unenhanced(-865, 18, 700),
    "heart": Tissue(42, 230, 140, 18),
    "cortical bone": _unenhanced(620, 60),
    "spongy bone": _unenhanced(200, 45),
    "disc": _unenhanced(85, 8),
    "cartilage": _unenhanced(105, 12),
    "spinal canal": _unenhanced(25, 5),
    "liver": Tissue(56, 68, 104, 3),
    "liver vessel": Tissue(40, 75, 150, 2),
    "portal vein": Tissue(40, 110, 160, 2),
    "kidney cortex": Tissue(32, 175, 178, 5),
    "kidney medulla": Tissue(30, 80, 148, 5),
    "renal pelvis": _unenhanced(12),
    "spleen": Tissue(48, 118, 116, 3),
    "pancreas": Tissue(40, 98, 88, 7),
    "aorta": Tissue(42, 300, 150, 3),
    "vena cava": Tissue(40, 75, 130, 6),
    "adrenal": Tissue(28, 72, 65, 4),
    "bile": _unenhanced(8),
    "esophagus": Tissue(38, 52, 56, 5),
    "stomach wall": Tissue(40, 78, 84, 6),
    "stomach content": _unenhanced(22, 12),
    "bowel wall": Tissue(40, 82, 88, 6),
    "bowel content": _unenhanced(24, 14),
    "feces": _unenhanced(15, 45),
    "gas": _unenhanced(-960, 4),
    "tumor": Tissue(36, 48, 55, 7),
    "necrosis": Tissue(22, 22, 24, 5),
}


class Waves:
    """Smooth random fields: sums of plane waves, fixed in the patient, cheap on any grid.

    The phase of a plane wave is linear in the voxel index, so a block of a field is one matrix
    product of a (z) and a (y, x) factor, whatever the grid's direction.

    Args:
        rng: source of directions and phases.
        lengths_mm: wavelength of every wave.
        amplitudes: shape (fields, waves); every field uses the same waves with own phases.
    """

    def __init__(
        self, rng: np.random.Generator, lengths_mm: np.ndarray, amplitudes: np.ndarray
    ) -> None:
        self.amplitudes = np.atleast_2d(amplitudes)
        fields, waves = self.amplitudes.shape
        directions = rng.normal(size=(fields, waves, 3))
        directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
        self.vectors = directions * (2 * np.pi / lengths_mm)[:, None]
        self.offsets = rng.uniform(0, 2 * np.pi, (fields, waves))

    def on(self, grid: Grid) -> GridWaves:
        """The fields on one grid."""
        return GridWaves(self, grid)


class GridWaves:
    """Fields of :class:`Waves` at the voxel centres of a grid, block by block."""

    def __init__(self, waves: Waves, grid: Grid) -> None:
        steps = np.array(grid.direction).reshape(3, 3) * np.array(grid.spacing[::-1])
        self.per_index = waves.vectors @ steps  # radians per (x, y, z) index
        self.at_origin = waves.offsets + waves.vectors @ np.array(grid.origin)
        self.amplitudes = waves.amplitudes

    def block(self, starts: tuple[int, int, int], stops: tuple[int, int, int]) -> np.ndarray:
        """Values (fields, z, y, x), float32, of voxels ``starts`` up to but without ``stops``."""
        z, y, x = (np.arange(a, b) for a, b in zip(starts, stops, strict=True))
        out = np.empty((len(self.amplitudes), len(z), len(y), len(x)), np.float32)
        for field, (amplitude, rate, offset) in enumerate(
            zip(self.amplitudes, self.per_index, self.at_origin, strict=True)
        ):
            z_phase = rate[:, 2, None] * z + offset[:, None]
            wave_z = amplitude[:, None] * np.concatenate([np.cos(z_phase), -np.sin(z_phase)]).reshape(
                2, len(amplitude), -1
            )
            along_y, along_x = (np.exp(1j * np.outer(rate[:, a], i)) for a, i in ((1, y), (0, x)))
            plane = along_y.astype(np.complex64)[:, :, None] * along_x.astype(np.complex64)[:, None]
            wave_yx = np.concatenate([plane.real, plane.imag]).reshape(2 * len(amplitude), -1)
            wave_z = wave_z.reshape(2 * len(amplitude), -1).astype(np.float32)
            out[field] = (wave_z.T @ wave_yx).reshape(out.shape[1:])
        return out


def tissue_texture(rng: np.random.Generator) -> Waves:
    """A field of unit standard deviation with irregularities of 5 to 40 mm."""
    lengths = np.geomspace(5, 40, 40)
    return Waves(rng, lengths, np.full((1, 40), np.sqrt(2 / 40)))


def noise_slice(
    shape: tuple[int, int], spacing: tuple[float, float], rng: np.random.Generator
) -> np.ndarray:
    """Noise of one reconstructed slice (y, x), unit standard deviation, float32.

    Filtered back projection leaves noise whose power rises with frequency like the ramp filter and
    falls again towards the kernel's cut-off; here f * exp(-(f / 0.45)^2) with f in cycles per mm.
    """
    white = rng.standard_normal(shape, dtype=np.float32)
    f_y = np.fft.fftfreq(shape[0], spacing[0])[:, None]
    f_x = np.fft.rfftfreq(shape[1], spacing[1])[None]
    f = np.hypot(f_y, f_x).astype(np.float32) + np.float32(0.02)
    shaped = np.fft.irfft2(np.fft.rfft2(white) * (np.sqrt(f) * np.exp(-0.5 * (f / 0.45) ** 2)), shape)
    return (shaped / shaped.std()).astype(np.float32)

"""What tissue looks like in CT: HU by contrast phase, texture, and the scanner's noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from inference.grid import Grid

# OpenBLAS starts threads for more multiplications than this; for products as small as the ones here
# waiting for the threads costs several times the product, above all where cores are shared.
ONE_THREAD_PRODUCTS = 2**18

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
    "visceral fat": _unenhanced(-104, 8, 110),
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
        self.rates = waves.vectors @ steps  # radians per (x, y, z) index
        self.at_origin = waves.offsets + waves.vectors @ np.array(grid.origin)
        self.amplitudes = waves.amplitudes
        self._plane_at: tuple[tuple[int, ...], tuple[int, ...]] | None = None
        self._planes: list[np.ndarray] = []

    def block(self, starts: tuple[int, int, int], stops: tuple[int, int, int]) -> np.ndarray:
        """Values (fields, z, y, x), float32, of voxels ``starts`` up to but without ``stops``."""
        if self._plane_at != (starts[1:], stops[1:]):
            self._plane_at = (starts[1:], stops[1:])
            self._planes = [self._plane(field, starts, stops) for field in range(len(self.rates))]
        z = np.arange(starts[0], stops[0])
        shape = tuple(b - a for a, b in zip(starts, stops, strict=True))
        out = np.empty((len(self.rates), *shape), np.float32)
        for field, plane in enumerate(self._planes):
            phase = np.outer(z, self.rates[field, :, 2]) + self.at_origin[field]
            waves = np.exp(1j * phase) * self.amplitudes[field]
            along_z = np.concatenate([waves.real, -waves.imag], axis=1).astype(np.float32)
            values = out[field].reshape(len(z), -1)
            columns = max(1, ONE_THREAD_PRODUCTS // along_z.size)
            for first in range(0, plane.shape[1], columns):
                part = np.s_[:, first : first + columns]
                np.matmul(along_z, plane[part], out=values[part])
        return out

    def _plane(self, field: int, starts: tuple[int, ...], stops: tuple[int, ...]) -> np.ndarray:
        """Real and imaginary part of every wave over (y, x): (2 waves, voxels)."""
        along_y, along_x = (
            np.exp(1j * np.outer(self.rates[field, :, column], np.arange(starts[a], stops[a])))
            for a, column in ((1, 1), (2, 0))
        )
        plane = along_y[:, :, None].astype(np.complex64) * along_x[:, None].astype(np.complex64)
        return np.concatenate([plane.real, plane.imag]).reshape(2 * len(plane), -1)


def tissue_texture(rng: np.random.Generator) -> Waves:
    """A field of unit standard deviation with irregularities of 5 to 40 mm."""
    lengths = np.geomspace(5, 40, 32)
    return Waves(rng, lengths, np.full((1, 32), np.sqrt(2 / 32)))


def noise_filter(shape: tuple[int, int], spacing: tuple[float, float]) -> np.ndarray:
    """Factor by which a slice's (y, x) real FFT turns white noise into noise of the same variance.

    Filtered back projection leaves noise whose power rises with frequency like the ramp filter and
    falls again towards the kernel's cut-off: f * exp(-(f / 0.45)^2), f in cycles per mm.
    """
    f_y, f_x = (np.fft.fftfreq(n, s) for n, s in zip(shape, spacing, strict=True))
    f = np.hypot(f_y[:, None], f_x) + 0.02
    power = f * np.exp(-((f / 0.45) ** 2))
    return np.sqrt(power / power.mean())[:, : shape[1] // 2 + 1].astype(np.float32)


def noise_slice(
    filter_YX: np.ndarray, shape: tuple[int, int], rng: np.random.Generator
) -> np.ndarray:
    """Noise of one reconstructed slice (y, x), expected standard deviation 1, float32."""
    white = rng.standard_normal(shape, dtype=np.float32)
    return np.fft.irfft2(np.fft.rfft2(white) * filter_YX, shape).astype(np.float32)

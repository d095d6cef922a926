"""The reference frame: the spine's curve, and how patients differ.

Reference coordinates are millimetres in LPS (x to the patient's left, y to the back, z to the head)
with the origin in the centre of the first lumbar vertebral body. Places and sizes of everything
follow the CT label maps of the TotalSegmentator dataset (Wasserthal et al. 2023,
doi:10.5281/zenodo.6802613) rounded to millimetres.
"""

from __future__ import annotations

import numpy as np

# Centre of the vertebral bodies: lumbar lordosis, thoracic kyphosis, sacrum.
SPINE_Z = np.array([-300, -190, -143, -109, -73, -35, 0, 34, 64, 93, 120, 146, 171, 210, 320.0])
SPINE_Y = np.array([40, 2, -17, -17, -12, -6, 0, 4, 8, 13, 16, 16, 13, 7, -30.0])


def spine_y(z: float | np.ndarray) -> float | np.ndarray:
    """y of the centre of the vertebral bodies at height z, mm."""
    return np.interp(z, SPINE_Z, SPINE_Y)


class Jitter:
    """Random anatomy: small shifts in mm and scale factors, from one generator."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def shift(self, sd_mm: float) -> np.ndarray:
        """A displacement (x, y, z), at most two standard deviations per axis."""
        return np.clip(self.rng.normal(0, sd_mm, 3), -2 * sd_mm, 2 * sd_mm)

    def factor(self, sd: float) -> float:
        """A scale factor around 1, at most two standard deviations away."""
        return float(np.clip(self.rng.normal(1, sd), 1 - 2 * sd, 1 + 2 * sd))

    def turn(self, sd_deg: float) -> float:
        """An angle in degrees."""
        return float(np.clip(self.rng.normal(0, sd_deg), -2 * sd_deg, 2 * sd_deg))

"""NSD of one large pair of masks: this project's time against google-deepmind/surface-distance's.

Two blobs of the size of a liver in 512x512x300 voxels of 0.8x0.8x1.5 mm, with rough surfaces that
mostly disagree (a harder case than a good prediction, where most surfels coincide). The package is
given the whole volume, as the FLARE script gives it; both crop to the masks by themselves.

    python -m benchmarks.nsd_speed
"""

from __future__ import annotations

import time
import warnings

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from evaluation.surface import nsd

SHAPE_ZYX, SPACING_ZYX, TOLERANCE_MM = (300, 512, 512), (1.5, 0.8, 0.8), 5.0
CENTRE, RADII = (150, 250, 200), (70, 120, 150)
RUNS = 5


def blob(seed: int) -> NDArray[np.bool_]:
    """An ellipsoid with a bumpy surface, (z, y, x); the seed moves the bumps only."""
    noise = np.random.default_rng(seed).standard_normal(SHAPE_ZYX, np.float32)
    bumps = ndimage.gaussian_filter(noise, 4)
    z, y, x = (
        ((np.arange(n, dtype=np.float32) - c) / r) ** 2
        for n, c, r in zip(SHAPE_ZYX, CENTRE, RADII, strict=True)
    )
    level = z[:, None, None] + y[:, None] + x - 0.1 / bumps.std() * bumps
    return np.asarray(level < 1)


def main() -> None:
    """Print both times, their ratio and the two values."""
    import surface_distance

    pred, ref = blob(1), blob(2)
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        ours = nsd(pred, ref, SPACING_ZYX, TOLERANCE_MM)
        times.append(time.perf_counter() - start)
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        distances = surface_distance.compute_surface_distances(ref, pred, SPACING_ZYX)
    theirs = surface_distance.compute_surface_dice_at_tolerance(distances, TOLERANCE_MM)
    package = time.perf_counter() - start
    own = float(np.median(times))
    print(f"voxels {pred.shape}, {pred.sum()} and {ref.sum()} in the masks")
    print(f"NSD here {ours:.9f}, surface-distance {theirs:.9f}, difference {ours - theirs:.1e}")
    print(
        f"time here {own:.2f} s (median of {RUNS}), package {package:.2f} s: {package / own:.1f}x"
    )


if __name__ == "__main__":
    main()

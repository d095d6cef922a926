"""Where a tumour grows."""

from __future__ import annotations

import numpy as np

from phantom.shapes import Ellipsoid
from phantom.solids import Bumpy, Grown, Points, Solid


def place_tumor(rng: np.random.Generator, hosts: list[Solid]) -> tuple[Solid, Solid]:
    """A knobbly tumour in one of ``hosts``, and its necrotic core.

    The centre is a random point in the deeper part of the host; the radius suits the depth there.
    """
    host = hosts[rng.integers(len(hosts))]
    spots = rng.uniform(*host.bounds, (4000, 3)).astype(np.float32)
    columns = tuple(spots.T)
    depth = Points(columns, columns).distance(host)
    chosen = rng.choice(np.flatnonzero(depth < 0.4 * depth.min()))
    radius = float(np.clip(-1.1 * depth[chosen], 7, rng.uniform(12, 30)))
    axes = radius * rng.uniform(0.85, 1.15, 3)
    mass = Bumpy(
        Ellipsoid(spots[chosen], axes, rng.uniform(-40, 40, 3)), 0.1 * radius, 1.1 * radius
    )
    return mass & host, Grown(mass, -0.45 * radius)

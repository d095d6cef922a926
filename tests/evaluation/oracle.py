"""The values that evaluation must reproduce, computed with google-deepmind/surface-distance.

``official_scores`` follows the steps of FLARE23_DSC_NSD_Eval.py (JunMa11/FLARE, commit aad2cc2) in
that script's own terms: (x, y, z) arrays as nibabel reads them, the whole volume, no cropping.
"""

from __future__ import annotations

import warnings

import numpy as np

with warnings.catch_warnings():
    # The package is of 2018: it names SciPy's submodules by names that SciPy has moved.
    warnings.simplefilter("ignore")
    import surface_distance

TOLERANCES = (5, 3, 3, 5, 2, 2, 2, 2, 2, 3, 5, 7, 3, 2)


def package_nsd(
    pred: np.ndarray, ref: np.ndarray, spacing: tuple[float, ...], tolerance: float
) -> float:
    """Surface Dice of two masks, both non-empty: the package lacks NumPy 2's name of infinity."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        distances = surface_distance.compute_surface_distances(ref, pred, spacing)
    return float(surface_distance.compute_surface_dice_at_tolerance(distances, tolerance))


def official_scores(
    pred_ZYX: np.ndarray, ref_ZYX: np.ndarray, spacing_ZYX: tuple[float, float, float]
) -> dict[int, tuple[float, float]]:
    """(DSC, NSD) of labels 1..14 as the official script rounds them."""
    ref, pred = ref_ZYX.T.astype(np.int8), pred_ZYX.T.astype(np.int8)
    scores = {}
    for label, tolerance in enumerate(TOLERANCES, 1):
        ref_mask, pred_mask = ref == label, pred == label
        dsc: float
        surface: float
        if not ref_mask.any() or not pred_mask.any():
            dsc = surface = float(not ref_mask.any() and not pred_mask.any())
        else:
            if label in (5, 6, 10):
                slices = np.where(ref_mask)[2]
                ref_mask = ref_mask[:, :, slices.min() : slices.max()]
                pred_mask = pred_mask[:, :, slices.min() : slices.max()]
            volumes = ref_mask.sum() + pred_mask.sum()
            dsc = 2 * (ref_mask & pred_mask).sum() / volumes
            surface = 0.0
            if dsc >= 0.2:
                surface = package_nsd(pred_mask, ref_mask, spacing_ZYX[::-1], tolerance)
        scores[label] = (
            float(np.round(np.float64(dsc), 4)),
            float(np.round(np.float64(surface), 4)),
        )
    return scores

"""The two forms in which a NIfTI header states where the voxels lie: qform and sform.

https://nifti.nimh.nih.gov/nifti-1 (method 2 and 3). Which of them counts follows ITK's rules
(itkNiftiImageIO.cxx), so that a label map lies where SimpleITK puts its scan. Everything here is in
NIfTI's own RAS coordinates.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import HeaderError
from .axes import ROUNDING, nearest_rotation
from .limits import check_origin, check_shear


def placement(
    fields: npt.NDArray[Any],
    spacing: npt.NDArray[np.float64],
    unit: float,
    note: Callable[[str], None],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Direction matrix (columns: unit vectors, RAS) and origin (RAS, mm): ITK's choice of form.

    Args:
        fields: the header's record.
        spacing: pixdim's, in mm.
        unit: of the header's lengths, in mm: those of the two forms are in it, too.
        note: told what is odd.

    Raises:
        HeaderError: both forms are broken, sheared, or out of all proportion.
    """
    q_known, s_known = int(fields["qform_code"]) > 0, int(fields["sform_code"]) > 0
    if not q_known and not s_known:
        note("neither qform nor sform is set: the patient's orientation is taken as ITK does")
        return np.diag([-1.0, -1.0, 1.0]), np.zeros(3)
    srow = fields["srow"].astype(np.float64) * unit
    sform, s_origin, shear = _unit_columns(srow, s_known)
    qform = _rotation(fields)
    q_origin = fields["qoffset"].astype(np.float64) * unit
    s_usable = sform is not None and shear <= ROUNDING
    if q_known and qform is not None:
        # ITK compares quaternions, which do not hold the direction of the third axis.
        same, mirrored = (
            sform is not None
            and np.allclose(sform * (1, 1, third), qform, atol=1e-4)
            and np.allclose(s_origin, q_origin, atol=1e-4)
            for third in (1, -1)
        )
        similar = same or mirrored
        if s_known and ROUNDING < shear < math.inf:
            note(f"the sform is sheared (cosine {shear:.4f}, gantry tilt?): the qform is used")
        elif s_known and not same:
            note("qform and sform disagree")
        if not (s_usable and (similar or int(fields["sform_code"]) == 1)):
            return qform, check_origin(q_origin)
    if sform is None:
        raise HeaderError("states no usable orientation (qform and sform are broken)")
    check_shear(shear)
    scales = np.linalg.norm(srow[:, :3], axis=0)
    if not np.allclose(scales, spacing, rtol=1e-3):
        note("pixdim and sform disagree on the spacing: pixdim is used")
    if shear > ROUNDING:
        note(f"the axes are slightly sheared (cosine {shear:.4f}): the nearest rotation is used")
        sform = nearest_rotation(sform)
    return sform, check_origin(s_origin)


def _unit_columns(
    srow: npt.NDArray[np.float64], known: bool
) -> tuple[npt.NDArray[np.float64] | None, npt.NDArray[np.float64], float]:
    """The sform's unit columns (None where it is singular), origin, and largest shear cosine."""
    origin = srow[:, 3]
    lengths = np.linalg.norm(srow[:, :3], axis=0)
    if not known or not np.isfinite(srow).all() or (lengths < 1e-6).any():
        return None, origin, math.inf
    unit = srow[:, :3] / lengths
    if abs(np.linalg.det(unit)) < 0.1:
        return None, origin, math.inf
    return unit, origin, float(np.abs(unit.T @ unit - np.eye(3)).max())


def _rotation(fields: npt.NDArray[Any]) -> npt.NDArray[np.float64] | None:
    """The qform's rotation, handedness included; None where its numbers are broken."""
    b, c, d = (float(v) for v in fields["quatern"])
    rest = 1.0 - (b * b + c * c + d * d)
    if not math.isfinite(rest):
        return None
    if rest < 1e-7:
        norm = math.sqrt(b * b + c * c + d * d)
        a, b, c, d = 0.0, b / norm, c / norm, d / norm
    else:
        a = math.sqrt(rest)
    matrix = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
        ]
    )
    return matrix * (1, 1, -1 if fields["pixdim"][0] < 0 else 1)


def quaternion(rotation: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    """(b, c, d) of a proper rotation, with a >= 0: the eigenvector of Bar-Itzhack's matrix."""
    r = rotation
    k = np.array(
        [
            [r[0, 0] + r[1, 1] + r[2, 2], r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]],
            [0, r[0, 0] - r[1, 1] - r[2, 2], r[1, 0] + r[0, 1], r[2, 0] + r[0, 2]],
            [0, 0, r[1, 1] - r[0, 0] - r[2, 2], r[2, 1] + r[1, 2]],
            [0, 0, 0, r[2, 2] - r[0, 0] - r[1, 1]],
        ]
    )
    a, b, c, d = np.linalg.eigh(k, UPLO="U")[1][:, -1]
    sign = -1.0 if a < 0 else 1.0
    return (sign * float(b), sign * float(c), sign * float(d))

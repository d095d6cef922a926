"""Segment a CT with an ONNX file alone: ``python onnx_segment.py MODEL.onnx IN.nii.gz OUT.nii.gz``.

Needs numpy, nibabel, onnxruntime and a file written by ``python -m training onnx``. The scan is
brought to one axis order and to the network's spacing, windows of the patch's shape at half its
distance are weighted by a Gaussian, logits go back to the scan's grid and are decided there: as
``python -m inference --step 0.5`` does it, but for the small pieces that it takes away from organs.
"""

import json
import sys
from itertools import product

import nibabel as nib
import numpy as np
import onnxruntime as ort
from nibabel import orientations

BODY_HU = -300  # windows in which nothing exceeds it show air
LPS = orientations.axcodes2ornt("LPS")
Array = np.ndarray


def taps(n_in: int, n_out: int) -> tuple[Array, Array, Array]:
    """Edge-aligned linear interpolation of an axis: lower and upper index, weight of the upper."""
    position = np.clip((np.arange(n_out) + 0.5) * n_in / n_out - 0.5, 0, n_in - 1)
    lower = position.astype(int)
    return lower, np.minimum(lower + 1, n_in - 1), (position - lower).astype(np.float32)


def resampled(array: Array, axis: int, n_out: int) -> Array:
    lower, upper, weight = taps(array.shape[axis], n_out)
    weight = weight.reshape([-1 if a == axis % array.ndim else 1 for a in range(array.ndim)])
    return array.take(lower, axis) * (1 - weight) + array.take(upper, axis) * weight


def starts(size: int, window: int) -> list[int]:
    """First indices of windows that cover an axis, at most half a window apart."""
    count = -(-2 * (size - window) // window) + 1
    return [round(i * (size - window) / max(count - 1, 1)) for i in range(count)]


def windowed_logits(session: ort.InferenceSession, image: Array, air: float) -> Array:
    """Logits (labels, z, y, x) of a normalised image (z, y, x), mirrored where it is too small."""
    window = session.get_inputs()[0].shape[2:]
    missing = [max(w - n, 0) for n, w in zip(image.shape, window, strict=True)]
    padded = np.pad(image, [(m // 2, m - m // 2) for m in missing], mode="symmetric")
    places = [np.arange(n) - (n - 1) / 2 for n in window]
    z, y, x = (np.exp(-0.5 * (p / (n / 8)) ** 2) for p, n in zip(places, window, strict=True))
    gauss = np.maximum(z[:, None, None] * y[:, None] * x, 1e-3).astype(np.float32)
    sums, weights = None, np.zeros(padded.shape, np.float32)
    for corner in product(*map(starts, padded.shape, window)):
        box = tuple(slice(first, first + w) for first, w in zip(corner, window, strict=True))
        if padded[box].max() <= air:
            continue
        (logits,) = session.run(None, {"image": padded[box][None, None]})
        sums = np.zeros((logits.shape[1], *padded.shape), np.float32) if sums is None else sums
        sums[(slice(None), *box)] += logits[0] * gauss
        weights[box] += gauss
    if sums is None:
        raise SystemExit("there is nothing but air in the scan")
    sums /= np.maximum(weights, 1e-9)
    sums[:, weights == 0] = -10
    inside = (slice(m // 2, m // 2 + n) for m, n in zip(missing, image.shape, strict=True))
    return sums[(slice(None), *inside)]


def decided(logits: Array, shape: tuple[int, ...]) -> Array:
    """Labels (z, y, x): logits enlarged slice by slice, the highest positive one, tumour first."""
    labels = np.zeros(shape, np.uint8)
    for k, (lower, upper, weight) in enumerate(zip(*taps(logits.shape[1], shape[0]), strict=True)):
        plane = logits[:, lower] * (1 - weight) + logits[:, upper] * weight
        plane = resampled(resampled(plane, 1, shape[1]), 2, shape[2])
        winner = np.where(plane.max(axis=0) > 0, plane.argmax(axis=0) + 1, 0)
        labels[k] = np.where(plane[-1] > 0, len(plane), winner)
    return labels


def main(model_file: str, scan_file: str, label_file: str) -> None:
    session = ort.InferenceSession(model_file, providers=ort.get_available_providers())
    said = session.get_modelmeta().custom_metadata_map
    spacing, (low, high), mean, std = (
        json.loads(said[key]) for key in ("spacing_mm", "clip_hu", "mean_hu", "std_hu")
    )
    scan = nib.load(scan_file)
    own = orientations.io_orientation(scan.affine)
    to_lps = orientations.ornt_transform(own, LPS)
    back = orientations.ornt_transform(LPS, own)
    hounsfield = np.asarray(scan.dataobj, np.float32)
    image = orientations.apply_orientation(hounsfield, to_lps).transpose()  # (z, y, x)
    zooms = np.empty(3)
    zooms[to_lps[:, 0].astype(int)] = scan.header.get_zooms()[:3]
    shape, image = image.shape, np.clip(image, low, high)
    for axis, (zoom, wanted) in enumerate(zip(zooms[::-1], spacing, strict=True)):
        image = resampled(image, axis, max(1, round(float(shape[axis] * zoom / wanted))))
    logits = windowed_logits(session, (image - mean) / np.float32(std), (BODY_HU - mean) / std)
    labels = orientations.apply_orientation(decided(logits, shape).transpose(), back)
    header = scan.header.copy()
    header.set_data_dtype(np.uint8)
    nib.save(nib.Nifti1Image(labels, scan.affine, header), label_file)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        raise SystemExit("usage: python onnx_segment.py MODEL.onnx IN.nii.gz OUT.nii.gz")
    main(*sys.argv[1:])

"""The same scans and the same weights through abdobox, nnU-Net v2 and MONAI, as whole processes.

::

    python -m benchmarks.versus setup                 # the peers, into build/peers/.venv
    python -m benchmarks.versus run --case X_0000.nii.gz --model NAME --runs 1
    python -m benchmarks.versus run --sizes 55 100 --out build/versus/scale.json
    python -m benchmarks.versus plot build/versus/scale.json
    python -m benchmarks.versus repeat first.json second.json

Every run is a fresh process, tools take turns (A B C A B C), and each ``run`` adds to what the JSON
file holds already, so that a long comparison can be made in short sittings.

What is equal: the network and its weights, spacing, patch, intensity clipping and statistics,
Gaussian weights, a window step of half a patch, no mirroring, logits enlarged before they are
decided, and the decision: the likeliest organ whose probability exceeds one half, the tumour over
everything. What is each tool's own, and left at its default:

- nnU-Net resamples the image with cubic splines (thick slices: nearest along z), crops to nonzero,
  pads with zeros, accumulates in float16. It starts one process for preparing one case and three
  for exporting. Its network has a fifteenth output, the background, constantly zero, so that its
  argmax is the decision above; the tumour's logits are scaled up (benchmarks.versus.mapping).
- MONAI here is LoadImage, Orientation, Spacing, ScaleIntensityRange, SlidingWindowInferer and
  Invert, then the decision: trilinear, spacing kept exactly (so the far border may move by part of
  a voxel), zeros for padding.
- abdobox cuts its windows to the patient or leaves out those without one, mirrors axes that are
  shorter than the window, and computes in bfloat16 where the processor does so natively.
  ``abdobox`` runs the model's own defaults; ``abdobox-reference`` is the peers' work: linear
  decoding, half-patch steps, float32; ``abdobox-half-steps`` is the same in its own precision.
"""

"""The same scans through abdobox, nnU-Net v2, MONAI, KonfAI, TotalSegmentator, as whole processes.

::

    python -m benchmarks.versus setup                 # the peers, into build/peers/.venv
    python -m benchmarks.versus run --case X_0000.nii.gz --model NAME --runs 1
    python -m benchmarks.versus run --sizes 55 100 --out build/versus/scale.json
    python -m benchmarks.versus run --sizes 300 --tools abdobox totalsegmentator --minutes 60
    python -m benchmarks.versus plot build/versus/scale.json
    python -m benchmarks.versus repeat first.json second.json

Every run is a fresh process, tools take turns (A B C A B C), and each ``run`` adds to what the JSON
file holds already, so that a long comparison can be made in short sittings.

What is equal, but for TotalSegmentator: the network and its weights, spacing, patch, intensity
clipping and statistics, Gaussian weights, a window step of half a patch, no mirroring, logits
enlarged before they are decided, and the decision: the likeliest organ whose probability exceeds
one half, the tumour over everything. What is each tool's own, and left at its default:

- nnU-Net resamples the image with cubic splines (thick slices: nearest along z), crops to nonzero,
  pads with zeros, accumulates in float16. It starts one process for preparing one case and three
  for exporting. Its network has a fifteenth output, the background, constantly zero, so that its
  argmax is the decision above; the tumour's logits are scaled up (benchmarks.versus.mapping).
- MONAI here is LoadImage, Orientation, Spacing, ScaleIntensityRange, SlidingWindowInferer and
  Invert, then the decision: trilinear, spacing kept exactly (so the far border may move by part of
  a voxel), zeros for padding.
- KonfAI here is konfai-apps around its own PlainConvUNet, with an app written for this comparison
  (benchmarks.versus.konfai_model): KonfAI's own apps are downloads from Hugging Face. Linear
  resampling, zeros for padding at the far end, one worker on a CPU, streaming where it finds it
  worth while.
- abdobox cuts its windows to the patient or leaves out those without one, mirrors axes that are
  shorter than the window, and computes in bfloat16 where the processor does so natively.
  ``abdobox`` runs the model's own defaults; ``abdobox-reference`` is the peers' work: linear
  decoding, half-patch steps, float32; ``abdobox-half-steps`` is the same in its own precision.

TotalSegmentator runs networks of its own, one of 3 mm (``totalsegmentator-fast``) or five of
1.5 mm, with random weights (benchmarks.versus.totalsegmentator_model): what its user waits for,
beside what a user of abdobox waits for. It computes 117 labels, so that only time and memory can be
compared, and it runs where ``--tools`` asks for it. ``--minutes-each`` stops a tool that takes too
long, and the others still run.
"""

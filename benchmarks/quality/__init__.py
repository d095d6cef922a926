"""How good are a model's labels, and what makes them worse?

::

    python -m benchmarks.quality robustness --data FUSED --out FILE.json
    python -m benchmarks.quality settings --data FUSED --out FILE.json
    python -m benchmarks.quality precisions --data FUSED --out FILE.json
    python -m benchmarks.quality teachers --data FUSED --labels hk=DIR rrr=DIR --out FILE.json
    python -m benchmarks.quality synthetic --label-maps NIFTI --structures JSON --out FILE.json
    python -m benchmarks.quality tumor --data FUSED --out FILE.json
    python -m benchmarks.quality absent --data FUSED --out FILE.json
    python -m benchmarks.quality groups --data FUSED --group arterial=CASE,CASE --out FILE.json

``FUSED`` is a folder written by ``python -m training fuse``: its validation scans are scored
against its labels, class by class as far as they are annotated. Where neither the reference nor the
model shows a class it has no score. Each command prints a Markdown table and writes every score as
JSON. ``--model`` names a model (by default the default one).
"""

"""The paper's Tables 2 and 7 in small: every row trained and evaluated, on a processor.

::

    python -m benchmarks.ablation tables --steps 600     # Tables 7 and 2
    python -m benchmarks.ablation loss --steps 600       # selected partial loss against normal loss
    python -m benchmarks.ablation real --store STORE     # Table 7, Tiny on real scans

Everything goes through ``python -m training``, from fusion to evaluation, with the recipes of the
paper's rows; only networks, patches and steps are small (:mod:`benchmarks.ablation.toy`). On
phantoms the figures show that every row runs and which way it moves them, not what it is worth on
patients; ``real`` takes a store of scans (:mod:`benchmarks.ablation.real`).
"""

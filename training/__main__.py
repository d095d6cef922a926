"""``python -m training VERB``: from scans to a model folder."""

from __future__ import annotations

import importlib
import sys

from inference.errors import naming_flags

# Verb -> (module whose main(argv) does it, what it does).
VERBS = {
    "fingerprint": ("training.data.fingerprint", "spacing and intensity statistics of a data set"),
    "fuse": ("training.fusion.fuse", "merge label sets and choose cases"),
    "preprocess": ("training.data.preprocess", "orient, normalise and resample every scan once"),
    "train": ("training.learn.train", "train a network as a recipe says"),
    "evaluate": (
        "training.ship.evaluate",
        "DSC and NSD of a model on the validation cases",
    ),
    "export": ("training.ship.export", "write a model folder for inference"),
    "soup": ("training.ship.soup", "average the weights of two models"),
    "onnx": ("training.ship.onnx", "write a model as one ONNX file"),
    "finetune": ("training.ship.finetune", "go on training a model on a folder of one's own"),
    "calibrate": ("training.ship.calibrate", "measure a model's ranges, with which int8 computes"),
    "package": (
        "training.ship.package",
        "train on another machine: data in parts",
    ),
    "cascade": ("training.ship.cascade", "a first network's labels as further input channels"),
    "ablation": ("training.ship.ablation", "the paper's Table 7 from finished runs"),
}


def main(arguments: list[str]) -> int:
    """Run a verb. Returns the exit status."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: python -m training VERB [OPTIONS]\n")
        for verb, (_, purpose) in VERBS.items():
            print(f"  {verb:<12} {purpose}")
        print("\npython -m training VERB --help says more.")
        return 0 if arguments else 2
    if arguments[0] not in VERBS:
        print(f"{arguments[0]}: no such verb; take one of {', '.join(VERBS)}", file=sys.stderr)
        return 2
    module = importlib.import_module(VERBS[arguments[0]][0])
    with naming_flags():
        status: int = module.main(arguments[1:])
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

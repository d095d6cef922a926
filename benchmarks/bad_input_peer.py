"""nnU-Net's side of benchmarks.bad_input: one loaded predictor, one folder after another.

    python -m benchmarks.bad_input_peer MODEL DEVICE FOLDER...    (under the peers' Python)

Its own sequential prediction (-npp 0 -nps 0 of its command line), because its default starts seven
processes that import torch for every folder. Prints one line of JSON per folder: null where the
whole folder was done, else the error that ended it. FOLDER holds ``in`` and ``out``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor


def main(model: str, device: str, folders: list[str]) -> None:
    """Predict each folder; an error ends a folder, as it would end the command."""
    predictor = nnUNetPredictor(
        use_mirroring=False, perform_everything_on_device=device != "cpu",
        device=torch.device(device), allow_tqdm=False,
    )  # fmt: skip
    predictor.initialize_from_trained_model_folder(model, (0,))
    for folder in map(Path, folders):
        try:
            predictor.predict_from_files_sequential(str(folder / "in"), str(folder / "out"))
        except Exception as error:  # whatever it is, it is the outcome
            outcome: str | None = f"{type(error).__name__}: {error}"
        else:
            outcome = None
        print(json.dumps({"folder": folder.name, "error": outcome}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])

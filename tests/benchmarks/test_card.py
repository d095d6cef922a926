"""The model card says what the shipped models' files say."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.card import MODELS, case_table, mean_table
from inference.model.folder import WEIGHTS


def test_scores_of_the_card_are_those_of_the_models():
    card = (WEIGHTS / "MODEL_CARD.md").read_text(encoding="utf-8").splitlines()
    rows = mean_table(WEIGHTS, MODELS) + case_table(WEIGHTS, MODELS[0])
    missing = [row for row in rows.splitlines() if row not in card]
    assert not missing, "write the card's tables anew: python -m benchmarks.card"


def test_tables_of_a_made_model(tmp_path: Path):
    (tmp_path / "one").mkdir()
    mean = {"Liver": {"dsc": 0.91, "nsd": 0.5}, "Right adrenal gland": {"dsc": 0.25, "nsd": 1.0},
            "Organs": {"dsc": 0.58, "nsd": 0.75}, "Tumor": {"dsc": 0.0, "nsd": 0.125}}  # fmt: skip
    metrics = {"mean": mean, "dsc": {"a": {"liver": 0.91, "tumor": 0.0}}}
    (tmp_path / "one" / "model.json").write_text(json.dumps({"metrics": metrics}))
    table = mean_table(tmp_path, ["one"]).splitlines()
    between, behind = " - |" * 6, " - |" * 4
    assert table[2] == f"| `one` DSC | 91.0 |{between} 25.0, - |{behind} **58.0** | **0.0** |"
    assert table[3] == f"| `one` NSD | 50.0 |{between} 100.0, - |{behind} **75.0** | **12.5** |"
    cases = case_table(tmp_path, "one").splitlines()
    assert cases[2] == f"| `a` | 91.0 |{between} -, - |{behind} 0.0 |"

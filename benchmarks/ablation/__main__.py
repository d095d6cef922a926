"""``python -m benchmarks.ablation``: see the package."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.ablation import dataset, toy
from benchmarks.ablation.real import real
from benchmarks.environment import ROOT, describe, line
from inference.errors import AbdoboxError
from inference.labels import NAMES
from training.__main__ import main as training
from training.learn.journal import read_journal
from training.recipe import load_recipe
from training.ship import cascade
from training.ship.ablation import read_column, table

# Left out of different halves of the cases by ``loss``.
HALVED = (2, 4, 14)


class Laboratory:
    """A folder in which data are made, stored and trained on.

    Args:
        folder: for everything.
        device: of training and evaluation.
    """

    def __init__(self, folder: Path, device: str) -> None:
        self.folder, self.device = folder, device

    def store(self, recipe: Path, fuse: list[str]) -> Path:
        """Fuse, take the fingerprint and preprocess for a recipe; what is there is kept."""
        fused = self.folder / "fused"
        if not (fused / "cases.csv").exists():
            _verb("fuse", "--data", self.folder / "flare", "--out", fused, *fuse,
                  "--overrides", self.folder / "flare" / "overrides.csv")  # fmt: skip
        fingerprint, out = self.folder / "fingerprint.json", self.folder / f"store_{recipe.stem}"
        if not fingerprint.exists():
            _verb("fingerprint", "--data", fused, "--out", fingerprint)
        if not (out / "store.json").exists():
            _verb("preprocess", "--recipe", recipe, "--data", fused, "--out", out,
                  "--fingerprint", fingerprint)  # fmt: skip
        return out

    def run(self, recipe: Path, store: Path, *, evaluate: bool = True) -> Path:
        """Train a recipe (or go on with it) and evaluate it; returns the run's folder."""
        run = self.folder / "runs" / recipe.stem
        options = ("--data", store, "--device", self.device)
        resume = ["--resume"] if (run / "last.pt").exists() else []
        _verb("train", "--recipe", recipe, "--out", run, *options, *resume)
        if evaluate:
            _verb("evaluate", "--run", run, *options)
        return run

    def take_over(self, recipe: Path, other: Path) -> None:
        """Give a recipe that differs in decoding alone the finished training of another."""
        run = self.folder / "runs" / recipe.stem
        if not run.exists():
            run.mkdir()
            for name in ("last.pt", "log.jsonl"):
                shutil.copyfile(self.folder / "runs" / other.stem / name, run / name)

    def minutes(self, run: Path) -> float:
        """How long a training took."""
        events = [event for event in read_journal(run) if event["kind"] == "training"]
        return float(events[-1]["seconds"]) / 60


def tables(lab: Laboratory, steps: int) -> str:
    """Tables 7 and 2 as Markdown."""
    if not (lab.folder / "flare").exists():
        dataset.write_flare(lab.folder / "flare", partial=9, unlabelled=4, validation=4)
    fuse = ["--teachers", *dataset.TEACHERS]
    first = toy.write_recipe(lab.folder, toy.FIRST_STAGE, steps)
    coarse = lab.store(first, fuse)
    tiny = lab.run(first, coarse)
    rows = {name: toy.write_recipe(lab.folder, name, steps) for name in toy.TABLE7}
    store = lab.store(rows["small"], fuse)
    _verb("export", "--run", tiny, "--data", coarse, "--out", lab.folder / "models",
          "--name", "tiny", "--replace")  # fmt: skip
    _cascade("--model", lab.folder / "models" / "tiny", "--data", store, "--device", lab.device)
    runs = []
    for name, recipe in rows.items():
        if name == "normal_inference":
            lab.take_over(recipe, rows["small"])
        runs.append(lab.run(recipe, store))
    spent = ", ".join(f"{run.name} {lab.minutes(run):.1f}" for run in (tiny, *runs))
    parts = [
        f"Table 7 on phantoms, {steps} steps, 4 validation phantoms, DSC and NSD in per cent:", "",
        table([read_column(run) for run in runs]), "", f"Minutes of training: {spent}.", "",
        table2(lab, fuse, steps=6),
    ]  # fmt: skip
    return "\n".join(parts)


def table2(lab: Laboratory, fuse: list[str], steps: int) -> str:
    """Table 2: each column's network, trained for some steps on small patches."""
    columns: dict[str, list[str]] = {}
    recipes = {name: toy.write_table2_recipe(lab.folder, name, steps) for name in toy.TABLE2}
    store = lab.store(recipes["small"], fuse)
    for name, patch in toy.TABLE2.items():
        run = lab.run(recipes[name], store, evaluate=False)
        full, net = load_recipe(name), load_recipe(name).network.architecture()
        last = [event for event in read_journal(run) if event["kind"] == "training"][-1]
        columns[full.title] = [
            str(net.features[0]), str(net.convolutions), _by(full.sampling.patch),
            str(len(net.features) - 1), str(full.sampling.spacing), f"{net.parameters() / 1e6:.2f}",
            f"{net.macs(full.sampling.patch) / 1e9:.1f}", _by(patch), str(last["step"]),
            f"{last['step_seconds']:.2f}", f"{last['loss']:.3f}",
        ]  # fmt: skip
    names = (
        "Channels in the first stage", "Convolution number per stage", "Patch size",
        "Downsampling times", "Input spacing", "Parameters (M)", "GMAC a patch",
        "Patch of this trial (batch 2)", "Steps of this trial", "Seconds a step", "Last mean loss",
    )  # fmt: skip
    lines = [f"Table 2, each network trained for {steps} steps:", ""]
    lines += ["| Settings | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for row, name in enumerate(names):
        lines.append(f"| {name} | " + " | ".join(c[row] for c in columns.values()) + " |")
    return "\n".join(lines) + "\n"


def loss(lab: Laboratory, steps: int) -> str:
    """The partial against the normal loss, with some classes unannotated in half of the cases."""
    if not (lab.folder / "flare").exists():
        dataset.write_halves(lab.folder / "flare", HALVED, validation=4)
    recipes = [
        toy.write_recipe(lab.folder, "small", steps, name, f"\n[loss]\nselected = {selected}\n")
        for name, selected in (("partial", list(NAMES)), ("normal", []))
    ]
    store = lab.store(recipes[0], ["--mode", "per-class", "--teachers", "truth"])
    runs = [lab.run(recipe, store) for recipe in recipes]
    scores = [json.loads((run / "metrics.json").read_text())["mean"] for run in runs]
    return loss_table(scores[0], scores[1], steps)


def loss_table(partial: dict[str, Any], normal: dict[str, Any], steps: int) -> str:
    """Markdown from the ``mean`` of either run's metrics, DSC in per cent."""
    halved = [NAMES[value].capitalize() for value in HALVED]
    others = [n.capitalize() for v, n in NAMES.items() if v not in HALVED]
    lines = [f"{2 ** len(HALVED)} training phantoms, {steps} steps, 4 validation phantoms:", ""]
    lines += ["| class | selected partial loss | normal loss | difference |", "|---|---|---|---|"]
    rows = [(name, [name]) for name in halved]
    rows += [("mean of these, unannotated in half of the cases", halved)]
    rows += [(f"mean of the other {len(others)}", others)]
    for label, names in rows:
        a, b = (100 * sum(s[n]["dsc"] for n in names) / len(names) for s in (partial, normal))
        lines.append(f"| {label} | {a:.1f} | {b:.1f} | {a - b:+.1f} |")
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ablation", description=__doc__)
    parser.add_argument("what", choices=("tables", "loss", "real"))
    parser.add_argument("--steps", type=int, default=600, help="of each training (default: 600)")
    parser.add_argument("--store", type=Path, help="real: preprocessed scans, sampling.native")
    parser.add_argument("--minutes", type=float, default=30, help="real: of each (default: 30)")
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[0, 1], help="real: which (default: 0 1)"
    )
    parser.add_argument("--out", type=Path, help="folder (default: build/ablation/WHAT)")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(argv)
    folder = (options.out or ROOT / "build" / "ablation" / options.what).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    machine, start = describe(), time.monotonic()
    try:
        text = _text(options, folder)
    except AbdoboxError as error:
        sys.exit(f"error: {error}")
    minutes = (time.monotonic() - start) / 60
    text = f"{line(machine)}, {minutes:.0f} minutes\n\n{text}"
    (folder / f"{options.what}.md").write_text(text, encoding="utf-8")
    print(text, end="")
    return 0


def _text(options: argparse.Namespace, folder: Path) -> str:
    if options.what == "real":
        if options.store is None:
            sys.exit("--store: which preprocessed scans?")
        return real(folder, options.store, options.device, options.minutes, options.seeds, _verb,
                    _cascade)  # fmt: skip
    make = {"tables": tables, "loss": loss}[options.what]
    return make(Laboratory(folder, options.device), options.steps)


def _cascade(*words: object) -> None:
    _checked(cascade.main([str(word) for word in words]), "cascade")


def _verb(*words: object) -> None:
    _checked(training([str(word) for word in words]), f"training {words[0]}")


def _checked(status: int, what: str) -> None:
    if status:
        sys.exit(f"{what} failed")


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


if __name__ == "__main__":
    sys.exit(main())

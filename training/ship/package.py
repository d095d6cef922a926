"""``python -m training package``: all that a training needs, in parts, for a machine elsewhere.

::

    python -m training package make --recipe small --data store --out package
    python -m training package train package --out kept      # there; the same again goes on
    python -m training package join kept run                 # for evaluate and export

``make`` packs store, recipe, anatomies and first weights into files of at most 60 MB, with
checksums. ``train`` unpacks them once, trains on all GPUs, and keeps journal, report and
checkpoints in ``--out``, these in parts of at most 16 MiB: package and ``--out`` are enough to go
on elsewhere.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import math
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import torch
from isal import igzip

from inference.errors import AbdoboxError
from training.data.folders import make_folder
from training.data.store import Store
from training.learn import checkpoint
from training.learn.first_weights import first_weights
from training.options import length, minutes
from training.recipe import FOLDER, load_recipe
from training.ship import parts
from training.ship.kept import keep, restore, step_kept, step_of

PART_BYTES = 60_000_000
NAME = "package"
POLL_SECONDS = 2.0


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    try:
        if arguments.action == "join":
            if (arguments.run / checkpoint.LAST).exists():
                raise parts.PartsError(
                    arguments.run, "holds a training already", "name another folder"
                )
            make_folder(arguments.run)
            restore(arguments.kept, arguments.run)
            return 0
        if arguments.action == "make":
            if arguments.label_maps and not arguments.structures:
                parser.error("--label-maps needs --structures")
            make(arguments)
            return 0
        return train(arguments)
    except AbdoboxError as error:
        print(error, file=sys.stderr)
        return 1


def make(arguments: argparse.Namespace) -> None:
    """Write the package."""
    load_recipe(arguments.recipe)
    store = Store(arguments.data)
    files = {f"store/{path.name}": path for path in _store_files(store)}
    names = [path.name for path in arguments.label_maps]
    if len({*names}) < len(names):
        raise parts.PartsError(
            arguments.out, "would hold two label maps of one name", "rename one of them"
        )
    files |= {f"label_maps/{path.name}": path for path in arguments.label_maps}
    if arguments.structures:
        files["structures.json"] = arguments.structures
    if arguments.anatomies:
        files |= {f"anatomies/{p.name}": p for p in sorted(arguments.anatomies.glob("*.*.*"))}
    if arguments.start_from:
        first_weights(arguments.start_from, store, arguments.out)
        files |= _start_files(arguments.start_from)
    writer = parts.PartsWriter(arguments.out, NAME, PART_BYTES)
    with (
        igzip.open(writer, "wb", compresslevel=1) as packed,
        tarfile.open(fileobj=packed, mode="w|") as archive,
    ):
        _add(archive, "recipe.toml", _recipe_text(arguments.recipe).encode())
        for name, path in files.items():
            archive.add(path, name)
    writer.finish()
    sizes = [path.stat().st_size for path in arguments.out.glob(f"{NAME}.*.[0-9]*")]
    print(f"{arguments.out}: {len(sizes)} parts, {sum(sizes) / 1e6:.0f} MB", file=sys.stderr)


def train(arguments: argparse.Namespace) -> int:
    """Unpack, train, keep; returns the training's exit status."""
    out: Path = arguments.out
    work = arguments.work / _digest(_listing(arguments.package))
    run = work / f"run_{_digest(str(out.resolve()).encode())}"
    data = unpack(arguments.package, work)
    make_folder(out)
    make_folder(run)
    if parts.exists(out, checkpoint.LAST) and step_kept(out, run) > step_of(run / checkpoint.LAST):
        restore(out, run)
    process = subprocess.Popen(_command(arguments, data, run))  # noqa: S603

    def hand_on(number: int, frame: FrameType | None) -> None:
        process.send_signal(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, hand_on)
    kept: dict[str, int] = {}
    while process.poll() is None:
        time.sleep(POLL_SECONDS)
        try:
            keep(run, out, kept)
        except (OSError, AbdoboxError) as error:
            # A full disk may be emptied and a share come back; the training goes on meanwhile.
            print(f"warning: {error}; trying again", file=sys.stderr)
    keep(run, out, kept)
    return process.returncode


def _listing(package: Path) -> bytes:
    """What names the parts of a package. Raises PartsError."""
    path = package / f"{NAME}.json"
    try:
        return path.read_bytes()
    except OSError as error:
        raise parts.PartsError(
            package,
            f"holds no package ({error.strerror})",
            "name the folder that package make wrote",
        ) from error


def unpack(package: Path, work: Path) -> Path:
    """The package's contents as a folder below ``work``; what was unpacked before stays.

    Raises:
        PartsError: a part is missing or damaged.
    """
    data = work / "data"
    if not data.exists():
        partial = work / "data.part"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        with (
            igzip.open(parts.PartsReader(package, NAME), "rb") as packed,
            tarfile.open(fileobj=packed, mode="r|") as archive,
        ):
            archive.extractall(partial, filter="data")
        partial.rename(data)
    return data


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]


def _command(arguments: argparse.Namespace, data: Path, run: Path) -> list[str]:
    """The training's command line; torchrun's where there are several GPUs."""
    gpus = torch.cuda.device_count() if arguments.device == "auto" else 1
    gpus = min(gpus, load_recipe(str(data / "recipe.toml")).sampling.batch)
    words = [sys.executable, "-m"]
    if gpus > 1:
        words += ["torch.distributed.run", "--standalone", f"--nproc-per-node={gpus}", "-m"]
    words += ["training", "train", "--recipe", str(data / "recipe.toml"), "--device",
              arguments.device, "--data", str(data / "store"), "--out", str(run)]  # fmt: skip
    maps = sorted((data / "label_maps").glob("*"))
    if maps:
        words += ["--label-maps", *map(str, maps), "--structures", str(data / "structures.json")]
        words += ["--anatomies", str(data / "anatomies")]
    if (run / checkpoint.LAST).exists():
        words.append("--resume")
    else:
        starts = [path for path in (data / "start.pt", data / "start") if path.exists()]
        words += ["--start-from", str(starts[0])] if starts else []
    if arguments.hold_out:
        words += ["--hold-out", *arguments.hold_out]
    if arguments.schedule_minutes is not None:
        words += ["--schedule-minutes", str(arguments.schedule_minutes)]
    return [*words, "--max-minutes", str(arguments.max_minutes)]


def _start_files(path: Path) -> dict[str, Path]:
    """Name in the package -> file: a checkpoint's, or the two of a model's folder."""
    if path.is_dir():
        return {f"start/{name}": path / name for name in ("model.json", "model.safetensors")}
    return {"start.pt": path}


def _store_files(store: Store) -> list[Path]:
    files = [store.folder / "store.json"]
    for case in store.cases:
        kinds = ("json", "image.npy", "labels.npy", "foreground.npy", "previous.npy")
        paths = [store.folder / f"{case.name}.{kind}" for kind in kinds]
        files += [path for path in paths if path.exists()]
    return files


def _recipe_text(name: str) -> str:
    """The recipe as a file of its own, which keeps its name."""
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    text = path.read_text(encoding="utf-8")
    return text if "name" in tomllib.loads(text) else f'name = "{path.stem}"\n{text}'


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training package", description="Train on another machine."
    )
    actions = parser.add_subparsers(dest="action", required=True)
    pack = actions.add_parser("make", help="write a package")
    pack.add_argument("--recipe", required=True, help="name or TOML file")
    pack.add_argument("--data", type=Path, required=True, help="folder written by preprocess")
    pack.add_argument("--out", type=Path, required=True, help="folder of the package")
    pack.add_argument("--start-from", type=Path, metavar="CHECKPOINT",
                      help="first weights, or a model's folder")  # fmt: skip
    pack.add_argument("--label-maps", type=Path, nargs="+", default=[], metavar="NIFTI")
    pack.add_argument("--structures", type=Path, metavar="JSON")
    pack.add_argument("--anatomies", type=Path, help="what train --anatomies has built")
    run = actions.add_parser("train", help="unpack a package and train, or go on")
    run.add_argument("package", type=Path, help="folder of the package")
    run.add_argument("--out", type=Path, required=True, help="folder that keeps the results")
    run.add_argument(
        "--work", type=Path, default=Path("build/package"), help="folder for unpacked data"
    )
    run.add_argument("--max-minutes", type=minutes, default=math.inf, metavar="M")
    run.add_argument("--schedule-minutes", type=length, metavar="M")
    run.add_argument("--hold-out", nargs="+", metavar="PATIENT", help="as for train")
    run.add_argument("--device", default="auto", help="auto, cpu or cuda[:N]")
    whole = actions.add_parser("join", help="a run's folder from what train has kept")
    whole.add_argument("kept", type=Path, help="folder that train was given as --out")
    whole.add_argument("run", type=Path, help="folder to write")
    return parser

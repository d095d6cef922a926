"""What a library owes to the program that uses it."""

from __future__ import annotations

import ast
import importlib
import json
import os
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import inference
from inference.cli.main import main
from inference.cli.parser import parser
from inference.engines.torch_settings import exact_cudnn
from inference.errors import DeviceError, ModelError, argument, naming_flags
from inference.model.description import Crop
from inference.segmenter import Segmenter
from inference.steps.resample import linear_taps, nearest_taps
from inference.steps.windows import importance, mirror_index
from phantom import Phantom
from tests.inference.by_engine import volume_of
from tests.random_model import TINY, write_model

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "inference"


def test_the_public_names_load_on_first_use():
    code = (
        "import json, sys, inference\n"
        "before = sorted(sys.modules)\n"
        "assert set(inference.__all__) <= set(dir(inference))\n"
        "kinds = {name: type(getattr(inference, name)).__name__ for name in inference.__all__}\n"
        "print(json.dumps([before, kinds]))\n"
    )
    words = [sys.executable, "-c", code]
    run = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    before, kinds = json.loads(run.stdout)
    assert {name.partition(".")[0] for name in before}.isdisjoint({"numpy", "openvino", "argparse"})
    assert kinds == {
        "NAMES": "dict",
        "AbdoboxError": "type",
        "Grid": "type",
        "Segmentation": "type",
        "Segmenter": "type",
        "Volume": "type",
        "__version__": "str",
    }


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="module 'inference' has no attribute 'Segmentor'"):
        inference.Segmentor  # noqa: B018


@pytest.mark.slow
def test_openvino_stays_whole_and_silent(tiny_model: Path, tmp_path: Path):
    """Its converter works for others, nothing was written at home, no environment was changed."""
    code = (
        "import os, sys\n"
        "before = dict(os.environ)\n"
        "from inference import Segmenter\n"
        "Segmenter.load(sys.argv[1], 'cpu')\n"
        "assert dict(os.environ) == before\n"
        "assert 'openvino_telemetry' not in sys.modules\n"
        "import openvino, torch\n"
        "model = openvino.convert_model(torch.nn.ReLU(), example_input=torch.zeros(1, 3))\n"
        "print([op.get_type_name() for op in model.get_ordered_ops()])\n"
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("CI", "JENKINS_URL")}
    run = subprocess.run(
        [sys.executable, "-c", code, str(tiny_model)],
        cwd=ROOT, env={**environment, "HOME": str(tmp_path)}, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert "Relu" in run.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_does_without_the_converter(scans: Path, tiny_model: Path, tmp_path: Path):
    """It takes half a second to import, and a run has no use for it."""
    code = (
        "import sys\n"
        "from inference.cli.main import main\n"
        "assert main(sys.argv[1:]) == 0\n"
        "assert 'openvino' in sys.modules\n"
        "assert not {'openvino.tools.ovc', 'openvino_telemetry'} & set(sys.modules)\n"
    )
    words = ["-i", scans, "-o", tmp_path / "out", "--device", "cpu", "--model", tiny_model]
    subprocess.run([sys.executable, "-c", code, *map(str, words)], cwd=ROOT, check=True)


@pytest.fixture(params=["legacy", "new"])
def cudnn(request: pytest.FixtureRequest) -> Iterator[dict[str, object]]:
    """The caller's settings of cuDNN, said in either way that torch has for its precision."""
    flags = torch.backends.cudnn
    before = flags.benchmark, flags.deterministic, flags.conv.fp32_precision
    flags.benchmark, flags.deterministic = True, False
    if request.param == "legacy":
        flags.allow_tf32 = True
    else:
        flags.conv.fp32_precision = "tf32"
    yield cudnn_flags()
    flags.benchmark, flags.deterministic, flags.conv.fp32_precision = before
    flags.allow_tf32 = True


def cudnn_flags() -> dict[str, object]:
    flags = torch.backends.cudnn
    return {
        "benchmark": flags.benchmark,
        "deterministic": flags.deterministic,
        "precision": flags.conv.fp32_precision,
    }


OURS = {"benchmark": False, "deterministic": True, "precision": "ieee"}


def test_cudnns_flags_are_the_callers_again(cudnn: dict[str, object]):
    with exact_cudnn():
        assert cudnn_flags() == OURS
    assert cudnn_flags() == cudnn
    with pytest.raises(RuntimeError, match="out of memory"), exact_cudnn():
        raise RuntimeError("out of memory")
    assert cudnn_flags() == cudnn


def test_an_argument_as_its_writer_wrote_it():
    assert argument("device", "cuda:3") == 'device="cuda:3"'
    assert argument("step", 0.5) == "step=0.5"
    with naming_flags():
        assert argument("device", "cuda:3") == "--device cuda:3"
        assert argument("step", 0.5) == "--step 0.5"
    assert argument("precision", None) == "precision=None"


def test_the_same_error_names_an_argument_or_a_flag(
    scans: Path, tiny_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    with pytest.raises(DeviceError) as raised:
        Segmenter.load(tiny_model, "torch-cpu", precision="int8")
    assert str(raised.value).startswith('precision="int8": is not for torch-cpu; use device="cpu"')
    words = ["-i", scans, "-o", tmp_path / "out", "--model", tiny_model, "--device", "torch-cpu"]
    assert main([*map(str, words), "--precision", "int8"]) == 1
    assert "error: --precision int8: is not for torch-cpu; use --device cpu" in (
        capfd.readouterr().err
    )
    with pytest.raises(ModelError, match='model="gone": is not there'):
        Segmenter.load(model="gone")


def test_no_other_room_spells_a_flag_itself():
    """What is not of the command line (cli, many) says :func:`inference.errors.argument`."""
    flags = {flag for action in parser()._actions for flag in action.option_strings}
    flag = re.compile("|".join(re.escape(f) + r"\b" for f in flags if f.startswith("--")))
    spelt = []
    for path in PACKAGE.rglob("*.py"):
        if path.relative_to(PACKAGE).parts[0] in ("cli", "many"):
            continue
        tree = ast.parse(path.read_text())
        described = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        spelt += [
            (path.name, node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in described
            and flag.search(node.value)
        ]
    assert spelt == []


def test_caches_are_bounded():
    caches = {}
    for module in pkgutil.walk_packages([str(PACKAGE)], "inference."):
        if module.name.endswith("__main__"):
            continue
        for name, value in vars(importlib.import_module(module.name)).items():
            if hasattr(value, "cache_parameters"):
                caches[name] = value.cache_parameters()["maxsize"]
    assert {"linear_taps", "nearest_taps", "mirror_index", "importance"} <= caches.keys()
    assert {name for name, most in caches.items() if most is None} == set()


@pytest.mark.parametrize(
    "cached",
    [
        lambda: linear_taps(7, 11).lower,
        lambda: linear_taps(7, 11).upper,
        lambda: linear_taps(7, 11).fraction,
        lambda: nearest_taps(7, 11),
        lambda: mirror_index(3, 8)[0],
        lambda: mirror_index(8, 3)[0],
        lambda: importance((4, 4, 4)),
    ],
)
def test_what_is_cached_cannot_be_written_to(cached):
    values: np.ndarray = cached()
    with pytest.raises(ValueError, match="read-only"):
        values[0] = 0
    assert cached() is values


@pytest.mark.filterwarnings("error")
def test_torch_takes_copies_of_what_is_cached(tiny_model: Path, phantom: Phantom):
    segmenter = Segmenter.load(tiny_model, "torch-cpu")
    for decode in ("nearest", "linear"):
        segmenter.segment(volume_of(phantom), decode=decode)


def test_a_second_network_of_a_cascade_is_refused_at_load(
    make_model, scans: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    folder = make_model("second", architecture=replace(TINY.architecture, inputs=15))
    with pytest.raises(ModelError, match="reads 15 channels, and a CT is one") as raised:
        Segmenter.load(folder)
    assert main(["-i", str(scans), "-o", str(tmp_path / "out"), "--model", str(folder)]) == 1
    assert capfd.readouterr().err == f"error: {raised.value}\n"
    assert not (tmp_path / "out").exists()


def test_and_so_is_one_that_is_to_find_the_organs(tmp_path: Path):
    write_model(
        tmp_path / "finder", replace(TINY, architecture=replace(TINY.architecture, inputs=2))
    )
    crop = Crop("finder", 20.0)
    folder = write_model(tmp_path / "main", replace(TINY, step=None, crop=crop))
    with pytest.raises(ModelError, match="finder: reads 2 channels"):
        Segmenter.load(folder)

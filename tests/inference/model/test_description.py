"""model.json: what is written is read back, and what is broken is named."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inference.errors import ModelError
from inference.model.description import (
    Architecture,
    Intensity,
    ModelDescription,
    verified_weights,
)
from inference.model.folder import model_folder
from inference.model.int8_ranges import byte_maps
from tests.random_model import TINY

ONE, TWO = (1, 1, 1), (2, 2, 2)


@pytest.fixture
def document(tiny_model: Path) -> dict[str, Any]:
    """A sound model.json, parsed."""
    parsed: dict[str, Any] = json.loads((tiny_model / "model.json").read_text())
    return parsed


def write(folder: Path, document: object) -> Path:
    (folder / "model.json").write_text(json.dumps(document))
    return folder


def test_round_trip(tiny_model: Path, tmp_path: Path):
    description = ModelDescription.load(tiny_model)
    changed = replace(
        description,
        architecture=Architecture((4, 8), (ONE, (1, 2, 2)), ((1, 3, 3), (3, 3, 3)), 3, 2),
        spacing=(2.5, 0.8, 0.81),
        patch=(24, 64, 32),
        decode="nearest",
        step=0.7,
    )
    measured = {n: (0.5,) * c for n, c in byte_maps(changed.architecture).items()}
    changed = replace(changed, ranges=measured)
    write(tmp_path, changed.to_json())
    loaded = ModelDescription.load(tmp_path)
    assert loaded == changed
    assert loaded.card == description.card


def test_a_step_of_null_cuts_windows_to_the_patient(document: dict[str, Any], tmp_path: Path):
    document["step"] = None
    loaded = ModelDescription.load(write(tmp_path, document))
    assert loaded.step is None
    assert loaded.to_json()["step"] is None


def test_what_training_adds_is_kept_as_the_card(document: dict[str, Any], tmp_path: Path):
    document["recipe"] = {"name": "tiny", "epochs": 3}
    loaded = ModelDescription.load(write(tmp_path, document))
    assert loaded.card["recipe"] == {"name": "tiny", "epochs": 3}
    assert loaded.to_json() == document


def missing(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda document: document.pop(name)


def changed(*path: str, to: object) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        for name in path[:-1]:
            document = document[name]
        document[path[-1]] = to

    return change


BROKEN: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "no architecture": (missing("architecture"), "architecture"),
    "no format": (missing("format"), "format"),
    "no labels": (missing("labels"), "labels"),
    "newer format": (changed("format", to=2), "format 2"),
    "other labels": (changed("labels", to={"1": "liver"}), "labels"),
    "labels swapped": (changed("labels", "1", to="spleen"), "labels"),
    "labels as a list": (changed("labels", to=["liver"]), "no model description"),
    "patch not divisible": (changed("patch", to=[30, 32, 32]), "divisible"),
    "patch of two axes": (changed("patch", to=[32, 32]), "no model description"),
    "patch of nothing": (changed("patch", to=[0, 32, 32]), "patch"),
    "patch negative": (changed("patch", to=[-32, 32, 32]), "patch"),
    "spacing zero": (changed("spacing_mm", to=[0, 1, 1]), "spacing"),
    "spacing infinite": (changed("spacing_mm", to=[float("inf"), 1, 1]), "spacing"),
    "spacing tiny": (changed("spacing_mm", to=[1, 1e-6, 1]), "spacing (1.0, 1e-06, 1.0) must lie"),
    "spacing huge": (changed("spacing_mm", to=[1, 1, 1e9]), "must lie in 0.1 to 100 mm"),
    "patch with an endless axis": (changed("patch", to=[4, 4, 1 << 40]), "is too large"),
    "patch with endless voxels": (changed("patch", to=[1024, 1024, 1024]), "is too large"),
    "spacing a word": (changed("spacing_mm", to=["a", 1, 1]), "no model description"),
    "deviation zero": (changed("intensity_hu", "std", to=0), "std"),
    "deviation tiny": (changed("intensity_hu", "std", to=1e-300), "std >= 0.001"),
    "deviation huge": (changed("intensity_hu", "std", to=1e300), "numbers up to 1e+06 HU"),
    "mean beyond float32": (changed("intensity_hu", "mean", to=-1e39), "numbers up to"),
    "clip reversed": (changed("intensity_hu", "lower", to=900), "lower < upper"),
    "intensity incomplete": (changed("intensity_hu", to={"lower": 1}), "no model description"),
    "intensity a list": (changed("intensity_hu", to=[1, 2, 3, 4]), "no model description"),
    "unknown decoding": (changed("decode", to="cubic"), "decode"),
    "decoding a list": (changed("decode", to=["linear"]), "decode"),
    "step of zero": (changed("step", to=0), "step"),
    "step above one": (changed("step", to=1.5), "step"),
    "crop beside a step": (changed("crop", to={"model": "x", "margin_mm": 1}), "crop needs"),
    "crop out of the folder": (
        changed("crop", to={"model": "../x", "margin_mm": 1}), "a folder's name"),
    "crop to the folder above": (changed("crop", to={"model": "..", "margin_mm": 1}), "crop needs"),
    "ranges of other maps": (changed("ranges", to={"up.0": [1.0]}), "ranges are not"),
    **{
        f"ranges of {v:g}": (
            changed("ranges", to={n: [v] * c for n, c in byte_maps(TINY.architecture).items()}),
            "ranges must lie in 1e-06 to 1e+06")
        for v in (0, -1, 1e300, 1e-300, 1e-42, 2e6, float("nan"), float("inf"))
    },
    "ranges of nothing": (changed("ranges", to=None), "ranges are no table"),
    "ranges of words": (changed("ranges", to={"up.0": ["a"]}), "no model description"),
    "ranges a list": (changed("ranges", to=[1, 2]), "ranges are no table"),
    "crop that nothing agrees to": (
        changed("crop", to={"model": "x", "margin_mm": 1, "agreement": 1.5}), "agreement"),
    "crop without a margin": (changed("crop", to={"model": "x"}), "margin_mm"),
    "one stage": (
        changed("architecture", to={"features": [8], "strides": [[1, 1, 1]],
                                    "kernels": [[3, 3, 3]], "convolutions": 2, "inputs": 1}),
        "stages",
    ),
    "strides missing": (changed("architecture", "strides", to=[[1, 1, 1]]), "stages"),
    "first stage strided": (changed("architecture", "strides", to=[[2, 2, 2]] * 3), "stride 1"),
    "stride zero": (
        changed("architecture", "strides", to=[[1, 1, 1], [0, 2, 2], [2, 2, 2]]), "stride",
    ),
    "even kernel": (
        changed("architecture", "kernels", to=[[3, 3, 3], [2, 3, 3], [3, 3, 3]]), "kernel",
    ),
    "no features": (changed("architecture", "features", to=[8, 0, 32]), "features"),
    "features infinite": (
        changed("architecture", "features", to=[8, float("inf"), 32]), "no model description",
    ),
    "no convolutions": (changed("architecture", "convolutions", to=0), "convolutions"),
    "convolutions without end": (
        changed("architecture", "convolutions", to=10**9), "at most 64 convolutions",
    ),
    "architecture a word": (changed("architecture", to="unet"), "no model description"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_broken_description_gets_one_clear_line(
    document: dict[str, Any], tmp_path: Path, name: str
):
    breaking, words = BROKEN[name]
    broken = copy.deepcopy(document)
    breaking(broken)
    with pytest.raises(ModelError) as caught:
        ModelDescription.load(write(tmp_path, broken))
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'model.json'}: ")
    assert "\n" not in message
    assert words in message


@pytest.mark.parametrize(
    "contents", [b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe{}", b"1e999", b"[[[[]]]]"]
)
def test_what_is_no_description_at_all(tmp_path: Path, contents: bytes):
    (tmp_path / "model.json").write_bytes(contents)
    with pytest.raises(ModelError, match="no model description"):
        ModelDescription.load(tmp_path)


def test_missing_description(tmp_path: Path):
    with pytest.raises(ModelError, match="no such file"):
        ModelDescription.load(tmp_path)


def test_weights_are_given_only_if_they_are_the_described_ones(make_model: Callable[..., Path]):
    folder = make_model()
    description = ModelDescription.load(folder)
    file = folder / "model.safetensors"
    data = file.read_bytes()
    assert verified_weights(folder, description) == data
    for other in (data[:-1] + bytes([data[-1] ^ 1]), data[:-1], b""):
        file.write_bytes(other)
        with pytest.raises(ModelError, match="SHA-256") as caught:
            verified_weights(folder, description)
        assert str(file) in str(caught.value)
    file.unlink()
    with pytest.raises(ModelError, match="No such file"):
        verified_weights(folder, description)


@pytest.mark.parametrize("features", [(8, 16, 24), (8, 16)])
def test_weights_of_another_network_are_refused(
    make_model: Callable[..., Path], features: tuple[int, ...]
):
    folder = make_model()
    description = ModelDescription.load(folder)
    stages = len(features)
    strides = description.architecture.strides[:stages]
    other = Architecture(features, strides, ((3, 3, 3),) * stages)
    with pytest.raises(ModelError, match="does not hold the network"):
        verified_weights(folder, replace(description, architecture=other))
    (folder / "model.safetensors").write_bytes(b"no tensors")
    digest = hashlib.sha256(b"no tensors").hexdigest()
    with pytest.raises(ModelError, match="does not hold the network"):
        verified_weights(folder, replace(description, sha256=digest))


@pytest.mark.parametrize(
    "values", [(0, 0, 0, 1), (1, 0, 0, 1), (0, 1, 0, -1), (0, 1, float("nan"), 1)]
)
def test_intensity_refuses_nonsense(values: tuple[float, ...]):
    with pytest.raises(ValueError, match="intensity"):
        Intensity(*values)


def test_normalised_clips():
    hu = Intensity(-100, 300, 100, 50)
    assert [hu.normalised(v) for v in (-2000, -100, 100, 300, 3000)] == [-4, -4, 0, 4, 4]


def test_folders_of_models(make_model: Callable[..., Path], tmp_path: Path):
    one, two = make_model("one"), make_model("two")
    weights = one.parent
    assert model_folder(one) == one
    assert model_folder(weights, "two") == two
    assert model_folder(tmp_path, str(two)) == two  # a path instead of a name
    with pytest.raises(ModelError, match="holds no model"):
        model_folder(weights)
    (weights / "default").write_bytes(b"tw\xff")
    with pytest.raises(ModelError, match="default: is no text; write a model's name"):
        model_folder(weights)
    (weights / "default").write_text("two\n")
    assert model_folder(weights) == two
    with pytest.raises(ModelError, match="one, two"):
        model_folder(weights, "three")
    with pytest.raises(ModelError, match="none installed"):
        model_folder(tmp_path, "three")


def test_a_model_with_a_slash_behind_it(
    make_model: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    weights = make_model("one").parent
    make_model("two")
    assert model_folder(weights, "one/") == weights / "one"
    assert model_folder(weights, f"{weights}/two//") == weights / "two"
    monkeypatch.chdir(weights)  # a path is taken as one where it leads to a model
    assert model_folder(tmp_path, "one/") == Path("one")
    with pytest.raises(ModelError, match='model="three/": is not there; use one of: one, two'):
        model_folder(weights, "three/")

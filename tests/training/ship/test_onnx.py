"""The ONNX file computes what the model computes, in ONNX Runtime."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from safetensors.numpy import load_file

from inference.engines.openvino_network import OpenVinoNetwork
from inference.engines.torch_unet import UNet
from inference.labels import NAMES
from inference.model.architecture import Architecture
from inference.model.description import ModelDescription, verified_weights
from inference.model.folder import WEIGHTS
from inference.segmenter import Segmenter
from inference.steps.resample import resample_image
from phantom import Phantom
from tests.random_model import TINY, description_of, random_weights
from training.__main__ import main
from training.ship.onnx import onnx_model

# What ONNX Runtime's CPU, CUDA and web builds compute in three dimensions.
EVERYWHERE = {"Conv", "ReduceMean", "LeakyRelu", "Reshape", "Transpose"}
EVERYWHERE |= {"Add", "Sub", "Mul", "Div", "Sqrt"}
EVERYWHERE |= {"Cast"}  # of weights: see the test that it is gone when a session has begun
# What every WebGPU device binds at least (maxStorageBufferBindingSize).
BOUND_BYTES = 2**27


def session_of(model: onnx.ModelProto) -> ort.InferenceSession:
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def both(description: ModelDescription, image_ZYX: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logits (labels, z, y, x) of one window by ONNX Runtime and by torch."""
    weights = random_weights(description.architecture)
    session = session_of(onnx_model(description, weights, image_ZYX.shape))
    (found,) = session.run(None, {"image": image_ZYX[None, None]})
    network = UNet(description.architecture).eval()
    network.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    with torch.inference_mode():
        wanted = network(torch.from_numpy(image_ZYX)[None, None])
    return found[0], wanted[0].numpy()


def test_logits_are_torchs_on_a_phantom(phantom: Phantom):
    image = resample_image(phantom.image_ZYX, TINY.intensity, phantom.grid.shape)
    found, wanted = both(TINY, image[:24, 4:36, 8:40])
    assert np.abs(found - wanted).max() < 1e-3
    assert (found > 0).any() and (found < 0).any()


def test_strides_and_kernels_that_differ_between_axes():
    """Of a transposed convolution every place in the stride must end up at its own voxel."""
    net = Architecture(
        features=(4, 6, 10),
        strides=((1, 1, 1), (1, 2, 3), (2, 1, 2)),
        kernels=((1, 3, 5), (3, 1, 3), (3, 3, 1)),
        convolutions=1,
    )
    image = np.random.default_rng(0).standard_normal((8, 12, 18)).astype(np.float32)
    found, wanted = both(description_of(net, (2, 2, 6)), image)
    assert np.abs(found - wanted).max() < 1e-3


@pytest.mark.parametrize("name", ["tiny", "small"])
def test_shipped_models_need_nothing_that_a_browser_lacks(tmp_path: Path, name: str):
    out = tmp_path / f"{name}.onnx"
    assert main(["onnx", "--model", name, "--out", str(out)]) == 0
    model = onnx.load(out)
    onnx.checker.check_model(model, full_check=True)
    assert {node.op_type for node in model.graph.node} == EVERYWHERE
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    shapes = {
        value.name: [d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*inferred.graph.value_info, *model.graph.input, *model.graph.output)
    }
    made = {output for node in model.graph.node for output in node.output}
    assert made <= shapes.keys()
    assert max(4 * math.prod(shape) for shape in shapes.values()) <= BOUND_BYTES
    described = ModelDescription.load(WEIGHTS / name)
    assert shapes["image"] == [1, 1, *described.patch]
    assert shapes["logits"] == [1, 14, *described.patch]


def test_weights_lie_in_the_file_as_they_are_shipped_and_are_cast_once(tmp_path: Path):
    out, folded = tmp_path / "tiny.onnx", tmp_path / "folded.onnx"
    assert main(["onnx", "--model", "tiny", "--out", str(out)]) == 0
    assert out.stat().st_size < 1.1 * (WEIGHTS / "tiny" / "model.safetensors").stat().st_size
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(folded)
    ort.InferenceSession(out, options, providers=["CPUExecutionProvider"])
    assert "Cast" not in {node.op_type for node in onnx.load(folded).graph.node}


def test_metadata_say_how_to_use_it():
    model = onnx_model(TINY, random_weights(TINY.architecture))
    said = session_of(model).get_modelmeta().custom_metadata_map
    assert {key: json.loads(value) for key, value in said.items()} == {
        "name": "random",
        "version": "0",
        "spacing_mm": [8, 8, 8],
        "clip_hu": [-160, 240],
        "mean_hu": 80,
        "std_hu": 60,
        "labels": {str(value): name for value, name in NAMES.items()},
        "decode": "linear",
        "sha256": "",
        "licence": "none: random numbers",
    }


def test_another_window(tmp_path: Path, tiny_model: Path):
    out = tmp_path / "folder" / "m.onnx"
    words = ["onnx", "--model", str(tiny_model), "--out", str(out), "--window", "16", "32", "8"]
    assert main(words) == 0
    assert session_of(onnx.load(out)).get_inputs()[0].shape == [1, 1, 16, 32, 8]


def test_what_cannot_be_written_is_one_clear_line(tmp_path: Path, tiny_model: Path, capsys):
    words = ["onnx", "--model", str(tiny_model), "--out", str(tmp_path / "m.onnx")]
    (tmp_path / "file").touch()
    for more, expected in (
        (["--window", "16", "30", "16"], "--window 16 30 16: a window must be divisible by"),
        (["--model", "nowhere"], "--model nowhere: is not there"),
        (["--out", str(tmp_path)], "is a folder"),
        (["--out", str(tmp_path / "file" / "m.onnx")], "cannot be made"),
    ):
        assert main([*words, *more]) == 1
        error = capsys.readouterr().err
        assert expected in error and error.count("\n") == 1
    assert not (tmp_path / "m.onnx").exists()


class ByOnnxRuntime(OpenVinoNetwork):
    """A model in the place of OpenVINO's network, compared window by window with torch in float32.

    Not with OpenVINO, whose sums over half a million voxels are off by more: its logits in air
    differ from float64's by up to 7, torch's by 0.0005.

    Attributes:
        difference: the largest of the logits so far.
    """

    def __init__(self, description: ModelDescription, weights: bytes, file: Path) -> None:
        super().__init__(description, weights, "f32")
        tensors = load_file(file)
        self._session = session_of(onnx_model(description, tensors))
        self._unet = UNet(description.architecture).eval()
        self._unet.load_state_dict({n: torch.from_numpy(v).float() for n, v in tensors.items()})
        self.difference = 0.0

    def forward(self, windows):
        found = []
        for window in windows:
            image = np.ascontiguousarray(window, np.float32)[None, None]
            (logits,) = self._session.run(None, {"image": image})
            with torch.inference_mode():
                wanted = self._unet(torch.from_numpy(image)).numpy()
            self.difference = max(self.difference, float(np.abs(logits - wanted).max()))
            found.append(logits[0])
        return found


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_logits_and_labels_of_real_scans(shared_data: Path):
    """The five scans in the windows of ``--step 0.5``."""
    folder = WEIGHTS / "tiny"
    box = Segmenter.load(folder, "cpu", precision="f32")
    ours = Segmenter.load(folder, "cpu", precision="f32")
    weights = verified_weights(folder, ours.description)
    ours.network = ByOnnxRuntime(ours.description, weights, folder / "model.safetensors")
    scans = sorted((shared_data / "ct").glob("*_0000.nii.gz"))
    assert len(scans) == 5
    for scan in scans:
        wanted = box.segment(scan, step=0.5).labels
        found = ours.segment(scan, step=0.5).labels
        assert (found == wanted).mean() > 0.9999, scan
        print(scan.name, ours.network.difference, (found == wanted).mean())
    assert ours.network.difference < 1e-3

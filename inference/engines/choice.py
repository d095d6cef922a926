"""Which engine runs a model: by the device that was asked for, and by what is there."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from ..errors import DeviceError, argument

if TYPE_CHECKING:
    from ..model.description import ModelDescription
    from .interface import Network, Precision, Resampler

_NAMES = re.compile(r"auto|cpu|torch-cpu|cuda(:\d+)?")
HINT = "use auto, cpu, cuda or cuda:N"


def is_device(name: str) -> bool:
    """Whether ``name`` could be a device, here or elsewhere."""
    return _NAMES.fullmatch(name) is not None


def with_index(name: str) -> str:
    """``cuda`` as the first CUDA device: torch.cuda.set_device takes none without its number."""
    return "cuda:0" if name == "cuda" else name


def choose_device(device: str) -> str:
    """Turn ``auto`` into ``cuda:0``, ``openvino`` or ``torch-cpu``, whichever is there, in order.

    Args:
        device: ``auto``, ``cpu`` (OpenVINO, else torch), ``torch-cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        DeviceError: an unknown name, or one that cannot be used here.
    """
    if not is_device(device):
        raise DeviceError(argument("device", device), "is unknown", HINT)
    if device.startswith("cuda") or (device == "auto" and _driver_present()):
        if _cuda_usable(device):
            return with_index("cuda" if device == "auto" else device)
        if device != "auto":
            raise DeviceError(
                argument("device", device),
                "no such CUDA device can be used here",
                f"use {argument('device', 'cpu')}, or give the container a GPU (--gpus) and a "
                "new enough driver",
            )
    if device != "torch-cpu" and importlib.util.find_spec("openvino"):
        return "openvino"
    if importlib.util.find_spec("torch"):
        return "torch-cpu"
    raise DeviceError(
        argument("device", device),
        "neither OpenVINO nor torch is installed",
        "pip install openvino",
    )


def load_network(
    description: ModelDescription,
    weights: bytes,
    device: str,
    resampler: Resampler = "torch",
    precision: Precision = "auto",
) -> Network:
    """Build the network of ``description`` on the device that :func:`choose_device` named.

    Args:
        description: the model.
        weights: contents of its safetensors file.
        device: ``openvino``, ``torch-cpu`` or ``cuda:N``.
        resampler: ``torch`` or ``cupy``, for the CUDA route.
        precision: ``auto`` (half precision or int8 where the device has it), ``int8`` or ``f32``.

    Raises:
        DeviceError: the resampler or the precision are unknown or do not fit the device, or CuPy is
            not installed.
    """
    from .interface import Precision, Resampler

    for option, value, known in (
        ("resampler", resampler, Resampler),
        ("precision", precision, Precision),
    ):
        if value not in get_args(known):
            raise DeviceError(
                argument(option, value), "is unknown", f"use one of {', '.join(get_args(known))}"
            )
    if precision == "int8" and device != "openvino":
        raise DeviceError(
            argument("precision", "int8"),
            f"is not for {device}",
            f"use {argument('device', 'cpu')}",
        )
    if resampler == "cupy":
        if not device.startswith("cuda"):
            raise DeviceError(
                argument("resampler", "cupy"), "works on a CUDA device only", "leave it out"
            )
        if not importlib.util.find_spec("cupy"):
            raise DeviceError(
                argument("resampler", "cupy"),
                "CuPy is not installed",
                "pip install cupy-cuda13x, or leave it out",
            )
    if device == "openvino":
        from .openvino_network import OpenVinoNetwork

        return OpenVinoNetwork(description, weights, precision)
    from .torch_network import TorchNetwork

    def on_cpu(wanted: Precision) -> Network:
        return load_network(description, weights, choose_device("cpu"), precision=wanted)

    return TorchNetwork(
        description, weights, device.removeprefix("torch-"), resampler, precision, on_cpu
    )


def ready_network(
    description: ModelDescription,
    weights: bytes,
    device: str,
    resampler: Resampler = "torch",
    precision: Precision = "auto",
) -> tuple[Network, str]:
    """A network on the device that was asked for, or with ``auto`` on one that takes the model.

    Args:
        device: as for :func:`choose_device`; the others as for :func:`load_network`.

    Returns:
        The network, and what is to be said about the choice, if anything.

    Raises:
        DeviceError: as from these two, or the device does not take the model.
    """
    chosen = choose_device(device)
    note = unusable_gpu() if device == "auto" and not chosen.startswith("cuda") else ""
    try:
        return load_network(description, weights, chosen, resampler, precision), note
    except RecursionError:  # a RuntimeError too, but no word about a device
        raise
    except RuntimeError as error:
        # torch's word for a device without memory for the model, or without a sound driver.
        cause = next(iter(str(error).splitlines()), type(error).__name__)
        if device != "auto" or not chosen.startswith("cuda"):
            raise DeviceError(
                argument("device", device),
                f"does not take the model ({cause})",
                f"free its memory, or use {argument('device', 'cpu')}",
            ) from error
        network = load_network(description, weights, choose_device("cpu"), precision=precision)
        return network, f"the GPU does not take the model ({cause}): going on with {network.name}"


def unusable_gpu() -> str:
    """A word about a driver that is there, but no GPU that the CUDA build of torch can use; else
    nothing. For when ``auto`` has chosen the CPU."""
    if not _driver_present() or not importlib.util.find_spec("torch"):
        return ""
    import torch

    if torch.version.cuda is None or torch.cuda.is_available():
        return ""
    return (
        f"there is an NVIDIA driver, but no GPU that CUDA {torch.version.cuda} can use (a "
        "container without --gpus, or too old a driver): going on with the CPU"
    )


def _driver_present() -> bool:
    """Whether an NVIDIA driver shows itself; asked before the slow import of torch."""
    return any(Path(p).exists() for p in ("/dev/nvidiactl", "/dev/dxg", "/proc/driver/nvidia"))


def _cuda_usable(device: str) -> bool:
    if not importlib.util.find_spec("torch"):
        return False
    import torch

    index = int(device.partition(":")[2] or 0)
    return torch.cuda.is_available() and index < torch.cuda.device_count()

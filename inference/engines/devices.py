"""The names of devices, without anything that would have to be imported to use one."""

import re

_NAMES = re.compile(r"auto|cpu|torch-cpu|cuda(:\d+)?")
HINT = "use auto, cpu, cuda or cuda:N"


def is_device(name: str) -> bool:
    """Whether ``name`` could be a device, here or elsewhere."""
    return _NAMES.fullmatch(name) is not None


def with_index(name: str) -> str:
    """``cuda`` as the first CUDA device: torch.cuda.set_device takes none without its number."""
    return "cuda:0" if name == "cuda" else name

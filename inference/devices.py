"""The names of devices, without anything that would have to be imported to use one."""

import re

_NAMES = re.compile(r"auto|cpu|torch-cpu|cuda(:\d+)?")
HINT = "use auto, cpu, cuda or cuda:N"


def is_device(name: str) -> bool:
    """Whether ``name`` could be a device, here or elsewhere."""
    return _NAMES.fullmatch(name) is not None

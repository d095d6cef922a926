"""A CUDA device made of the CPU, for code that no CUDA device is at hand for.

Tensors that say ``cuda:0`` hold their numbers in main memory. As on a real device, operations of
tensors on two devices fail, ``numpy()`` fails, and a device without a number is refused where torch
refuses it. The memory of live tensors is counted, and can be limited: what torch's allocator would
give out, without its rounding, without CUDA's context and without cuDNN's workspaces. CuPy is
:mod:`tests.inference.fake_cupy`. All this says nothing about cuDNN or about time.
"""

from __future__ import annotations

import sys
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from inference.engines import cupy_steps
from tests.inference.fake_cupy import fake_cupy

TOTAL = 16 << 30  # bytes of the device
_aten = torch.ops.aten
# What takes tensors of main memory beside those of a device.
_CROSSING = {_aten.copy_.default, _aten._to_copy.default, _aten.index.Tensor}
_PINNING = {_aten.pin_memory, _aten._pin_memory}
# Half precision as a GPU computes it: products of halves, added up in single precision.
_IN_SINGLE = {_aten.convolution.default}


class Allocator:
    """Bytes of the tensors that are alive on the device.

    Attributes:
        live, peak: bytes now, and at most.
        reserved: the most since what was not used was given back.
        limit: beyond which there are no more.
    """

    def __init__(self) -> None:
        self.live, self.peak, self.reserved, self.limit = 0, 0, 0, TOTAL
        self._users: Counter[int] = Counter()  # tensors of each storage
        self._lock = threading.RLock()  # a tensor may end while another one is counted

    def hold(self, tensor: DeviceTensor) -> None:
        """Count a new tensor, unless its storage is counted, until it ends."""
        storage = tensor.inner.untyped_storage()
        place, size = storage.data_ptr(), storage.nbytes()
        with self._lock:
            if not self._users[place]:
                if self.live + size > self.limit:
                    raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {size} B.")
                self.live += size
                self.peak = max(self.peak, self.live)
                self.reserved = max(self.reserved, self.live)
            self._users[place] += 1
        weakref.finalize(tensor, self._release, place, size)

    def _release(self, place: int, size: int) -> None:
        with self._lock:
            self._users[place] -= 1
            if not self._users[place]:
                self.live -= size


allocator = Allocator()


class DeviceTensor(torch.Tensor):
    """A tensor on the pretended device; ``inner`` holds its numbers."""

    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner: torch.Tensor, device: torch.device) -> DeviceTensor:
        made: DeviceTensor = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, inner.shape, strides=inner.stride(), storage_offset=inner.storage_offset(),
            dtype=inner.dtype, device=device,
        )  # fmt: skip
        made.inner = inner
        allocator.hold(made)
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})

    # torch's own ways of these ask for the device's driver first.
    def __getitem__(self, index: Any) -> DeviceTensor:
        return DeviceTensor(self.inner[_indices(index)], self.device)

    def __setitem__(self, index: Any, value: Any) -> None:
        self.inner[_indices(index)] = value.inner if isinstance(value, DeviceTensor) else value

    def contiguous(self, *, memory_format: Any = torch.contiguous_format) -> DeviceTensor:
        inner = self.inner.contiguous(memory_format=memory_format)
        return self if inner is self.inner else DeviceTensor(inner, self.device)

    def nonzero(self, *, as_tuple: bool = False) -> Any:
        return tree_map(
            lambda found: DeviceTensor(found, self.device), self.inner.nonzero(as_tuple=as_tuple)
        )

    def tolist(self) -> Any:
        return self.inner.tolist()

    def data_ptr(self) -> int:
        return self.inner.data_ptr()

    def numpy(self, *, force: bool = False) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")


def _indices(index: Any) -> Any:
    return tree_map(lambda i: i.inner if isinstance(i, DeviceTensor) else i, index)


class _Device(TorchDispatchMode):
    """Makes new tensors on the device where they are asked for there."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    if func.overloadpacket in _PINNING:
        return args[0]
    kwargs.pop("pin_memory", None)
    given = [a for a in tree_flatten((args, kwargs))[0] if isinstance(a, torch.Tensor)]
    ours = [a for a in given if isinstance(a, DeviceTensor)]
    if ours and func not in _CROSSING:
        foreign = [a for a in given if not isinstance(a, DeviceTensor) and a.dim()]
        if foreign:
            raise RuntimeError(f"{func}: tensors on cuda:0 and cpu: {[a.shape for a in foreign]}")
    wanted = kwargs.get("device")
    if wanted is not None:
        target = torch.device(wanted)
        kwargs = {**kwargs, "device": torch.device("cpu")}
    else:
        target = ours[0].device if ours else torch.device("cpu")
        if func is _aten.copy_.default:
            target = args[0].device
    if target.type == "cuda" and target.index is None:
        target = torch.device("cuda", 0)
    single = func in _IN_SINGLE and any(a.dtype == torch.float16 for a in given)
    wrapped = {id(a.inner): a for a in ours}

    def inner(value: Any) -> Any:
        value = value.inner if isinstance(value, DeviceTensor) else value
        return value.float() if single and isinstance(value, torch.Tensor) else value

    def outer(value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or target.type == "cpu":
            return value
        value = value.half() if single else value
        known = wrapped.get(id(value))
        return DeviceTensor(value, target) if known is None else known

    return tree_map(outer, func(*tree_map(inner, args), **tree_map(inner, kwargs)))


class _Event:
    """A moment of the CPU's clock."""

    def __init__(self, enable_timing: bool) -> None:
        self._at = 0.0

    def record(self, stream: Any) -> None:
        self._at = time.perf_counter()

    def elapsed_time(self, other: _Event) -> float:
        return 1e3 * (other._at - self._at)


class _Generator(torch.Generator):
    """Of the CPU, whatever device is asked for."""

    def __new__(cls, device: Any = "cpu") -> _Generator:
        torch.device(device)
        return super().__new__(cls)


def _driver(enter: Callable[[int], None]) -> dict[str, Any]:
    """What is asked of torch.cuda; devices are named as torch wants them named."""
    number = torch.cuda._utils._get_device_index

    def answer(value: Callable[[], Any]) -> Callable[..., Any]:
        def asked(device: Any = None) -> Any:
            number(device, optional=True)
            return value()

        return asked

    def fraction(share: float, device: Any = None) -> None:
        assert 0 <= share <= 1
        if device is not None:
            number(device)
        allocator.limit = int(share * TOTAL)

    def reset() -> None:
        allocator.peak = allocator.live

    def give_back() -> None:
        allocator.reserved = allocator.live

    return {
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "_lazy_init": lambda: None,
        "empty_cache": give_back,
        "set_device": lambda device: enter(number(device)),
        "set_per_process_memory_fraction": fraction,
        "synchronize": answer(lambda: None),
        "mem_get_info": answer(lambda: (TOTAL - allocator.reserved, TOTAL)),
        "memory_reserved": answer(lambda: allocator.reserved),
        "memory_allocated": answer(lambda: allocator.live),
        "max_memory_reserved": answer(lambda: allocator.peak),
        "max_memory_allocated": answer(lambda: allocator.peak),
        "reset_peak_memory_stats": answer(reset),
        "get_device_name": answer(lambda: "Fake"),
        "get_device_properties": answer(lambda: SimpleNamespace(total_memory=TOTAL)),
        "current_stream": answer(lambda: SimpleNamespace(__cuda_stream__=lambda: (0, 0))),
        "Event": _Event,
    }


@contextmanager
def fake_cuda(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[list[str]]:
    """Let a CUDA device be found, and CuPy.

    Threads other than the caller's find it once they have called torch.cuda.set_device.

    Args:
        monkeypatch: to be undone by the caller.
        folder: for compiled kernels.

    Yields:
        The names of CuPy's kernels, as they are run.
    """
    here = threading.local()
    allocator.peak = allocator.reserved = allocator.live

    def enter(index: int) -> None:
        assert index == 0
        if not getattr(here, "entered", False):
            here.entered = True
            _Device().__enter__()
            torch._C._set_only_lift_cpu_tensors(True)  # type: ignore[attr-defined]

    for name, stand_in in _driver(enter).items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    monkeypatch.setattr(torch, "Generator", _Generator)
    run: list[str] = []
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy(folder, run))
    # Else a network's weights would only be lent the device's memory, and not be its tensors.
    monkeypatch.setattr(torch.__future__, "get_overwrite_module_params_on_conversion", lambda: True)
    for kernel in (cupy_steps._kernel, cupy_steps._decide_kernel):
        kernel.cache_clear()
    torch._C._ensureCUDADeviceGuardSet()  # type: ignore[attr-defined]
    only = torch._C._only_lift_cpu_tensors()  # type: ignore[attr-defined]
    torch._C._set_only_lift_cpu_tensors(True)  # type: ignore[attr-defined]
    here.entered = True
    try:
        with _Device():
            yield run
    finally:
        allocator.limit = TOTAL
        torch._C._set_only_lift_cpu_tensors(only)  # type: ignore[attr-defined]
        for kernel in (cupy_steps._kernel, cupy_steps._decide_kernel):
            kernel.cache_clear()

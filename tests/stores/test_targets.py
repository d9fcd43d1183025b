"""What memory `get_into` and its like write to, and what they refuse before any request: tensors, arrays of all kinds.

The tensors are PyTorch's where it is installed, else those of a stand-in.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cumulo.store import MemoryStore

from . import torch_stand_in

DATA = os.urandom(4096)


@pytest.fixture
def store() -> MemoryStore:
    made = MemoryStore()
    made.put("key", DATA)
    return made


@pytest.fixture
def torch(monkeypatch: pytest.MonkeyPatch) -> Any:
    try:
        import torch
    except ImportError:
        monkeypatch.setitem(sys.modules, "torch", torch_stand_in)
        return torch_stand_in
    return torch


def content(tensor: Any) -> bytes:
    return tensor.detach().numpy().tobytes()


def fill(store: MemoryStore, target: Any) -> None:
    """In each of the ways; with what the range has, since the object may be larger."""
    size = memoryview(target).nbytes if not hasattr(target, "detach") else len(content(target))
    assert store.get_into("key", target, options={"range": (5, 5 + size)}) == size
    assert store.get_ranges_into("key", [target], starts=[3]) == [size]
    assert store.get_range_into("key", target, start=9) == size


# -- tensors


def test_tensors_of_any_shape_and_type(store: MemoryStore, torch: Any) -> None:
    for tensor in (torch.zeros(16), torch.zeros(4, 8), torch.zeros(()), torch.zeros(3, dtype=torch.int64)):
        fill(store, tensor)
        assert content(tensor) == DATA[9 : 9 + len(content(tensor))]


def test_gradients_are_never_of_other_values(store: MemoryStore, torch: Any) -> None:
    """What autograd has saved of a tensor counts as changed; what requires grad is not written to unasked."""
    tensor = torch.zeros(16)
    before = tensor._version
    store.get_range_into("key", tensor, start=0)
    assert tensor._version > before
    weights = torch.zeros(16, requires_grad=True)
    with pytest.raises(ValueError, match="detach"):
        store.get_range_into("missing", weights, start=0)
    store.get_range_into("key", weights.detach(), start=0)
    assert content(weights) == DATA[:64]
    assert weights._version > 0


def test_tensors_that_are_no_plain_memory(store: MemoryStore, torch: Any) -> None:
    with pytest.raises(TypeError, match="meta"):
        store.get_range_into("missing", torch.zeros(4, device="meta"), start=0)
    with pytest.raises(ValueError, match="contiguous"):
        store.get_range_into("missing", torch.zeros(4, 8).t(), start=0)
    with pytest.raises(ValueError, match="no plain memory"):
        store.get_range_into("missing", torch.zeros(4, 4).to_sparse_csr(), start=0)


# -- buffers

WRITTEN: dict[str, Callable[[], Any]] = {
    "cast": lambda: memoryview(bytearray(400)).cast("f"),
    "two dimensions": lambda: memoryview(bytearray(400)).cast("B", (20, 20)),
    "slice": lambda: memoryview(bytearray(400))[7:77],
    "number": lambda: np.zeros(()),
    "one row in Fortran's order": lambda: np.zeros((1, 10), order="F"),
    "structured": lambda: np.zeros(10, [("O", "u1"), ("ZeO", ">f8")]),
    "booleans": lambda: np.zeros(10, bool),
    "text": lambda: np.zeros(10, "U5"),
    "ctypes' integers": ctypes.c_int * 10 * 3,
    "private map": lambda: mmap.mmap(-1, 100, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS),
}

REFUSED: dict[str, tuple[type[Exception], Callable[[], Any]]] = {
    "backwards": (ValueError, lambda: memoryview(bytearray(400))[::-1]),
    "Fortran's order": (ValueError, lambda: np.zeros((10, 10), order="F")),
    "every other": (ValueError, lambda: np.zeros(10)[::2]),
    "a field": (ValueError, lambda: np.zeros(10, [("a", "u1"), ("b", "f8")])["b"]),
    "dates": (ValueError, lambda: np.zeros(10, "M8[s]")),
    "the same again and again": (TypeError, lambda: np.broadcast_to(np.zeros(1), (5,))),
    "read-only": (TypeError, lambda: memoryview(bytearray(4)).toreadonly()),
    "read-only map": (TypeError, lambda: mmap.mmap(-1, 10, prot=mmap.PROT_READ)),
    "references": (TypeError, lambda: np.zeros(4, object)),
    "references among others": (TypeError, lambda: np.zeros(4, [("a", "u1"), ("b", "O")])),
    "ctypes' references": (TypeError, ctypes.py_object * 4),
}


@pytest.mark.parametrize("kind", WRITTEN)
def test_memory_of_any_kind(store: MemoryStore, kind: str) -> None:
    target = WRITTEN[kind]()
    fill(store, target)
    view = memoryview(target)
    assert view.tobytes() == DATA[9 : 9 + view.nbytes]


@pytest.mark.parametrize("kind", REFUSED)
def test_memory_that_is_refused(store: MemoryStore, kind: str) -> None:
    error, make = REFUSED[kind]
    target = make()
    for call in (
        lambda: store.get_into("missing", target),
        lambda: store.get_range_into("missing", target, start=0),
        lambda: store.get_ranges_into("missing", [target], starts=[0]),
    ):
        with pytest.raises(error, match="target"):
            call()

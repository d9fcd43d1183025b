"""As much of PyTorch as `get_into` uses, on NumPy, for where PyTorch is not installed: it is large.

What it says of each kind of tensor was read off PyTorch 2.13, with which `test_targets.py` runs as well.
"""

from __future__ import annotations

import types
from typing import Any

import numpy as np

uint8, float32, int64 = np.dtype("u1"), np.dtype("f4"), np.dtype("i8")
inference = False


class Tensor:
    """Memory with a version, which tensors that share it have in common."""

    def __init__(
        self, array: np.ndarray[Any, Any], version: list[int], device: str = "cpu", grad: bool = False
    ) -> None:
        self._array, self._versions = array, version
        self.device = types.SimpleNamespace(type=device)
        self.requires_grad = grad

    @property
    def _version(self) -> int:
        return self._versions[0]

    def is_contiguous(self) -> bool:
        return self._array.flags.c_contiguous

    def is_inference(self) -> bool:
        return inference

    def view(self, how: Any) -> Tensor:
        seen = self._array.reshape(-1) if how == -1 else self._array.view(how)
        return Tensor(seen, self._versions)

    def detach(self) -> Tensor:
        return Tensor(self._array, self._versions)

    def t(self) -> Tensor:
        return Tensor(self._array.T, self._versions)

    def numpy(self) -> np.ndarray[Any, Any]:
        return self._array

    def to_sparse_csr(self) -> Tensor:
        return _Sparse(self._array, self._versions)


class _Sparse(Tensor):
    def is_contiguous(self) -> bool:
        raise RuntimeError("Sparse CSR tensors do not have is_contiguous")


def zeros(*shape: Any, dtype: Any = float32, device: str = "cpu", requires_grad: bool = False) -> Tensor:
    return Tensor(np.zeros(shape[0] if shape == ((),) else shape, dtype), [0], device, requires_grad)


def _increment_version(tensor: Tensor) -> None:
    if inference:
        raise RuntimeError("Inference tensors do not track version counter.")
    tensor._versions[0] += 1


autograd = types.SimpleNamespace(graph=types.SimpleNamespace(increment_version=_increment_version))

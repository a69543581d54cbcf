"""As much of torch as the adapter asks for, made of NumPy arrays; and a classifier to explain."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

WEIGHTS = np.random.default_rng(0).normal(0, 0.2, (4, 3 * 6 * 5)).astype(np.float32)


def scores(batch: NDArray[np.floating]) -> NDArray[np.floating]:
    """A linear classifier of images (3, 6, 5), four classes."""
    return batch.reshape(len(batch), -1) @ WEIGHTS.T.astype(batch.dtype)


def probabilities(batch: NDArray[np.floating]) -> NDArray[np.floating]:
    """The same with a softmax."""
    powers = np.exp(scores(batch))
    return powers / powers.sum(axis=1, keepdims=True)


class StubTensor:
    """A tensor of the stub."""

    def __init__(self, array: NDArray[Any], device: str = "cpu", tracked: bool = False) -> None:
        self.array, self.device, self.tracked = array, SimpleNamespace(type=device), tracked

    dtype = property(lambda self: self.array.dtype)
    shape = property(lambda self: self.array.shape)
    ndim = property(lambda self: self.array.ndim)

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, place: int) -> StubTensor:
        return StubTensor(self.array[place], self.device.type, self.tracked)

    def __array__(self, dtype: object = None, copy: object = None) -> NDArray[Any]:
        return self.numpy()

    def is_floating_point(self) -> bool:
        return self.array.dtype.kind == "f"

    def is_complex(self) -> bool:
        return self.array.dtype.kind == "c"

    def detach(self) -> StubTensor:
        return StubTensor(self.array, self.device.type)

    def float(self) -> StubTensor:
        return StubTensor(self.array.astype(np.float32), self.device.type, self.tracked)

    def cpu(self) -> StubTensor:
        return StubTensor(self.array, "cpu", self.tracked)

    def to(self, device: SimpleNamespace, dtype: np.dtype) -> StubTensor:
        return StubTensor(self.array.astype(dtype), device.type, self.tracked)

    def numpy(self) -> NDArray[Any]:
        # As torch's, which give no arrays of what lies on a GPU or is differentiated.
        if self.tracked or self.device.type != "cpu":
            raise TypeError("can't convert")
        return self.array


def images() -> NDArray[np.float32]:
    """(3, 3, 6, 5)."""
    return np.random.default_rng(1).normal(size=(3, 3, 6, 5)).astype(np.float32)


#: To stand in `sys.modules`. Nothing is one of its modules.
TORCH = SimpleNamespace(
    Tensor=StubTensor,
    from_numpy=StubTensor,
    no_grad=contextlib.nullcontext,
    nn=SimpleNamespace(Module=type("Module", (), {})),
)

"""Arrays that stay where a session runs, and sessions that read from them and write into them."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from ..errors import NetworkError
from .runtime import Running, failing


class Buffer:
    """An array of float32 where a session runs, which sessions read from and write into; zeros at first.

    Parameters
    ----------
    shape : tuple of int
    provider : {"cpu", "cuda"}
    device : int
        Number of the GPU.

    Raises
    ------
    NetworkError
        If there is no such device, or not enough memory.
    """

    def __init__(self, shape: tuple[int, ...], provider: Running, device: int = 0) -> None:
        self.shape, self.provider, self.device = shape, provider, device
        self.value = _on_device(np.zeros(shape, np.float32), provider, device)

    def rows(self, start: int, count: int) -> tuple[Any, ...]:
        """So many rows from row `start` on, as sessions are told of them: device, type, shape and address."""
        if not 0 <= start <= start + count <= self.shape[0]:
            raise NetworkError(f"expected rows of a buffer of {self.shape[0]}, found {start} to {start + count}")
        sizes = self.shape[1:]
        address = int(self.value.data_ptr()) + 4 * start * prod(sizes)
        return self.provider, self.device, np.float32, (count, *sizes), address

    def fill(self, row: NDArray[np.float32]) -> None:
        """Make every row this one."""
        self.value.update_inplace(np.ascontiguousarray(np.broadcast_to(row, self.shape)))

    def numpy(self) -> NDArray[np.float32]:
        return np.asarray(self.value.numpy())


class BoundSession:
    """A session whose large arrays stay where it runs.

    Parameters
    ----------
    session : onnxruntime.InferenceSession
    provider : {"cpu", "cuda"}
    device : int
        Number of the GPU: the session's.
    """

    def __init__(self, session: onnxruntime.InferenceSession, provider: Running, device: int = 0) -> None:
        self._session, self._provider, self._device = session, provider, device
        self._binding = session.io_binding()
        self._kept: dict[str, onnxruntime.OrtValue] = {}

    def keep(self, arrays: Mapping[str, NDArray[np.generic]]) -> None:
        """Inputs that stay the same from run to run. NetworkError if the session does not take them."""
        with failing("taking what stays the same"):
            for name, array in arrays.items():
                self._kept[name] = _on_device(np.ascontiguousarray(array), self._provider, self._device)
                self._binding.bind_ortvalue_input(name, self._kept[name])

    def read_from(self, name: str, buffer: Buffer, start: int, count: int) -> None:
        """Take an input from so many rows of a buffer, from row `start` on."""
        with failing(f"binding '{name}'"):
            self._binding.bind_input(name, *buffer.rows(start, count))

    def write_into(self, name: str, buffer: Buffer, start: int, count: int) -> None:
        """Put an output into so many rows of a buffer, from row `start` on."""
        with failing(f"binding '{name}'"):
            self._binding.bind_output(name, *buffer.rows(start, count))

    def run(self, feeds: Mapping[str, NDArray[Any]] | None = None) -> None:
        """Run once, with what is new. NetworkError if the runtime fails.

        What an operator reads on the device is copied there; what it reads on the CPU, as the shape of a Reshape,
        stays. When this returns, all has been computed, so that another session can read it.
        """
        with failing("running the network"):
            for name, array in (feeds or {}).items():
                self._binding.bind_cpu_input(name, array)
            self._session.run_with_iobinding(self._binding)


def _on_device(array: NDArray[np.generic], provider: Running, device: int) -> onnxruntime.OrtValue:
    """An array where sessions run; on the CPU it shares its memory."""
    with failing("reserving memory"):
        return onnxruntime.OrtValue.ortvalue_from_numpy(array, provider, device)

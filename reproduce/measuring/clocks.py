"""What takes how long while Algorithm 1 runs, and how much memory: the sampler, ONNX Runtime, the GPU."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from predict_diff.network.runtime import Running
from predict_diff.samplers import Sampler

#: Where Python waits for ONNX Runtime, copies between devices included.
_RUNTIME_CALLS = (
    (onnxruntime.InferenceSession, "run"),
    (onnxruntime.InferenceSession, "run_with_iobinding"),
    (onnxruntime.InferenceSession, "run_with_ort_values"),
    (onnxruntime.IOBinding, "synchronize_inputs"),
    (onnxruntime.IOBinding, "synchronize_outputs"),
)


class Clock:
    """Adds up seconds.

    Attributes
    ----------
    seconds : float
    """

    def __init__(self) -> None:
        self.seconds = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count what the block takes."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - started

    def timed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same call, counted."""

        def counted(*arguments: Any, **options: Any) -> Any:
            with self.running():
                return call(*arguments, **options)

        return counted


@contextmanager
def runtime_clock() -> Iterator[Clock]:
    """Count the time within calls of ONNX Runtime, whoever makes them, as long as the block lasts."""
    clock = Clock()
    originals = [(owner, name, getattr(owner, name)) for owner, name in _RUNTIME_CALLS]
    for owner, name, call in originals:
        setattr(owner, name, clock.timed(call))
    try:
        yield clock
    finally:
        for owner, name, call in originals:
            setattr(owner, name, call)


class TimedSampler:
    """A sampler whose time is counted.

    Attributes
    ----------
    clock : Clock
    """

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        self.k = sampler.k
        self.clock = Clock()

    def sample(self, x: NDArray[np.float32], windows: NDArray[np.int64], count: int, seed: int) -> NDArray[np.float32]:
        with self.clock.running():
            return self._sampler.sample(x, windows, count, seed)

    def describe(self) -> dict[str, Any]:
        return self._sampler.describe()


class GpuLoad:
    """Part of the time in which a GPU had kernels running, as the driver's nvidia-smi tells it; as a context.

    Parameters
    ----------
    provider : {"cpu", "cuda"}
        On the CPU nobody is asked.

    Attributes
    ----------
    busy : float or None
        From 0 to 1, known when the block has ended; None where there is no GPU, or nobody who tells.
    """

    _EVERY_MS = 100

    def __init__(self, provider: Running) -> None:
        self.busy: float | None = None
        self._wanted = provider == "cuda"
        self._teller: subprocess.Popen[str] | None = None

    def __enter__(self) -> GpuLoad:
        program = shutil.which("nvidia-smi") if self._wanted else None
        if program is not None:
            device = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0] or "0"
            question = ["--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
            command = [program, f"--id={device}", *question, f"--loop-ms={self._EVERY_MS}"]
            with suppress(OSError):
                self._teller = subprocess.Popen(  # noqa: S603 - nothing in it is from outside  # nosec B603
                    command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
                )
        return self

    def __exit__(self, *reason: object) -> None:
        if self._teller is None:
            return
        self._teller.terminate()
        # A pipe holds many minutes of such lines.
        said, _ = self._teller.communicate()
        percents = [int(line) for line in said.split("\n") if line.strip().isdigit()]
        self.busy = sum(percents) / len(percents) / 100 if percents else None


def peak_mb() -> float:
    """The most memory that this process has held so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)

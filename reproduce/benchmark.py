"""What Algorithm 1 costs beside the bare network, measured in one run: ratios, not promises."""

from __future__ import annotations

import json
import multiprocessing
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from predict_diff.algorithm import marginalise
from predict_diff.caffe.converter import convert
from predict_diff.errors import ResultError
from predict_diff.network.minibatch import MiniBatchEvaluator
from predict_diff.network.network import Network
from predict_diff.samplers import GaussianSampler, GaussianStatistics, Sampler
from predict_diff.storage import whole_file
from predict_diff.targets import Target
from predict_diff.windows import WindowGrid

from . import networks
from .random_weights import write_random_weights

#: Paper's settings; only every so many-th window is computed.
_K, _L, _SAMPLES = 10, 14, 20
_WINDOWS = 24
_ROUNDS = 3

#: An embedded network with its trained weights, and the paper's smallest with random ones of the same shapes.
_NETWORKS = ("efficientnet_lite0", "alexnet")


@dataclass(frozen=True)
class Row:
    """One network's measurements.

    Attributes
    ----------
    ms_bare : float
        Milliseconds for one photo in a bare `session.run`, at the same batch size; median over rounds.
    ms_algorithm : float
        Milliseconds for one photo inside Algorithm 1, everything included.
    overhead : float
        ms_algorithm / ms_bare - 1, median over rounds in which the two alternate.
    sampler_share : float
        Part of Algorithm 1's time that the conditional sampler takes.
    peak_mb : float
        Peak memory of the process, and what of it is beyond the network's weights.
    """

    network: str
    provider: str
    batch_size: int
    threads: int | None
    ms_bare: float
    ms_algorithm: float
    overhead: float
    sampler_share: float
    peak_mb: float
    beyond_weights_mb: float


def run(out: Path, threads: int | None = None) -> str:
    """Measure, write ``benchmark.json`` and return a table."""
    context = multiprocessing.get_context("spawn")
    rows = []
    for name in _NETWORKS:
        # A process each: peak memory is counted per process. Ctrl-C is for the one that waits for them.
        with context.Pool(1, signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool:
            rows.append(pool.apply(measure, (name, threads)))
    with whole_file(out / "benchmark.json", ResultError) as file:
        file.write(json.dumps([asdict(row) for row in rows], indent=1).encode())
    return table(rows)


def measure(name: str, threads: int | None = None) -> Row:
    """Measure one network."""
    with tempfile.TemporaryDirectory() as folder:
        path = _onnx(name, Path(folder))
        weights_mb = path.stat().st_size / 1e6
        network = Network(path, "auto", threads)
        evaluator = MiniBatchEvaluator(network, [Target("prob", (0,))])
        generator = np.random.default_rng(0)
        pool = _smooth_photos(generator, 16, network.input_shape)
        x, pool = pool[0], pool[1:]
        sampler = _Timed(GaussianSampler(GaussianStatistics.fit(pool, _L, patches=2000), _K))
        grid = WindowGrid(x.shape[1], x.shape[2], _K)
        some = grid.positions[np.linspace(0, len(grid) - 1, _WINDOWS).astype(int)]
        batch = np.repeat(x[None], evaluator.batch_size, axis=0)

        def bare() -> None:
            evaluator.run_batch(batch)

        def algorithm() -> None:
            marginalise(x, evaluator, sampler, some, _SAMPLES, seed=0)

        bare()
        algorithm()
        batches = -(-len(some) * _SAMPLES // evaluator.batch_size)
        pairs = []
        shares = []
        for _ in range(_ROUNDS):
            plain = _seconds(partial(_repeat, bare, batches)) / (batches * evaluator.batch_size)
            sampler.seconds = 0.0
            whole = _seconds(algorithm)
            pairs.append((plain, whole / (len(some) * _SAMPLES)))
            shares.append(sampler.seconds / whole)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
    return Row(
        network=name,
        provider=network.provider,
        batch_size=evaluator.batch_size,
        threads=threads,
        ms_bare=1e3 * median(plain for plain, _ in pairs),
        ms_algorithm=1e3 * median(whole for _, whole in pairs),
        overhead=median(whole / plain for plain, whole in pairs) - 1,
        sampler_share=median(shares),
        peak_mb=peak_mb,
        beyond_weights_mb=peak_mb - weights_mb,
    )


def table(rows: list[Row]) -> str:
    """The measurements as a table to read."""
    lines = [
        f"ONNX Runtime {onnxruntime.__version__}; k = {_K}, l = {_L}, S = {_SAMPLES}, conditional sampler, "
        f"{_WINDOWS} windows spread over the photo, {_ROUNDS} rounds",
        f"{'network':<20}{'provider':>9}{'batch':>6}{'ms bare':>9}{'ms Alg. 1':>10}{'overhead':>9}{'sampler':>8}"
        f"{'peak MB':>9}{'beyond weights':>15}",
    ]
    lines += [
        f"{row.network:<20}{row.provider:>9}{row.batch_size:>6}{row.ms_bare:>9.2f}{row.ms_algorithm:>10.2f}"
        f"{row.overhead:>9.1%}{row.sampler_share:>8.1%}{row.peak_mb:>9.0f}{row.beyond_weights_mb:>15.0f}"
        for row in rows
    ]
    return "\n".join(lines)


class _Timed:
    """A sampler that counts the seconds it takes."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        self.k = sampler.k
        self.seconds = 0.0

    def sample(self, x: NDArray[np.float32], windows: NDArray[np.int64], count: int, seed: int) -> NDArray[np.float32]:
        started = time.perf_counter()
        patches = self._sampler.sample(x, windows, count, seed)
        self.seconds += time.perf_counter() - started
        return patches

    def describe(self) -> dict[str, Any]:
        return self._sampler.describe()


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _repeat(work: Callable[[], object], times: int) -> None:
    for _ in range(times):
        work()


def _onnx(name: str, folder: Path) -> Path:
    """The network itself where it is there; else its description with random weights of the same shapes."""
    if networks.available(name):
        return networks.onnx_path(name)
    description = networks.card(name).description
    write_random_weights(description, folder / "random.caffemodel", seed=0)
    path = folder / f"{name}.onnx"
    path.write_bytes(convert(description, folder / "random.caffemodel").SerializeToString())
    return path


def _smooth_photos(generator: np.random.Generator, count: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Random photos whose neighbouring pixels are alike; what they show does not change what they cost."""
    noise = generator.standard_normal((count, *shape))
    return np.asarray(gaussian_filter(noise, (0, 0, 3, 3)) * 100, np.float32)

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
import onnx
import onnxruntime
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from predict_diff.algorithm import marginalise
from predict_diff.caffe.converter import convert
from predict_diff.caffe.reader import read_weights
from predict_diff.errors import NetworkError, ResultError
from predict_diff.network.minibatch import MiniBatchEvaluator
from predict_diff.network.network import Network
from predict_diff.samplers import GaussianSampler, GaussianStatistics, Sampler
from predict_diff.storage import whole_file
from predict_diff.targets import Target
from predict_diff.windows import WindowGrid

from . import handwritten, networks
from .embedded import package_file
from .random_weights import write_random_weights
from .torch_file import read_state_dict

#: Paper's settings; only every so many-th window is computed.
_K, _L, _SAMPLES = 10, 14, 20
_WINDOWS = 16
_ROUNDS = 7


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
    to_handwritten : float
        Bare time of the converted network over that of the same network built directly in ONNX, median over rounds in
        which the two alternate.
    difference : float
        Largest difference of the two in probability.
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
    to_handwritten: float
    difference: float


def run(out: Path, threads: int | None = None) -> str:
    """Measure, write ``benchmark.json`` and return a table."""
    rows = [measured(name, threads) for name in HANDWRITTEN]
    with whole_file(out / "benchmark.json", ResultError) as file:
        file.write(json.dumps([asdict(row) for row in rows], indent=1).encode())
    return table(rows)


def measured(name: str, threads: int | None = None) -> Row:
    """`measure` in a process of its own, since peak memory is counted per process."""
    context = multiprocessing.get_context("spawn")
    # Ctrl-C is for the one that waits.
    with context.Pool(1, signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool:
        return pool.apply(measure, (name, threads))


def measure(name: str, threads: int | None = None) -> Row:
    """Measure one network."""
    with tempfile.TemporaryDirectory() as folder:
        weights = _weights(name, Path(folder))
        path = Path(folder) / f"{name}.onnx"
        path.write_bytes(convert(networks.card(name).description, weights).SerializeToString())
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
        ratio, difference = _against_handwritten(evaluator, batch, HANDWRITTEN[name](weights), threads)
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
        to_handwritten=ratio,
        difference=difference,
    )


def _against_handwritten(
    evaluator: MiniBatchEvaluator, batch: NDArray[np.float32], model: onnx.ModelProto, threads: int | None
) -> tuple[float, float]:
    """Time of the converted network over that of the other, and their largest difference in probability."""
    classes = [Target("prob", (c,)) for c in range(1000)]
    pair = [evaluator.network, Network(model, evaluator.network.provider, threads)]
    evaluators = [MiniBatchEvaluator(network, classes, evaluator.batch_size) for network in pair]
    first, second = (one.run_batch(batch) for one in evaluators)
    repeats = max(1, 200 // evaluator.batch_size)
    ratios = []
    for _ in range(2 * _ROUNDS):
        ours, theirs = (_seconds(partial(_repeat, partial(one.run_batch, batch), repeats)) for one in evaluators)
        ratios.append(ours / theirs)
    return median(ratios), float(np.abs(first - second).max())


def table(rows: list[Row]) -> str:
    """The measurements as a table to read."""
    lines = [
        f"ONNX Runtime {onnxruntime.__version__}; k = {_K}, l = {_L}, S = {_SAMPLES}, conditional sampler, "
        f"{_WINDOWS} windows spread over the photo, {_ROUNDS} rounds",
        f"{'network':<20}{'provider':>9}{'batch':>6}{'ms bare':>9}{'ms Alg. 1':>10}{'overhead':>9}{'sampler':>8}"
        f"{'peak MB':>9}{'beyond weights':>15}{'to handwritten':>15}{'difference':>11}",
    ]
    lines += [
        f"{row.network:<20}{row.provider:>9}{row.batch_size:>6}{row.ms_bare:>9.2f}{row.ms_algorithm:>10.2f}"
        f"{row.overhead:>9.1%}{row.sampler_share:>8.1%}{row.peak_mb:>9.0f}{row.beyond_weights_mb:>15.0f}{row.to_handwritten:>15.2f}{row.difference:>11.1e}"
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


def _weights(name: str, folder: Path) -> Path:
    """The network's own weights where they are there; else random ones of the same shapes."""
    if networks.available(name):
        return networks.obtain_weights(name)
    path = folder / "random.caffemodel"
    write_random_weights(networks.card(name).description, path, seed=0)
    return path


def _efficientnet_lite0(weights: Path) -> onnx.ModelProto:
    package = networks.card("efficientnet_lite0").weights.package
    path = None if package is None else package_file(package)
    if package is None or path is None:
        raise NetworkError("benchmark: expected the package of EfficientNet-Lite0, found none; run `reproduce weights`")
    return handwritten.efficientnet_lite0(read_state_dict(path, package.sha256, package.bytes))


def _alexnet(weights: Path) -> onnx.ModelProto:
    layers = read_weights(weights).layers

    def blobs(layer: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        kernel, bias = layers[layer].blobs
        # Files of 2014 state four sizes for everything.
        return (kernel[0, 0] if layer.startswith("fc") else kernel), bias.ravel()

    return handwritten.alexnet(blobs)


#: The same network, built directly.
HANDWRITTEN: dict[str, Callable[[Path], onnx.ModelProto]] = {
    "efficientnet_lite0": _efficientnet_lite0,
    "alexnet": _alexnet,
}


def _smooth_photos(generator: np.random.Generator, count: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Random photos whose neighbouring pixels are alike; what they show does not change what they cost."""
    noise = generator.standard_normal((count, *shape))
    return np.asarray(gaussian_filter(noise, (0, 0, 3, 3)) * 100, np.float32)

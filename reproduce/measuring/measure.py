"""One measurement: the incremental and the mini-batched evaluator in turns, within the body of Algorithm 1."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from math import isqrt
from statistics import median

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from predict_diff.algorithm import marginalise
from predict_diff.evaluator import Evaluator
from predict_diff.evidence import IMAGENET_TRAINING_INSTANCES, expectation, weight_of_evidence
from predict_diff.network.choosing import EvaluatorName, choose_evaluator
from predict_diff.network.graphs import blob_shapes
from predict_diff.network.incremental import IncrementalEvaluator
from predict_diff.network.inference import constants
from predict_diff.network.minibatch import MiniBatchEvaluator
from predict_diff.network.multiply_adds import multiply_adds
from predict_diff.network.network import Network
from predict_diff.samplers.drawing import draw
from predict_diff.targets import Target
from predict_diff.windows import WindowGrid

from .. import networks
from .case import Case, Files, photo_and_sampler, shifted_photo
from .clocks import Clock, GpuLoad, TimedSampler, peak_mb, runtime_clock
from .keeping import journal_share
from .layers import both_layers
from .row import Row
from .sample import rim_windows, spread_windows
from .twins import HANDWRITTEN, Comparison, compare

Photo = NDArray[np.float32]
Windows = NDArray[np.int64]

_SEED = 0

#: Multiply-adds of a round, which say how many windows it has: of the incremental evaluator, and of the other, whose
#: photos all cost the same. A GPU needs more of them to be at work for a while.
_WORK = {"cpu": (6e11, 1.6e11), "cuda": (6e13, 3e13)}
#: Cells of the sample along each axis, at least and at most.
_SIDES = {"cpu": (4, 8), "cuda": (8, 40)}
#: How costs grow is seen with less work, and fewer rounds; but small S need many windows to fill batches.
_GROWTH_WORK, _GROWTH_SIDES = 0.25, (4, 16)
_ROUNDS, _GROWTH_ROUNDS = 7, 3
#: Samples of each window for which both evaluators are compared.
_COMPARED = 2

#: Paper: hours for one photo on the authors' GPU.
_PAPER_HOURS = {"alexnet": 0.5, "googlenet": 1.0, "vgg16": 5.0}


@dataclass(frozen=True)
class Pass:
    """Some windows by Algorithm 1.

    Attributes
    ----------
    seconds : float
        In all.
    sampler, marginalise, runtime : float
        Of it: the sampler's; what follows when samples are there; ONNX Runtime's share of that.
    windows : int
    evaluations : int
        Photos that the network saw.
    """

    seconds: float
    sampler: float
    marginalise: float
    runtime: float
    windows: int
    evaluations: int

    @property
    def ms(self) -> float:
        """Milliseconds for one perturbed photo whose sample is there."""
        return 1e3 * self.marginalise / self.evaluations

    @property
    def overhead_share(self) -> float:
        """Part of the time that is spent outside of ONNX Runtime."""
        return _within_one((self.seconds - self.runtime) / self.seconds)

    @property
    def sampler_share(self) -> float:
        return _within_one(self.sampler / self.seconds)


def measure(case: Case, files: Files) -> Row:
    """Measure one case, in this process, whose memory is counted.

    First the incremental evaluator goes once through all windows: that takes longer, since ONNX Runtime then sees each
    shape for the first time, and is given as `warm_up_s`. Then come the rounds, in which both evaluators take turns;
    what is given are medians over them.
    """
    network = _network(case, files)
    output = networks.card(case.network).blobs.output
    x, drawn_by = photo_and_sampler(case)
    sampler = TimedSampler(drawn_by)
    grid = WindowGrid(x.shape[1], x.shape[2], case.k)
    targets = [Target(output, (unit,)) for unit in range(case.targets)]

    incremental = IncrementalEvaluator(network, targets, case.k)
    bound = incremental.frontier.bound
    windows, some = sampled_windows(case, grid, _multiply_adds(network), bound)
    warm_up = Clock()
    with warm_up.running():
        algorithm(x, incremental, sampler, windows, case.samples)
    peak = peak_mb()

    full = MiniBatchEvaluator(network, targets)
    algorithm(x, full, sampler, some, case.samples)
    pairs, bare, busy = list[tuple[Pass, Pass]](), list[float](), list[float]()
    for _ in range(_GROWTH_ROUNDS if case.vary else _ROUNDS):
        before = algorithm(x, full, sampler, some, case.samples)
        with GpuLoad(network.provider) as load:
            after = algorithm(x, incremental, sampler, windows, case.samples)
        pairs.append((before, after))
        if load.busy is not None:
            busy.append(load.busy)
        if not case.vary:
            bare.append(_bare_ms(full, x, before.evaluations))
    batch_sizes = incremental.batch_size, full.batch_size
    per_second = median(after.windows / after.seconds for _, after in pairs)
    kept = None if case.vary else journal_share(incremental, grid, case.samples, per_second)
    del incremental, full

    layers = None if case.vary else both_layers(network, output, x, sampler, some, case.samples, _ROUNDS)
    twin = _beside_handwritten(case, files, network, x, output, batch_sizes[1])
    probability, rounding, bits = differences(case, files, output, x, np.concatenate([rim_windows(grid), windows]))
    overheads = [
        1e3 * before.seconds / before.evaluations / ms - 1 for (before, _), ms in zip(pairs, bare, strict=False)
    ]
    return Row(
        network=case.network,
        vary=case.vary,
        value=case.value,
        weights=files.kind,
        provider=network.provider,
        precision=case.precision,
        threads=case.threads,
        cores=os.cpu_count(),
        onnxruntime=onnxruntime.__version__,
        k=case.k,
        samples=case.samples,
        targets=case.targets,
        input_size=case.input_size,
        batch_size=batch_sizes[0],
        batch_size_full=batch_sizes[1],
        rounds=len(pairs),
        windows_sampled=len(windows),
        windows_total=len(grid),
        ms_full=median(before.ms for before, _ in pairs),
        ms_incremental=median(after.ms for _, after in pairs),
        ratio=median(before.ms / after.ms for before, after in pairs),
        bound=bound,
        max_abs_diff_probability=probability,
        rounding_probability=rounding,
        max_abs_diff_bits=bits,
        overhead_share=median(after.overhead_share for _, after in pairs),
        sampler_share=median(after.sampler_share for _, after in pairs),
        gpu_busy=median(busy) if busy else None,
        windows_per_second=per_second,
        hours_paper_settings=None if case.vary else projected_hours(len(grid), per_second),
        hours_paper=None if case.vary else _PAPER_HOURS.get(case.network),
        warm_up_s=warm_up.seconds,
        peak_mb=peak,
        beyond_weights_mb=peak - files.model.stat().st_size / 1e6,
        ms_bare=median(bare) if bare else None,
        overhead_full=median(overheads) if overheads else None,
        to_handwritten=twin.ratio if twin else None,
        difference_to_handwritten=twin.difference if twin else None,
        both_layers=layers,
        journal_share=kept,
    )


def algorithm(x: Photo, evaluator: Evaluator, sampler: TimedSampler, windows: Windows, samples: int) -> Pass:
    """The loop of Algorithm 1 over some windows, as `predict_diff.prediction_difference` runs it.

    The photos that fill the mini-batched evaluator's last batch count as evaluated: in a whole map there are hardly
    any. Those of the incremental one do not.
    """
    sampler.clock = Clock()
    body = Clock()
    parts = evaluator.batches(windows, samples)
    ahead = evaluator.network.provider == "cuda"
    evaluations = 0
    started = time.perf_counter()
    with runtime_clock() as runtime:
        for part, patches in draw(sampler, x, windows, parts, samples, _SEED, ahead):
            with body.running():
                marginalise(x, evaluator, windows[part], patches)
            evaluations += len(part) * samples
            if isinstance(evaluator, MiniBatchEvaluator):
                evaluations += -len(part) * samples % evaluator.batch_size
    seconds = time.perf_counter() - started
    return Pass(seconds, sampler.clock.seconds, body.seconds, runtime.seconds, len(windows), evaluations)


def sampled_windows(case: Case, grid: WindowGrid, multiplications: int, bound: float) -> tuple[Windows, Windows]:
    """A sample that stands for the grid, and a part of it for the evaluator to which all windows are the same.

    How many there are depends on how many multiply-adds one evaluation takes, not on the machine, so that every run of
    the same case has the same windows.
    """
    work, work_full = (amount * (_GROWTH_WORK if case.vary else 1) for amount in _WORK[case.provider])
    each = max(1, multiplications) * case.samples
    least, most = _GROWTH_SIDES if case.vary else _SIDES[case.provider]
    # Even: few samples are then missing in the last batch.
    side = max(least, min(most, isqrt(int(work * bound / each)))) // 2 * 2
    windows = spread_windows(grid, side, _SEED)
    count = int(max(1, min(len(windows), work_full / each)))
    return windows, windows[np.linspace(0, len(windows) - 1, count).astype(np.int64)]


def differences(case: Case, files: Files, output: str, x: Photo, windows: Windows) -> tuple[float, float, float]:
    """Largest difference between the two evaluators over all classes, and what rounding alone does.

    The mini-batched one is of full precision, whatever the case's is.

    Returns
    -------
    probability, rounding, bits : float
        See `Row.max_abs_diff_probability`, `Row.rounding_probability` and `Row.max_abs_diff_bits`.
    """
    patches = shifted_photo(x, case.k, _COMPARED).sample(x, windows, _COMPARED, _SEED)

    def found(kind: EvaluatorName, network: Network, *photos: Photo) -> list[tuple[Photo, NDArray[np.float64]]]:
        """Predictions, and evidence in bits, for some photos."""
        classes = network.blobs[output][0]
        evaluator = choose_evaluator(network, [Target(output, (unit,)) for unit in range(classes)], case.k, kind=kind)
        results = []
        for photo in photos:
            predictions = evaluator.evaluate(photo, windows, patches)
            known, (expected, _) = evaluator.values(photo)[:, None], expectation(predictions)
            bits = weight_of_evidence(known, expected, IMAGENET_TRAINING_INSTANCES, classes)
            results.append((predictions, bits))
        return results

    # One after the other: each holds the weights.
    ((ours, our_bits),) = found("incremental", _network(case, files), x)
    up = np.random.default_rng(_SEED).random(x.shape) < 0.5
    nudged = np.nextafter(x, np.where(up, np.inf, -np.inf).astype(np.float32))
    pair = found("minibatch", _network(replace(case, precision="full"), files), x, nudged)
    (theirs, their_bits), (others, _) = pair
    return _largest(ours - theirs), _largest(others - theirs), _largest(our_bits - their_bits)


def projected_hours(windows: int, windows_per_second: float) -> float:
    """What so many windows take at this rate."""
    return windows / windows_per_second / 3600


def _network(case: Case, files: Files) -> Network:
    return Network(files.model, case.provider, case.threads, precision=case.precision)


def _multiply_adds(network: Network) -> int:
    model = network.load()
    sizes = {name: (None, *shape) for name, shape in blob_shapes(model).items()}
    sizes |= {name: tuple(tensor.dims) for name, tensor in constants(model).items()}
    return sum(count or 0 for count in multiply_adds(model, sizes))


def _bare_ms(evaluator: MiniBatchEvaluator, x: Photo, photos: int) -> float:
    """Milliseconds for a photo by the network alone."""
    batch = np.repeat(x[None], evaluator.batch_size, axis=0)
    started = time.perf_counter()
    for _ in range(photos // evaluator.batch_size):
        evaluator.run_batch(batch)
    return 1e3 * (time.perf_counter() - started) / photos


def _beside_handwritten(
    case: Case, files: Files, network: Network, x: Photo, output: str, batch_size: int
) -> Comparison | None:
    if case.vary or case.precision != "full" or case.network not in HANDWRITTEN:
        return None
    return compare(network, HANDWRITTEN[case.network](files.weights), x, output, batch_size, case.threads)


def _largest(values: NDArray[np.floating]) -> float:
    return float(np.abs(values).max())


def _within_one(share: float) -> float:
    return min(1.0, max(0.0, share))

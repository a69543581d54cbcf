"""Algorithm 1: the relevance of every pixel for some targets of one network and one photo."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .authors_code import Faults, stale_window
from .errors import ConfigurationError, NetworkError
from .evidence import (
    IMAGENET_TRAINING_INSTANCES,
    activation_difference,
    expectation,
    weight_of_evidence,
    weight_of_evidence_error,
)
from .network.network import Network
from .refinement import shared_windows
from .result import RelevanceMap, versions
from .samplers import Sampler
from .samplers.drawing import draw
from .targets import Measure, Target
from .windows import WindowGrid


class Evaluator(Protocol):
    """Computes targets of perturbed photos; see `predict_diff.network.minibatch` and `.incremental`."""

    network: Network
    targets: tuple[Target, ...]
    batch_size: int

    def values(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """The targets of the photo itself.

        Parameters
        ----------
        x : ndarray, shape (C, H, W), float32

        Returns
        -------
        ndarray, shape (U,), float64
        """
        ...

    def batches(self, windows: NDArray[np.int64], samples: int) -> Iterator[NDArray[np.int64]]:
        """Which windows to sample and evaluate together.

        Parameters
        ----------
        windows : ndarray, shape (n, 2), int64
            Upper left pixels.
        samples : int
            S, for each window.

        Yields
        ------
        ndarray, int64
            Numbers of windows; each window is in one batch.
        """
        ...

    def evaluate(
        self, x: NDArray[np.float32], windows: NDArray[np.int64], patches: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """The targets of photos in which one window has been replaced by one sample.

        Parameters
        ----------
        x : ndarray, shape (C, H, W), float32
            The photo.
        windows : ndarray, shape (n, 2), int64
            Upper left pixels.
        patches : ndarray, shape (n, S, C, k, k), float32
            What goes into each window.

        Returns
        -------
        ndarray, shape (n, S, U), float32
        """
        ...


def prediction_difference(
    x: NDArray[np.float32],
    evaluator: Evaluator,
    sampler: Sampler,
    samples: int = 20,
    stride: int = 1,
    seed: int = 0,
    instances: int = IMAGENET_TRAINING_INSTANCES,
    faults: Faults | None = None,
    progress: Callable[[int, int], None] | None = None,
    coarser: RelevanceMap | None = None,
) -> RelevanceMap:
    """Algorithm 1 of the paper.

    Parameters
    ----------
    x : ndarray, shape (C, H, W), float32
        The photo as the network sees it.
    evaluator : Evaluator
        Holds the network and the targets, all of which are explained in one pass.
    sampler : Sampler
        p(x_w | surround) or p(x_w); its `k` is the side of the windows.
    samples : int, default 20
        S. Paper: 20.
    stride : int, default 1
        Step between windows. Paper: 1.
    seed : int, default 0
    instances : int
        N of the Laplace correction. Paper: the number of training instances.
    faults : Faults, optional
        Faults of the authors' code to repeat; none by default.
    progress : callable, optional
        Called with the number of windows done and their total.
    coarser : RelevanceMap, optional
        What a call with a larger stride, and all else the same, gave: its windows are not computed again.

    Returns
    -------
    RelevanceMap
        Weight of evidence (bits) where a target is a probability, activation difference elsewhere.

    Raises
    ------
    ConfigurationError
        If S or a size is impossible, or `coarser` is of another configuration.
    """
    faults = faults or Faults()
    check_settings(samples, instances)
    if faults.no_feature_maps:
        refuse_feature_maps(evaluator.network, evaluator.targets)
    started = time.perf_counter()
    network, targets = evaluator.network, evaluator.targets
    grid = WindowGrid(x.shape[1], x.shape[2], sampler.k, stride)
    again = stale_window(len(grid), samples) if faults.stale_window else None
    measures = measures_of(network, targets, faults.evidence_by_position)

    provenance = {
        "network": network.describe(),
        "photo_sha256": hashlib.sha256(x.tobytes()).hexdigest(),
        "sampler": sampler.describe(),
        "samples": samples,
        "seed": seed,
        "laplace_instances": instances,
        "faults": faults.describe(),
    }
    seconds = 0.0

    known = evaluator.values(x)  # p(c | x)
    expected = np.empty((len(targets), len(grid)))
    relevance, standard_error = np.empty_like(expected), np.empty_like(expected)

    missing = np.arange(len(grid))
    if coarser is not None:
        places, numbers = shared_windows(coarser, grid, targets, provenance)
        expected[:, places], relevance[:, places] = coarser.expected[:, numbers], coarser.relevance[:, numbers]
        standard_error[:, places] = coarser.standard_error[:, numbers]
        missing = np.setdiff1d(missing, places)
        seconds = float(coarser.provenance["seconds"])

    done = len(grid) - len(missing)
    parts = (missing[batch] for batch in evaluator.batches(grid.positions[missing], samples))
    ahead = network.provider == "cuda"
    # for every patch x_w of size k x k in x: x'_w <- x_w sampled from p(x_w | surround), S times
    for part, patches in draw(sampler, x, grid.positions, parts, samples, seed, ahead):
        expected[:, part], error = marginalise(x, evaluator, grid.positions[part], patches)
        relevance[:, part], standard_error[:, part] = _relevance(
            network, targets, measures, known, expected[:, part], error, instances
        )
        done += len(part)
        if progress is not None:
            progress(done, len(grid))

    counts = np.ones(len(grid), np.int64)
    if again is not None:
        # Authors' code: the window is sampled anew, added once more and counted once more.
        window = grid.positions[again : again + 1]
        second = marginalise(x, evaluator, window, sampler.sample(x, window, samples, seed + 1))
        value, _ = _relevance(network, targets, measures, known, *second, instances)
        relevance[:, again] = (relevance[:, again] + value[:, 0]) / 2
        counts[again] = 2

    return RelevanceMap(
        grid=grid,
        targets=targets,
        measures=measures,
        known=known,
        expected=expected,
        relevance=relevance,
        standard_error=standard_error,
        counts=counts,
        provenance={
            **provenance,
            "batch_size": evaluator.batch_size,
            "evaluator": type(evaluator).__name__,
            "seconds": time.perf_counter() - started + seconds,
            "versions": versions(),
        },
    )


def marginalise(
    x: NDArray[np.float32], evaluator: Evaluator, windows: NDArray[np.int64], patches: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The body of Algorithm 1's loop: predictions without some windows, eq. 1 (or 5).

    Parameters
    ----------
    x : ndarray, shape (C, H, W), float32
        The photo.
    evaluator : Evaluator
    windows : ndarray, shape (n, 2), int64
        Upper left pixels.
    patches : ndarray, shape (n, S, C, k, k), float32
        What was sampled for each window.

    Returns
    -------
    expected, standard_error : ndarray, shape (U, n), float64

    Raises
    ------
    NetworkError
        If the network gives NaN or infinity.
    """
    predictions = evaluator.evaluate(x, windows, patches)  # p(c | x')
    if not np.isfinite(predictions).all():
        name = evaluator.network.name
        raise NetworkError(f"{name}: expected finite predictions, found NaN or infinity; check the network's weights")
    return expectation(predictions)  # p(c | x \ x_w) := sum_w / S


def measures_of(network: Network, targets: Sequence[Target], by_position: bool = False) -> tuple[Measure, ...]:
    """Weight of evidence for probabilities (eq. 3), activation difference for everything else (eq. 7).

    With `by_position`, as the authors' code has it: weight of evidence for whatever stands last.
    """
    if by_position:
        last = targets[-1].blob
        return tuple("WE" if target.blob == last else "AD" for target in targets)
    return tuple("WE" if _is_unit_probability(network, target) else "AD" for target in targets)


def check_settings(samples: int, instances: int) -> None:
    """ConfigurationError unless S and N are positive."""
    if samples < 1:
        raise ConfigurationError(f"S: expected at least one sample a window, found {samples}; the paper uses 20")
    if instances < 1:
        raise ConfigurationError(f"N of the Laplace correction: expected a positive number, found {instances}")


def _is_unit_probability(network: Network, target: Target) -> bool:
    return len(target.index) == len(network.blobs[target.blob]) and network.is_probability(target.blob)


def _relevance(
    network: Network,
    targets: Sequence[Target],
    measures: Sequence[Measure],
    known: NDArray[np.float64],
    expected: NDArray[np.float64],
    expected_error: NDArray[np.float64],
    instances: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Relevance of each window for each target, and its standard error; shapes (U, n)."""
    relevance, error = np.empty_like(expected), np.empty_like(expected)
    differences = [u for u, measure in enumerate(measures) if measure == "AD"]
    relevance[differences] = activation_difference(known[differences, None], expected[differences])
    error[differences] = expected_error[differences]
    for u, (target, measure) in enumerate(zip(targets, measures, strict=True)):
        if measure == "WE":
            if not 0 <= known[u] <= 1 or expected[u].min() < 0 or expected[u].max() > 1:
                raise ConfigurationError(
                    f"target {target}: weight of evidence needs a probability, found values outside 0 to 1; the "
                    f"authors' code would give NaN here: switch the fault evidence_by_position off"
                )
            classes = network.blobs[target.blob][0]
            relevance[u] = weight_of_evidence(known[u], expected[u], instances, classes)
            error[u] = weight_of_evidence_error(expected[u], expected_error[u], instances, classes)
    return relevance, error


def refuse_feature_maps(network: Network, targets: Sequence[Target]) -> None:
    """ConfigurationError for the mean of a feature map. Authors' code: its fault no_feature_maps."""
    for target in targets:
        if len(target.index) < len(network.blobs[target.blob]):
            raise ConfigurationError(
                f"target {target}: the authors' code cannot average over a feature map (a shape mismatch raises); "
                f"choose a unit, or switch the fault no_feature_maps off"
            )

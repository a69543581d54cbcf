"""Algorithm 1: the relevance of every pixel for some targets of one network and one photo."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .authors_code import Faults, stale_window
from .errors import ConfigurationError, NetworkError
from .evaluator import Evaluator
from .evidence import (
    IMAGENET_TRAINING_INSTANCES,
    activation_difference,
    expectation,
    weight_of_evidence,
    weight_of_evidence_error,
)
from .in_memory import InMemory
from .journal import open_journal
from .network.predictor import Predictor
from .plan import Plan, in_order
from .refinement import shared_windows
from .result import RelevanceMap, versions
from .samplers import Sampler
from .samplers.drawing import draw
from .samplers.sampler import checked_seed, described
from .targets import Measure, Target
from .windows import WindowGrid


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
    journal: str | Path | None = None,
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
    journal : path, optional
        A file that keeps what has been computed, whatever stops the program: the same call goes on from there, and
        gives the same map to the last bit. It is left where it is; delete it once the map is saved.

    Returns
    -------
    RelevanceMap
        Weight of evidence (bits) where a target is a probability, activation difference elsewhere.

    Raises
    ------
    ConfigurationError
        If S, a size or the seed is impossible, or `coarser` is of another configuration.
    ResultError
        If the journal is of another configuration, another process's, or cannot be written.
    """
    plan = make_plan(x, evaluator, sampler, samples, stride, seed, instances, faults, coarser)
    with InMemory(plan) if journal is None else open_journal(journal, plan) as kept:
        done = kept.windows_done
        for part, values, seconds in relevances(x, evaluator, sampler, kept.plan, kept.missing):
            kept.write(part, values, seconds)
            done += len(values)
            if progress is not None:
                progress(min(done, len(plan.grid)), len(plan.grid))
        return kept.plan.relevance_map(kept.values(), {"seconds": kept.seconds})


def make_plan(
    x: NDArray[np.float32],
    evaluator: Evaluator,
    sampler: Sampler,
    samples: int = 20,
    stride: int = 1,
    seed: int = 0,
    instances: int = IMAGENET_TRAINING_INSTANCES,
    faults: Faults | None = None,
    coarser: RelevanceMap | None = None,
) -> Plan:
    """What Algorithm 1 is going to compute. Parameters and errors are those of `prediction_difference`."""
    faults = faults or Faults()
    check_settings(samples, instances)
    if faults.no_feature_maps:
        refuse_feature_maps(evaluator.network, evaluator.targets)
    network, targets = evaluator.network, evaluator.targets
    grid = WindowGrid(x.shape[1], x.shape[2], sampler.k, stride)
    again = stale_window(len(grid), samples) if faults.stale_window else None
    provenance = {
        "network": network.describe(),
        "photo_sha256": hashlib.sha256(x.tobytes()).hexdigest(),
        "sampler": described(sampler),
        "samples": samples,
        "seed": checked_seed(seed),
        "laplace_instances": instances,
        "faults": faults.describe(),
        "versions": versions(),
    }
    parts: list[NDArray[np.int64]] = []
    given = None
    missing = np.arange(len(grid))
    if coarser is not None:
        places, numbers = shared_windows(coarser, grid, targets, provenance)
        found = np.stack([coarser.expected, coarser.relevance, coarser.standard_error])[:, :, numbers]
        given = np.ascontiguousarray(np.moveaxis(found, -1, 0))
        parts.append(places)
        missing = np.setdiff1d(missing, places)
    parts += [missing[batch] for batch in evaluator.batches(grid.positions[missing], samples)]
    if again is not None:
        parts.append(np.array([again]))
    order, bounds = in_order(parts)
    return Plan(
        grid=grid,
        targets=targets,
        measures=measures_of(network, targets, faults.evidence_by_position),
        known=evaluator.values(x),  # p(c | x)
        order=order,
        bounds=bounds,
        batching=evaluator.batching,
        provenance=provenance,
        twice=again is not None,
        given=given,
    )


def relevances(
    x: NDArray[np.float32], evaluator: Evaluator, sampler: Sampler, plan: Plan, parts: Sequence[int]
) -> Iterator[tuple[int, NDArray[np.float64], float]]:
    """The loop of Algorithm 1, over some parts of a plan.

    Parameters
    ----------
    x : ndarray, shape (C, H, W), float32
        The photo.
    evaluator : Evaluator
    sampler : Sampler
    plan : Plan
        Made from photo, evaluator and sampler, here or elsewhere.
    parts : sequence of int
        Numbers of parts.

    Yields
    ------
    part : int
    values : ndarray, shape (rows of the part, 3, U), float64
        The targets' expectation without each window, the relevance of the window, and its standard error.
    seconds : float
        How long they took.

    Raises
    ------
    ConfigurationError
        If the evaluator's batches are others than the plan's, on which last bits depend.
    NetworkError
        If the network gives NaN or infinity.
    """
    if evaluator.batching != plan.batching:
        raise ConfigurationError(
            f"batches: expected {_in_words(plan.batching)}, as this map was begun with, found "
            f"{_in_words(evaluator.batching)}; choose the same evaluator and batch size"
        )
    network, positions = evaluator.network, plan.grid.positions
    samples, seed = plan.provenance["samples"], plan.provenance["seed"]
    # The other parts are drawn while those before them are evaluated, where that helps.
    first = [part for part in parts if not plan.draws_again(part)]
    drawn = draw(sampler, x, positions, map(plan.windows, first), samples, seed, network.provider == "cuda")
    # for every patch x_w of size k x k in x: x'_w <- x_w sampled from p(x_w | surround), S times
    patches = ((part, found) for part, (_, found) in zip(first, drawn, strict=True))
    # Authors' code: the stale window is sampled anew.
    again = parts[len(first) :]
    redrawn = draw(sampler, x, positions, map(plan.windows, again), samples, seed + 1)
    second = ((part, found) for part, (_, found) in zip(again, redrawn, strict=True))
    started = time.perf_counter()
    for part, found in chain(patches, second):
        expected, error = marginalise(x, evaluator, positions[plan.windows(part)], found)
        relevance, standard_error = _relevance(network, plan, expected, error)
        values = np.stack([expected, relevance, standard_error]).transpose(2, 0, 1)
        now = time.perf_counter()
        yield part, values, now - started
        started = now


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
    check_finite(evaluator.network, predictions, "predictions")
    return expectation(predictions)  # p(c | x \ x_w) := sum_w / S


def check_finite(network: Predictor, values: NDArray[np.floating], what: str) -> None:
    """NetworkError if a network has given NaN or infinity."""
    if not np.isfinite(values).all():
        raise NetworkError(
            f"{network.name}: expected finite {what}, found NaN or infinity; check the network's weights"
        )


def measures_of(network: Predictor, targets: Sequence[Target], by_position: bool = False) -> tuple[Measure, ...]:
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


def _is_unit_probability(network: Predictor, target: Target) -> bool:
    return len(target.index) == len(network.blobs[target.blob]) and network.is_probability(target.blob)


def _relevance(
    network: Predictor, plan: Plan, expected: NDArray[np.float64], expected_error: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Relevance of each window for each target, and its standard error; shapes (U, n)."""
    known, instances = plan.known, plan.provenance["laplace_instances"]
    relevance, error = np.empty_like(expected), np.empty_like(expected)
    differences = [u for u, measure in enumerate(plan.measures) if measure == "AD"]
    relevance[differences] = activation_difference(known[differences, None], expected[differences])
    error[differences] = expected_error[differences]
    for u, (target, measure) in enumerate(zip(plan.targets, plan.measures, strict=True)):
        if measure == "WE":
            if not 0 <= known[u] <= 1 or expected[u].min() < 0 or expected[u].max() > 1:
                raise ConfigurationError(
                    f"target {target}: weight of evidence needs a probability, found values outside 0 to 1; the "
                    f"authors' code would give NaN here: switch the fault evidence_by_position off"
                )
            classes = network.classes(target.blob)
            relevance[u] = weight_of_evidence(known[u], expected[u], instances, classes)
            error[u] = weight_of_evidence_error(expected[u], expected_error[u], instances, classes)
    return relevance, error


def _in_words(batching: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in batching.items())


def refuse_feature_maps(network: Predictor, targets: Sequence[Target]) -> None:
    """ConfigurationError for the mean of a feature map. Authors' code: its fault no_feature_maps."""
    for target in targets:
        if len(target.index) < len(network.blobs[target.blob]):
            raise ConfigurationError(
                f"target {target}: the authors' code cannot average over a feature map (a shape mismatch raises); "
                f"choose a unit, or switch the fault no_feature_maps off"
            )

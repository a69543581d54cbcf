"""From a coarse map to a finer one: the same map, and no window twice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from predict_diff.algorithm import prediction_difference
from predict_diff.authors_code import Faults
from predict_diff.errors import ConfigurationError
from predict_diff.network.incremental import IncrementalEvaluator
from predict_diff.network.minibatch import MiniBatchEvaluator
from predict_diff.network.network import Network
from predict_diff.result import RelevanceMap
from predict_diff.samplers import MarginalSampler
from predict_diff.targets import Target
from predict_diff.windows import WindowGrid

K = 4
TARGETS = [Target("prob", (1,)), Target("conv", (2,))]


class Counting:
    """An evaluator that remembers which windows it was asked for."""

    def __init__(self, evaluator: MiniBatchEvaluator | IncrementalEvaluator) -> None:
        self.evaluator = evaluator
        self.seen: list[tuple[int, int]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.evaluator, name)

    def evaluate(self, x: NDArray[np.float32], windows: NDArray[np.int64], patches: NDArray[np.float32]) -> Any:
        self.seen += [tuple(window) for window in windows.tolist()]
        return self.evaluator.evaluate(x, windows, patches)


@pytest.fixture(params=["minibatch", "incremental"])
def evaluator(request: pytest.FixtureRequest, network: Network) -> Counting:
    if request.param == "minibatch":
        return Counting(MiniBatchEvaluator(network, TARGETS))
    return Counting(IncrementalEvaluator(network, TARGETS, K))


def explain(
    x: NDArray[np.float32], evaluator: Any, photos: NDArray[np.float32], stride: int, **options: Any
) -> RelevanceMap:
    settings = {"samples": 3, "seed": 5, "instances": 1000, **options}
    return prediction_difference(x, evaluator, MarginalSampler(photos[1:], K), stride=stride, **settings)


def test_refining_step_by_step_gives_the_map_and_computes_each_window_once(
    x: NDArray[np.float32], evaluator: Counting, photos: NDArray[np.float32]
) -> None:
    whole = explain(x, evaluator, photos, 1)
    evaluator.seen.clear()
    found = None
    for stride in (4, 2, 1):
        found = explain(x, evaluator, photos, stride, coarser=found)
    assert sorted(evaluator.seen) == sorted(map(tuple, WindowGrid(14, 14, K, 1).positions.tolist()))
    for name in ("maps", "map_errors", "expected", "relevance", "standard_error"):
        np.testing.assert_allclose(getattr(found, name), getattr(whole, name), rtol=0, atol=1e-6)


def test_progress_counts_the_windows_that_were_there(
    x: NDArray[np.float32], evaluator: Counting, photos: NDArray[np.float32]
) -> None:
    coarse = explain(x, evaluator, photos, 2)
    seen: list[tuple[int, int]] = []
    explain(x, evaluator, photos, 1, coarser=coarse, progress=lambda done, total: seen.append((done, total)))
    assert seen[0][0] > len(coarse.grid)
    assert seen[-1] == (121, 121)


@pytest.mark.parametrize(
    "other", [{"seed": 6}, {"samples": 2}, {"instances": 10}, {"faults": Faults(stale_window=True)}]
)
def test_a_map_of_another_configuration_is_refused(
    x: NDArray[np.float32], evaluator: Counting, photos: NDArray[np.float32], other: dict[str, Any]
) -> None:
    coarse = explain(x, evaluator, photos, 2, **other)
    with pytest.raises(ConfigurationError, match="coarser map: expected one of the same configuration"):
        explain(x, evaluator, photos, 1, coarser=coarse)


def test_a_map_of_another_photo_is_refused(
    x: NDArray[np.float32], evaluator: Counting, photos: NDArray[np.float32]
) -> None:
    coarse = explain(photos[5], evaluator, photos, 2)
    with pytest.raises(ConfigurationError, match="found another photo"):
        explain(x, evaluator, photos, 1, coarser=coarse)


def test_the_window_that_the_authors_code_counts_twice_is_computed_anew(
    x: NDArray[np.float32], evaluator: Counting, photos: NDArray[np.float32]
) -> None:
    faults = Faults(stale_window=True)
    coarse = explain(x, evaluator, photos, 2, faults=faults, samples=5)
    assert coarse.counts.max() == 2
    found = explain(x, evaluator, photos, 1, faults=faults, samples=5, coarser=coarse)
    whole = explain(x, evaluator, photos, 1, faults=faults, samples=5)
    np.testing.assert_allclose(found.relevance, whole.relevance, rtol=0, atol=1e-6)


@pytest.mark.parametrize("k", [1, 2, 5, 10, 16])
@pytest.mark.parametrize("stride", [1, 2, 3, 6])
def test_coarser_grids_cover_every_pixel_with_windows_of_the_finer(k: int, stride: int) -> None:
    if stride > k:
        return
    grid = WindowGrid(37, 41, k, stride)
    finer = {tuple(position) for position in grid.positions.tolist()}
    steps = grid.coarser()
    assert steps == sorted(steps, reverse=True)
    for step in steps:
        coarse = WindowGrid(37, 41, k, step)
        assert {tuple(position) for position in coarse.positions.tolist()} < finer
        assert coarse.counts.min() >= 1

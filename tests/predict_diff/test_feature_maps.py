"""Means of feature maps: what they are, and that thousands of them can be kept."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from predict_diff.algorithm import prediction_difference
from predict_diff.network import incremental
from predict_diff.network.choosing import EvaluatorName, choose_evaluator
from predict_diff.network.frontier import Frontier
from predict_diff.network.graphs import Shape
from predict_diff.network.locality import changed_squares, local_steps
from predict_diff.network.minibatch import MiniBatchEvaluator
from predict_diff.network.network import Network
from predict_diff.result import RelevanceMap
from predict_diff.samplers import GaussianSampler, GaussianStatistics
from predict_diff.targets import Target
from predict_diff.windows import WindowGrid

K, L = 4, 6


def _everything_local(model: onnx.ModelProto, shapes: Mapping[str, Shape], image: str, k: int) -> Frontier:
    """In so small a network nothing pays; here all that can be is evaluated on squares."""
    steps = tuple(local_steps(model, shapes, image))
    squares = changed_squares(steps, shapes, image, k)
    return Frontier(steps, squares, dict.fromkeys(squares, 1.0), 1.0, 1.0)


@pytest.mark.parametrize("kind", ["minibatch", "incremental"])
@pytest.mark.parametrize("blob", ["conv", "pool"])
def test_a_feature_map_s_relevance_is_the_average_of_its_units(
    network: Network,
    x: NDArray[np.float32],
    photos: NDArray[np.float32],
    blob: str,
    kind: EvaluatorName,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(incremental, "find_frontier", _everything_local)
    # Activations of about 1, of which float32 keeps seven digits.
    x, photos = x / 4, photos / 4
    shape = network.blobs[blob]
    maps = [Target(blob, (number,)) for number in range(shape[0])]
    units = [Target(blob, index) for index in product(*map(range, shape))]
    sampler = GaussianSampler(GaussianStatistics.fit(photos[1:], L, patches=300), K)

    def explained(targets: list[Target]) -> RelevanceMap:
        evaluator = choose_evaluator(network, targets, K, kind=kind)
        assert isinstance(evaluator, MiniBatchEvaluator) or len(evaluator.frontier.steps) >= 2
        return prediction_difference(x, evaluator, sampler, samples=3, stride=2, seed=5)

    found, single = explained(maps), explained(units)
    assert set(found.measures) == {"AD"}
    by_map = single.relevance.reshape(shape[0], -1, len(single.grid))
    assert np.abs(by_map).max() > 0.1  # there is something to average
    np.testing.assert_allclose(found.relevance, by_map.mean(axis=1), rtol=0, atol=1e-6)
    np.testing.assert_allclose(
        found.maps, single.maps.reshape(*shape, *x.shape[1:]).mean(axis=(1, 2)), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("count", [1_280, 5_000])
def test_maps_of_thousands_of_targets_survive_their_file(count: int, tmp_path: Path) -> None:
    grid = WindowGrid(6, 6, 3, 3)
    generator = np.random.default_rng(count)
    targets = tuple(Target("stage4/unit3/a_rather_long/name_of_a/blob", (number,)) for number in range(count))
    many = generator.normal(size=(3, count, len(grid)))
    original = RelevanceMap(
        grid=grid,
        targets=targets,
        measures=("AD",) * count,
        known=generator.normal(size=count),
        expected=many[0],
        relevance=many[1],
        standard_error=many[2],
        counts=np.ones(len(grid), np.int64),
        provenance={"identity": {"targets": [str(target) for target in targets]}},
    )
    found = RelevanceMap.load(original.save(tmp_path / "map.h5"))
    assert found.targets == targets
    assert found.measures == original.measures
    assert found.provenance == original.provenance
    np.testing.assert_array_equal(found.relevance, original.relevance)
    np.testing.assert_array_equal(found.maps_of([count - 1, 3]), original.maps[[count - 1, 3]])

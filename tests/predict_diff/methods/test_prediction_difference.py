"""Prediction difference analysis in the call shape of all methods: Algorithm 1, and nothing else."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from predict_diff.algorithm import prediction_difference
from predict_diff.errors import ConfigurationError, PredictDiffError, SamplerError
from predict_diff.methods.prediction_difference import PredictionDifference
from predict_diff.network.choosing import choose_evaluator
from predict_diff.network.function import FunctionNetwork
from predict_diff.network.network import Network
from predict_diff.samplers import GaussianSampler, GaussianStatistics, MarginalSampler
from predict_diff.samplers.fills import ConstantFill
from predict_diff.targets import Target

Array = NDArray[np.float32]
TARGETS = [Target("prob", (1,)), Target("conv", (2,))]


def marginal(**parameters: Any) -> PredictionDifference:
    return PredictionDifference(**{"k": 4, "sampler": "marginal", "samples": 2, "stride": 4, **parameters})


@pytest.mark.parametrize("name", ["conditional", "marginal", "fill"])
def test_its_map_is_algorithm_1s(name: str, network: Network, x: Array, photos: Array) -> None:
    sampler = {
        "conditional": lambda: GaussianSampler(GaussianStatistics.fit(photos[1:], 5), 3),
        "marginal": lambda: MarginalSampler(photos[1:], 3),
        "fill": lambda: ConstantFill(3),
    }[name]()
    evaluator = choose_evaluator(network, TARGETS, 3)
    expected = prediction_difference(x, evaluator, sampler, 2, 3, seed=7, instances=1000)
    named = ConstantFill(3) if name == "fill" else name
    method = PredictionDifference(
        k=3, l=5 if name == "conditional" else None, sampler=named, samples=2, stride=3, instances=1000
    )
    found = method.fit(photos[1:]).relevance_map(network, x, TARGETS, seed=7)
    np.testing.assert_array_equal(found.maps, expected.maps)
    assert found.measures == ("WE", "AD")
    np.testing.assert_array_equal(method.explain(network, x, TARGETS, seed=7), expected.maps)


def test_passes_are_those_that_are_made(x: Array, photos: Array) -> None:
    made = 0

    def classify(images: Array) -> Array:
        nonlocal made
        made += len(images)
        p = 1 / (1 + np.exp(-images.mean(axis=(1, 2, 3))))
        return np.stack([p, 1 - p], axis=1)

    network, method = FunctionNetwork(classify, x), marginal(batch_size=1).fit(photos[1:])
    made = 0
    method.explain(network, x, [Target("prob", (0,))])
    # 4 x 4 windows, the last flush with the border, of 2 samples each, and the image itself.
    assert method.passes(x.shape) == (made, 0) == (16 * 2 + 1, 0)


def test_the_batch_size_does_not_matter(network: Network, x: Array, photos: Array) -> None:
    maps = [marginal(batch_size=size).fit(photos[1:]).explain(network, x, TARGETS) for size in (1, 7, 50)]
    for other in maps[1:]:
        np.testing.assert_allclose(other, maps[0], rtol=0, atol=1e-4)


def test_seeds_may_be_numpys_and_have_to_be_whole(network: Network, x: Array, photos: Array, tmp_path: Path) -> None:
    method = marginal().fit(photos[1:])
    expected = method.relevance_map(network, x, TARGETS, seed=3)
    journal = tmp_path / "journal.h5"
    found = method.relevance_map(network, x, TARGETS, seed=np.int64(3), journal=journal)
    found.save(tmp_path / "map.h5")
    np.testing.assert_array_equal(found.maps, expected.maps)
    np.testing.assert_array_equal(method.relevance_map(network, x, TARGETS, 3, journal=journal).maps, expected.maps)
    for sampler in ("marginal", ConstantFill(4)):  # also where nothing is drawn
        with pytest.raises(ConfigurationError, match=r"seed: expected a whole number from 0 .* found 1\.5"):
            marginal(sampler=sampler).fit(photos[1:]).explain(network, x, TARGETS, seed=1.5)


def test_images_of_the_fit_are_drawn_from_until_the_next(network: Network, x: Array, photos: Array) -> None:
    method = marginal(instances=100)
    first = method.fit(photos[1:30]).explain(network, x, TARGETS)
    np.testing.assert_array_equal(method.explain(network, x, TARGETS), first)
    second = method.fit(photos[30:]).explain(network, x, TARGETS)
    assert not np.array_equal(first, second)


def test_parameters_may_change_after_the_fit(network: Network, x: Array, photos: Array) -> None:
    method = marginal(instances=100).fit(photos[1:])
    method.explain(network, x, TARGETS)
    changed = {"k": 5, "l": 7, "sampler": "conditional", "samples": 3}
    anew = marginal(instances=100, **changed).fit(photos[1:])
    np.testing.assert_array_equal(
        method.set_params(**changed).explain(network, x, TARGETS), anew.explain(network, x, TARGETS)
    )


def test_a_copy_does_the_same(network: Network, x: Array, photos: Array) -> None:
    method = marginal().fit(photos[1:])
    first = method.explain(network, x, TARGETS)
    np.testing.assert_array_equal(deepcopy(method).explain(network, x, TARGETS), first)


def test_n_is_the_number_of_images_unless_it_is_said(network: Network, x: Array, photos: Array) -> None:
    target = [Target("prob", (0,))]
    said = {instances: marginal(instances=instances).fit(photos[1:]) for instances in (None, 5000)}
    found = {instances: method.relevance_map(network, x, target) for instances, method in said.items()}
    assert found[None].provenance["laplace_instances"] == 59
    assert found[5000].provenance["laplace_instances"] == 5000
    few = marginal().fit(photos[1:20])
    with pytest.raises(ConfigurationError, match="since 19 other images, for 4 classes, cannot be all of them"):
        few.explain(network, x, target)
    few.explain(network, x, [Target("fc", (0,))])  # no probability, so that N plays no part


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ({"k": 15}, "k: expected a whole number, from 1 to 14, to fit into the image, found 15"),
        ({"sampler": "conditional", "k": 14}, "expected less than 14"),
        ({"sampler": "conditional", "l": 15}, "l: expected a whole number, from 1 to 14"),
        ({"sampler": "conditional", "l": 3}, "l: expected more than k = 4.*found 3"),
        ({"sampler": "conditional", "l": 4}, "l: expected more than k = 4.*found 4"),
        ({"k": None, "l": "14"}, "l: expected a whole number, 1 or more, found '14'"),
        ({"sampler": "random"}, "expected conditional, marginal or a sampler, found 'random'"),
        ({"sampler": None}, "expected conditional, marginal or a sampler, found None"),
        ({"stride": 5}, "stride: expected 1 to k = 4"),
        ({"stride": 0}, "stride"),
        ({"samples": 60}, "at least S = 60 photos"),
        ({"instances": 0.5}, "instances"),
        ({"batch_size": -1}, "batch_size"),
        ({"batch_size": "all"}, "batch_size"),
        ({"sampler": ConstantFill(4), "l": 8}, "l: expected none, for the sampler has its own, found 8"),
        ({"evaluator": "fast"}, "evaluator: expected auto, incremental, minibatch"),
    ],
)
def test_impossible_parameters_are_refused(
    parameters: dict[str, Any], problem: str, network: Network, x: Array, photos: Array
) -> None:
    with pytest.raises(PredictDiffError, match=problem) as caught:
        marginal(**parameters).fit(photos[1:]).explain(network, x, TARGETS)
    assert "\n" not in str(caught.value)


def test_what_is_no_sampler_is_refused_before_anything_is_evaluated(network: Network, x: Array) -> None:
    class Undescribed:
        k = 4

        def sample(self, *request: object) -> None:
            raise AssertionError

    for what in (Undescribed(), ConstantFill, 4.0):
        with pytest.raises(ConfigurationError, match="sampler: expected conditional, marginal or a sampler, found"):
            PredictionDifference(sampler=what, instances=10).explain(network, x, TARGETS)  # type: ignore[arg-type]


def test_threads_may_share_a_method(network: Network, photos: Array) -> None:
    for evaluator in ("incremental", "minibatch"):
        shared = marginal(evaluator=evaluator).fit(photos[8:])

        def explained(number: int, method: PredictionDifference) -> np.ndarray:
            # Some images want another blob, and so another evaluator.
            targets = [Target("prob" if number % 4 else "fc", (number % 4,))]
            return method.explain(network, photos[number], targets)

        expected = [explained(number, marginal(evaluator=evaluator).fit(photos[8:])) for number in range(8)]
        with ThreadPoolExecutor(4) as threads:
            found = list(threads.map(lambda number, shared=shared: explained(number, shared), [*range(8)] * 3))
        np.testing.assert_array_equal(found, expected * 3)


def test_samplers_that_learn_want_a_fit(network: Network, x: Array, photos: Array) -> None:
    with pytest.raises(ConfigurationError, match="pool: expected other images"):
        marginal(instances=9).explain(network, x, TARGETS)
    with pytest.raises(SamplerError, match="pool: expected photos of one size"):
        marginal().fit(photos[0])
    marginal(sampler=ConstantFill(4), k=None, instances=9).explain(network, x, TARGETS)

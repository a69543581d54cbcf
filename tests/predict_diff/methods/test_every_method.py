"""What all methods share: one call shape, and results that depend on image, targets and seed only."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_networks import Counting, as_function, linear, quadratic
from numpy.typing import NDArray

from predict_diff.errors import NetworkError, PredictDiffError
from predict_diff.methods import (
    GradientTimesInput,
    IntegratedGradients,
    Method,
    Occlusion,
    Passes,
    Rise,
    Sensitivity,
    SmoothGrad,
    UnivariateMarginal,
)
from predict_diff.network.network import Network
from predict_diff.targets import Target

OF_GRADIENTS = [Sensitivity(), GradientTimesInput(), IntegratedGradients(steps=7), SmoothGrad(n=7)]
OF_CHANGED_IMAGES = [
    Occlusion(size=3, stride=2),
    Occlusion(fill="noise", size=3, samples=2),
    UnivariateMarginal(samples=3, instances=1000),
    Rise(masks=37, cells=3),
]
EVERY = [*OF_GRADIENTS, *OF_CHANGED_IMAGES]
TARGETS = [Target("fc", (3,)), Target("prob", (0,)), Target("fc", (1,))]


def name(method: Method) -> str:
    return type(method).__name__


def fitted(method: Method, images: NDArray[np.float32]) -> Method:
    method = deepcopy(method)
    return method.fit(images) if isinstance(method, UnivariateMarginal) else method


@pytest.mark.parametrize("method", EVERY, ids=name)
class TestEveryMethod:
    def test_gives_a_finite_map_for_each_target(
        self, method: Method, network: Network, photos: NDArray[np.float32], x: NDArray[np.float32]
    ) -> None:
        maps = fitted(method, photos[1:]).explain(network, x, TARGETS)
        assert maps.shape == (3, 14, 14)
        assert maps.dtype == np.float64
        assert np.isfinite(maps).all()
        assert (maps != 0).any(axis=(1, 2)).all()

    def test_gives_the_same_bits_for_one_seed_and_leaves_the_image_alone(
        self, method: Method, network: Network, photos: NDArray[np.float32], x: NDArray[np.float32]
    ) -> None:
        before = x.copy()
        first, second = (fitted(method, photos[1:]).explain(network, x, TARGETS, seed=4) for _ in range(2))
        np.testing.assert_array_equal(first, second)
        np.testing.assert_array_equal(x, before)

    def test_explains_many_targets_as_each_by_itself(
        self, method: Method, network: Network, photos: NDArray[np.float32], x: NDArray[np.float32]
    ) -> None:
        method = fitted(method, photos[1:])
        together = method.explain(network, x, TARGETS)
        for target, found in zip(TARGETS, together, strict=True):
            np.testing.assert_allclose(method.explain(network, x, [target])[0], found, rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize("shape", [(1, 6, 9), (2, 8, 5), (7, 5, 5)])
    def test_takes_images_of_any_channels_and_sides(self, method: Method, shape: tuple[int, ...]) -> None:
        generator = np.random.default_rng(3)
        network = linear(generator.normal(size=(3, *shape)) / 10)
        images = generator.normal(size=(6, *shape)).astype(np.float32)
        maps = fitted(method, images[1:]).explain(network, images[0], [Target("prob", (1,))])
        assert maps.shape == (1, *shape[1:])
        assert np.isfinite(maps).all()

    @pytest.mark.parametrize("what", [np.nan, 3e38])
    def test_refuses_a_network_that_gives_no_finite_numbers(self, method: Method, what: float) -> None:
        images = np.random.default_rng(3).normal(size=(6, 1, 6, 9)).astype(np.float32)
        network = quadratic(np.full((3, 1, 6, 9), what))
        with pytest.raises(NetworkError, match=r"expected finite .*found NaN or infinity"):
            fitted(method, images[1:]).explain(network, images[0], [Target("fc", (1,))])

    def test_has_the_parameters_that_it_was_made_with(self, method: Method) -> None:
        again = type(method)(**method.get_params())  # scikit-learn's clone
        assert again.get_params() == method.get_params()
        with pytest.raises(PredictDiffError, match="found 'cell'"):
            again.set_params(cell=3)

    @pytest.mark.parametrize(
        ("change", "targets", "message"),
        [
            (lambda x: x[None], TARGETS, r"expected one image of shape \(3, 14, 14\), found \(1, 3, 14, 14\)"),
            (lambda x: x.transpose(1, 2, 0), TARGETS, r"expected one image of shape .* found \(14, 14, 3\)"),
            (lambda x: np.where(x == x.max(), np.nan, x), TARGETS, "image: expected finite numbers, found NaN"),
            (lambda x: x.astype(float) * 1e39, TARGETS, "image: expected finite numbers, found NaN, infinity or num"),
            (lambda x: x.astype(str), TARGETS, "image: expected finite numbers, found values of <U32"),
            (lambda x: x, [], "targets: expected at least one, found none"),
            (lambda x: x, TARGETS[0], "targets: expected a list of targets"),
            (lambda x: x, "fc:3", "targets: expected a list of targets.*found 'fc:3'"),
            (lambda x: x, [3], r"targets: expected a list of targets.*found \[3\]"),
            (lambda x: x, [Target("fx", (3,))], "found 'fx'.*did you mean 'fc'"),
            (lambda x: x, [Target("fc", (4,))], r"blob 'fc' is 4, so it has no unit \(4,\)"),
        ],
    )
    def test_refuses_other_images_and_targets_in_one_line(
        self,
        method: Method,
        network: Network,
        photos: NDArray[np.float32],
        x: NDArray[np.float32],
        change: object,
        targets: object,
        message: str,
    ) -> None:
        with pytest.raises(PredictDiffError, match=message) as caught:
            fitted(method, photos[1:]).explain(network, change(x), targets)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "method", [Occlusion(fill="noise", size=3), UnivariateMarginal(3, 99), Rise(50), SmoothGrad(5)]
)
def test_what_is_random_differs_between_seeds(
    method: Method, network: Network, photos: NDArray[np.float32], x: NDArray[np.float32]
) -> None:
    method = fitted(method, photos[1:])
    first, second = (method.explain(network, x, TARGETS[:1], seed=seed) for seed in (0, 1))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize(
    "method",
    [
        IntegratedGradients(steps=11),
        SmoothGrad(n=11, signed=True),
        Occlusion(size=4, stride=3, evaluator="minibatch"),
        Occlusion(size=4, stride=3, evaluator="incremental"),
        UnivariateMarginal(samples=2, instances=1000),
        Rise(masks=31),
    ],
    ids=name,
)
@given(batch_size=st.integers(1, 50))
@settings(max_examples=4, deadline=None)
def test_the_batch_size_does_not_matter(
    method: Method, batch_size: int, network: Network, photos: NDArray[np.float32], x: NDArray[np.float32]
) -> None:
    method = fitted(method, photos[1:])
    expected = method.explain(network, x, TARGETS)
    found = method.set_params(batch_size=batch_size).explain(network, x, TARGETS)
    # Last bits of float32 numbers near 1 differ between batch shapes; weight of evidence enlarges them.
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("batch_size", [0, -3, 2.5, "all"])
@pytest.mark.parametrize("method", [IntegratedGradients(), SmoothGrad(), Occlusion(size=3), Rise()], ids=name)
def test_impossible_batch_sizes_are_refused(
    method: Method, network: Network, x: NDArray[np.float32], batch_size: object
) -> None:
    with pytest.raises(PredictDiffError, match=f"batch_size: expected.*found {batch_size!r}"):
        deepcopy(method).set_params(batch_size=batch_size).explain(network, x, TARGETS)


@pytest.mark.parametrize("method", [Occlusion(size=3), UnivariateMarginal()], ids=name)
def test_unknown_evaluators_are_refused(
    method: Method, network: Network, photos: NDArray[np.float32], x: NDArray[np.float32]
) -> None:
    method = fitted(method, photos).set_params(evaluator="incremetal")
    with pytest.raises(PredictDiffError, match=r"evaluator: expected auto.*did you mean 'incremental'"):
        method.explain(network, x, TARGETS)


class TestCost:
    @pytest.mark.parametrize("method", OF_CHANGED_IMAGES, ids=name)
    def test_of_changed_images_is_as_stated(
        self, method: Method, network: Network, photos: NDArray[np.float32], x: NDArray[np.float32]
    ) -> None:
        function, counted = as_function(network, x)
        method = fitted(method, photos[1:]).set_params(batch_size=1)  # batches of one need not be filled up
        method.explain(function, x, [Target("prob", (0,)), Target("prob", (2,))])
        assert method.passes(x.shape, targets=2) == Passes(forward=counted.images, backward=0)

    @pytest.mark.parametrize("method", OF_GRADIENTS, ids=name)
    def test_of_gradients_is_as_stated(self, method: Method, network: Network, x: NDArray[np.float32]) -> None:
        counting = Counting(network.load(), provider="cpu", threads=1)
        method = deepcopy(method)
        if "batch_size" in method.get_params():
            method.set_params(batch_size=1)
        method.explain(counting, x, TARGETS)
        # A backward pass needs the forward pass's activations.
        assert method.passes(x.shape, targets=3) == Passes(counting.differentiated, counting.differentiated)


class TestFunctions:
    @pytest.mark.parametrize("method", OF_CHANGED_IMAGES, ids=name)
    def test_are_explained_like_networks(
        self, method: Method, network: Network, photos: NDArray[np.float32], x: NDArray[np.float32]
    ) -> None:
        method, targets = fitted(method, photos[1:]), [Target("prob", (2,))]
        found = method.explain(as_function(network, x)[0], x, targets)
        np.testing.assert_allclose(found, method.explain(network, x, targets), rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("method", OF_GRADIENTS, ids=name)
    def test_have_no_gradients(self, method: Method, network: Network, x: NDArray[np.float32]) -> None:
        with pytest.raises(NetworkError, match="a function, which has no gradient"):
            method.explain(as_function(network, x)[0], x, [Target("prob", (2,))])

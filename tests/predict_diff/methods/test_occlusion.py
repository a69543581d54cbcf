"""Occlusion against a literal loop over squares."""

from __future__ import annotations

import numpy as np
import pytest
from known_networks import linear
from numpy.typing import NDArray

from predict_diff.errors import ConfigurationError, PredictDiffError
from predict_diff.methods import Occlusion
from predict_diff.network.network import Network
from predict_diff.samplers import BlurFill, InpaintingFill, MarginalSampler, MeanFill, NoiseFill, Sampler
from predict_diff.targets import Target
from predict_diff.windows import WindowGrid

TARGETS = [Target("prob", (2,)), Target("fc", (1,)), Target("pool", (3,))]


def value(network: Network, x: NDArray[np.float32], target: Target) -> float:
    return float(network.run(x, target.blob)[target.blob][(0, *target.index)].astype(float).mean())


def occluded_one_by_one(
    network: Network,
    x: NDArray[np.float32],
    target: Target,
    size: int,
    stride: int,
    fill: NDArray[np.floating] | Sampler,
    samples: int = 1,
) -> NDArray[np.float64]:
    """Covers one square, with one sample, in one image at a time."""
    height, width = x.shape[1:]
    tops, lefts = (sorted({*range(0, side - size + 1, stride), side - size}) for side in (height, width))
    total, counts = np.zeros((height, width)), np.zeros((height, width))
    for top in tops:
        for left in lefts:
            drop = 0.0
            for sample in range(samples):
                covered = x.copy()
                patch = fill
                if not isinstance(fill, np.ndarray):
                    patch = fill.sample(x, np.array([[top, left]]), samples, 5)[0, sample]
                covered[:, top : top + size, left : left + size] = patch
                drop += (value(network, x, target) - value(network, covered, target)) / samples
            total[top : top + size, left : left + size] += drop
            counts[top : top + size, left : left + size] += 1
    return total / counts


@pytest.mark.parametrize(("size", "stride"), [(3, 1), (4, 3), (5, 5), (14, 1)])
def test_it_equals_covering_one_square_after_the_other(
    network: Network, x: NDArray[np.float32], size: int, stride: int
) -> None:
    found = Occlusion([0.5, 0, -1], size, stride).explain(network, x, TARGETS)
    colour = np.array([0.5, 0, -1])[:, None, None]
    for target, map_ in zip(TARGETS, found, strict=True):
        np.testing.assert_allclose(map_, occluded_one_by_one(network, x, target, size, stride, colour), atol=2e-6)


@pytest.mark.parametrize(
    ("fill", "sampler"),
    [
        ("mean", MeanFill(4)),
        ("blur", BlurFill(4)),
        ("noise", NoiseFill(4)),
        ("inpainting", InpaintingFill(4)),
        (NoiseFill(4, 2.0), NoiseFill(4, 2.0)),
    ],
)
def test_fills_go_by_name_or_as_samplers(
    network: Network, x: NDArray[np.float32], fill: str | Sampler, sampler: Sampler
) -> None:
    found = Occlusion(fill, size=4, stride=4, samples=2).explain(network, x, TARGETS[:1], seed=5)
    np.testing.assert_allclose(
        found[0], occluded_one_by_one(network, x, TARGETS[0], 4, 4, sampler, samples=2), atol=2e-6
    )


def test_any_sampler_covers(network: Network, photos: NDArray[np.float32], x: NDArray[np.float32]) -> None:
    sampler = MarginalSampler(photos[1:], 3)
    found = Occlusion(sampler, size=3, stride=3, samples=4).explain(network, x, TARGETS[1:2], seed=5)
    np.testing.assert_allclose(
        found[0], occluded_one_by_one(network, x, TARGETS[1], 3, 3, sampler, samples=4), atol=1e-5
    )


def test_of_a_linear_network_it_is_the_mean_contribution_of_the_squares() -> None:
    # Covering with zero takes away what the square contributes.
    generator = np.random.default_rng(0)
    weights = generator.normal(size=(2, 5, 7, 9))
    image = generator.normal(size=(5, 7, 9)).astype(np.float32)
    found = Occlusion(size=3, stride=2).explain(linear(weights), image, [Target("fc", (1,))])
    grid = WindowGrid(7, 9, 3, 2)
    contribution = (weights[1] * image).sum(axis=0)
    squares = [contribution[r : r + 3, c : c + 3].sum() for r, c in grid.positions]
    np.testing.assert_allclose(found[0], grid.average(np.array(squares)), atol=1e-5)


@pytest.mark.parametrize(("side", "size"), [(4, 2), (8, 2), (35, 4), (120, 10)])
def test_squares_are_as_large_as_the_windows_of_prediction_difference(side: int, size: int) -> None:
    passes = Occlusion().passes((3, side, side))
    assert passes == Occlusion(size=size).passes((3, side, side))
    assert passes.forward == 1 + (side - size + 1) ** 2


def test_it_is_positive_where_the_evidence_is(network: Network) -> None:
    weights = np.zeros((2, 1, 8, 8))
    weights[0, 0, 2:5, 3:6] = 1
    image = np.ones((1, 8, 8), np.float32)
    found = Occlusion(size=2).explain(linear(weights), image, [Target("prob", (0,)), Target("prob", (1,))])
    assert (found[0] >= 0).all()
    assert np.unravel_index(found[0].argmax(), (8, 8)) == (3, 4)
    np.testing.assert_allclose(found[1], -found[0], atol=1e-6)  # the probabilities of two classes


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (Occlusion(size=15), "size: expected a whole number, from 1 to 14, to fit into the image, found 15"),
        (Occlusion(size=0), "size: expected a whole number.*found 0"),
        (Occlusion(size=4, stride=5), "stride: expected 1 to k = 4"),
        (Occlusion(size=4, stride=0), "stride: expected a whole number, 1 or more, found 0"),
        (Occlusion(size=4, samples=0), "samples: expected a whole number, 1 or more, found 0"),
        (Occlusion("blurred", size=4), "fill: expected a number.*found 'blurred'.*did you mean 'blur'"),
        (Occlusion(None, size=4), "fill: expected a sampler of squares of size 4, found None"),
        (Occlusion(MeanFill(3), size=4), "fill: expected a sampler of squares of size 4, found one of 3"),
        (Occlusion([1, 2], size=4), "value: expected one number, or 3, one for each channel of the photo, found 2"),
    ],
)
def test_impossible_parameters_are_refused(
    method: Occlusion, message: str, network: Network, x: NDArray[np.float32]
) -> None:
    with pytest.raises(PredictDiffError, match=message) as caught:
        method.explain(network, x, TARGETS)
    assert "\n" not in str(caught.value)


def test_squares_that_do_not_fit_are_refused_before_anything_is_computed() -> None:
    with pytest.raises(ConfigurationError, match=r"^size: .*found 500"):
        Occlusion(size=500).passes((3, 224, 224))

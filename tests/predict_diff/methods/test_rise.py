"""RISE against a transcription of the paper, and on networks that look at one place."""

from __future__ import annotations

import numpy as np
import pytest
from known_networks import linear
from numpy.typing import NDArray
from skimage.transform import resize

from predict_diff.errors import ConfigurationError
from predict_diff.methods import Rise
from predict_diff.network.function import FunctionNetwork
from predict_diff.network.network import Network
from predict_diff.samplers import stream
from predict_diff.targets import Target

TARGETS = [Target("prob", (2,)), Target("fc", (1,))]


def mask_of_the_paper(seed: int, number: int, cells: int, p: float, height: int, width: int) -> NDArray[np.float64]:
    """Section 3.2, with scikit-image's bilinear resizing."""
    cell = np.ceil(np.array([height, width]) / cells).astype(int)
    generator = stream(seed, number, 0, "RISE")
    small = (generator.random((cells, cells)) < p).astype(float)
    top, left = (generator.integers(side) for side in cell)
    large = resize(small, (cells + 1) * cell, order=1, mode="edge", anti_aliasing=False)
    return large[top : top + height, left : left + width]


@pytest.mark.parametrize(("cells", "height", "width"), [(7, 14, 14), (3, 14, 14), (4, 9, 13), (5, 5, 5), (1, 6, 6)])
def test_masks_are_the_papers(cells: int, height: int, width: int) -> None:
    for number in range(5):
        found = Rise(cells=cells, p=0.4).mask(3, number, height, width)
        assert found.shape == (height, width)
        np.testing.assert_allclose(found, mask_of_the_paper(3, number, cells, 0.4, height, width), atol=1e-12)


def test_a_map_is_the_papers_sum_over_masks(network: Network, x: NDArray[np.float32]) -> None:
    count, p = 30, 0.3
    expected = np.zeros((2, 14, 14))
    for number in range(count):
        mask = mask_of_the_paper(8, number, 4, p, 14, 14)
        blobs = network.run((x * mask).astype(np.float32), ["prob", "fc"])
        for u, target in enumerate(TARGETS):
            expected[u] += blobs[target.blob][0, target.index[0]] * mask / (p * count)
    found = Rise(masks=count, cells=4, p=p, batch_size=7).explain(network, x, TARGETS, seed=8)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_masks_show_each_pixel_with_probability_p() -> None:
    rise = Rise(cells=4, p=0.3)
    masks = np.stack([rise.mask(0, number, 12, 10) for number in range(3000)])
    assert masks.min() >= 0
    assert masks.max() <= 1
    # A value between 0 and 1 of mean p varies at most like a coin of probability p; five standard errors.
    assert np.abs(masks.mean(axis=0) - 0.3).max() < 5 * np.sqrt(0.3 * 0.7 / 3000)


def test_where_everything_shows_the_map_is_the_probability(network: Network, x: NDArray[np.float32]) -> None:
    found = Rise(masks=5, p=1.0).explain(network, x, TARGETS)
    p = network.run(x, "prob")["prob"][0, 2]
    np.testing.assert_allclose(found[0], p, rtol=1e-5)


def test_elsewhere_shows_the_baseline(network: Network, x: NDArray[np.float32]) -> None:
    same = Rise(masks=5, baseline=x).explain(network, x, TARGETS)  # masks change nothing
    masks = np.mean([Rise().mask(0, number, 14, 14) for number in range(5)], axis=0)
    np.testing.assert_allclose(same[0], network.run(x, "prob")["prob"][0, 2] * masks / 0.5, rtol=1e-5)


def test_the_batch_size_changes_no_bit_that_the_classifier_does_not_change() -> None:
    image = np.random.default_rng(0).normal(size=(1, 64, 70)).astype(np.float32)

    def classify(images: NDArray[np.float32]) -> NDArray[np.float64]:
        p = np.array([1 / (1 + np.exp(-one.astype(float).mean())) for one in images])
        return np.stack([p, 1 - p], axis=1)

    network, targets = FunctionNetwork(classify, image), [Target("prob", (0,)), Target("prob", (1,))]
    found = [Rise(masks=60, batch_size=size).explain(network, image, targets) for size in (1, 7, 60)]
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


@pytest.mark.parametrize("place", [(0, 0), (9, 20), (22, 3), (24, 24)])
def test_it_points_to_the_one_patch_that_the_network_looks_at(place: tuple[int, int]) -> None:
    row, column = place
    weights = np.zeros((2, 1, 28, 28))
    weights[0, 0, row : row + 4, column : column + 4] = 1 / 16
    image = np.ones((1, 28, 28), np.float32)
    masks = 2000
    found = Rise(masks=masks).explain(linear(weights), image, [Target("fc", (0,))])[0]
    # The score is the mean of the mask over the patch: E[score] = p, and at most 1.
    best = np.unravel_index(found.argmax(), found.shape)
    assert row <= best[0] < row + 4
    assert column <= best[1] < column + 4
    # Farther away than two cells of 4 * 8 / 7 pixels, mask and score are independent: the map is E[score].
    far = (np.abs(np.arange(28) - row - 1.5) > 2 + 10)[:, None] | (np.abs(np.arange(28) - column - 1.5) > 2 + 10)
    assert far.any()
    # score * mask / p lies between 0 and 2, so it varies by 1 at most; five standard errors.
    assert np.abs(found[far] - 0.5).max() < 5 / np.sqrt(masks)
    assert found[best] > 0.5 + 5 / np.sqrt(masks)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (Rise(masks=0), "masks: expected a whole number, 1 or more, found 0"),
        (Rise(cells=15), "cells: expected a whole number, from 1 to 14, the image's size, found 15"),
        (Rise(p=0), "p: expected a probability above 0, found 0; the paper uses 0.5"),
        (Rise(p=1.5), "p: expected a probability above 0, found 1.5"),
        (Rise(baseline=[1, 2, 3, 4]), r"baseline: expected one number, 3 for the channels.*found shape \(4,\)"),
    ],
)
def test_impossible_parameters_are_refused(
    method: Rise, message: str, network: Network, x: NDArray[np.float32]
) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        method.explain(network, x, TARGETS)
    assert "\n" not in str(caught.value)

"""Single pixels, marginalised: against the definition, summed value by value."""

from __future__ import annotations

from math import log2

import numpy as np
import pytest
from known_networks import linear
from numpy.typing import NDArray

from predict_diff.errors import PredictDiffError
from predict_diff.methods import UnivariateMarginal
from predict_diff.network.network import Network
from predict_diff.targets import Target

CLASSES = 3


@pytest.fixture(scope="module")
def classifier() -> Network:
    return linear(np.random.default_rng(0).normal(size=(CLASSES, 2, 4, 5)) / 2)


@pytest.fixture(scope="module")
def images() -> NDArray[np.float32]:
    return np.random.default_rng(1).normal(size=(9, 2, 4, 5)).astype(np.float32)


def definition(
    classifier: Network, x: NDArray[np.float32], images: NDArray[np.float32], c: int, n: int
) -> NDArray[np.float64]:
    """The sum over a pixel's values in the other images, each as likely as it occurs; one image at a time."""

    def p(image: NDArray[np.float32]) -> float:
        return float(classifier.run(image, "prob")["prob"][0, c])

    def odds(probability: float) -> float:
        corrected = (probability * n + 1) / (n + CLASSES)
        return corrected / (1 - corrected)

    found = np.empty(x.shape[1:])
    for row, column in np.ndindex(*found.shape):
        without = 0.0
        for other in images:
            changed = x.copy()
            changed[:, row, column] = other[:, row, column]
            without += p(changed) / len(images)
        found[row, column] = log2(odds(p(x))) - log2(odds(without))
    return found


@pytest.mark.parametrize("samples", [None, 8])
def test_with_all_images_it_is_the_definition(
    classifier: Network, images: NDArray[np.float32], samples: int | None
) -> None:
    method = UnivariateMarginal(samples, instances=500).fit(images[1:])
    found = method.explain(classifier, images[0], [Target("prob", (c,)) for c in range(CLASSES)])
    for c in range(CLASSES):
        np.testing.assert_allclose(found[c], definition(classifier, images[0], images[1:], c, 500), atol=1e-5)


def test_fewer_samples_estimate_the_same(classifier: Network, images: NDArray[np.float32]) -> None:
    targets = [Target("prob", (1,))]
    exact = UnivariateMarginal(None, instances=8).fit(images[1:]).explain(classifier, images[0], targets)
    draws = [
        UnivariateMarginal(7, instances=8).fit(images[1:]).explain(classifier, images[0], targets, seed)
        for seed in range(30)
    ]
    # Seven of eight images: the mean leaves one out, a different one each time.
    error = np.std(draws, axis=0, ddof=1) / np.sqrt(len(draws))
    # The logarithm of a mean is biased by about its slope times the variance, far below this.
    assert (np.abs(np.mean(draws, axis=0) - exact) < 5 * error + 0.02).all()


def test_n_is_the_number_of_images_where_these_can_be_the_training_images(
    classifier: Network, images: NDArray[np.float32]
) -> None:
    targets, training = [Target("prob", (1,))], np.tile(images, (4, 1, 1, 1))
    default, same, other = (
        UnivariateMarginal(4, instances=n).fit(training).explain(classifier, images[0], targets)
        for n in (None, 36, 10_000)
    )
    np.testing.assert_array_equal(default, same)
    assert not np.allclose(default, other)
    with pytest.raises(PredictDiffError, match="instances: expected the number of images"):
        UnivariateMarginal(4).fit(images).explain(classifier, images[0], targets)


def test_the_score_gets_the_activation_difference(images: NDArray[np.float32]) -> None:
    weights = np.random.default_rng(0).normal(size=(CLASSES, 2, 4, 5))
    found = UnivariateMarginal(None).fit(images[1:]).explain(linear(weights), images[0], [Target("fc", (2,))])
    expected = (weights[2] * (images[0] - images[1:].mean(axis=0))).sum(axis=0)
    np.testing.assert_allclose(found[0], expected, atol=1e-5)


def test_it_has_to_be_fitted(classifier: Network, images: NDArray[np.float32]) -> None:
    targets = [Target("prob", (1,))]
    with pytest.raises(
        PredictDiffError, match=r"UnivariateMarginal: expected a method fitted.*call fit\(images\) first"
    ):
        UnivariateMarginal().explain(classifier, images[0], targets)
    with pytest.raises(PredictDiffError, match="fitted"):
        UnivariateMarginal(None).passes((2, 4, 5))
    assert UnivariateMarginal(20).passes((2, 4, 5)).forward == 401


@pytest.mark.parametrize(
    ("method", "change", "message"),
    [
        (UnivariateMarginal(0, 9), lambda images: images, "samples: expected a whole number, 1 or more, found 0"),
        (UnivariateMarginal(10, 9), lambda images: images, "pool: expected at least S = 10 photos.*found 9"),
        (UnivariateMarginal(instances=0), lambda images: images, "instances: expected a whole number"),
        (UnivariateMarginal(2, 9), lambda images: images[:, :1], r"photo: expected shape \(1, 4, 5\)"),
        (UnivariateMarginal(2), lambda images: images[:0], "pool: expected at least one photo, found none"),
        (UnivariateMarginal(2), lambda images: images * np.nan, "NaN or infinity"),
        (UnivariateMarginal(2), lambda images: images[0], r"shape \(P, C, H, W\), found shape \(2, 4, 5\)"),
    ],
)
def test_impossible_parameters_and_images_are_refused(
    method: UnivariateMarginal, change: object, message: str, classifier: Network, images: NDArray[np.float32]
) -> None:
    with pytest.raises(PredictDiffError, match=message) as caught:
        method.fit(change(images)).explain(classifier, images[0], [Target("prob", (1,))])
    assert "\n" not in str(caught.value)

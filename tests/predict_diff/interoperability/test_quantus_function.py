"""Methods as Quantus's `explain_func`: arrays in, one map for each image out, whatever the classifier is."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from numpy.typing import NDArray
from stub_torch import images as some_images
from stub_torch import probabilities, scores

from predict_diff.errors import ConfigurationError, PredictDiffError
from predict_diff.interoperability import explain_func
from predict_diff.methods import Occlusion, Rise
from predict_diff.methods.prediction_difference import PredictionDifference
from predict_diff.network.function import FunctionNetwork
from predict_diff.targets import Target

CLASSES = np.array([2, 0, 3])


@pytest.fixture
def images() -> NDArray[np.float32]:
    return some_images()


def expected(images: NDArray[np.float32], method: object) -> NDArray[np.float64]:
    network = FunctionNetwork(probabilities, images[0])
    return np.stack(
        [method.explain(network, x, [Target("prob", (c,))], 5)[0] for x, c in zip(images, CLASSES, strict=True)]
    )


def test_it_is_called_as_quantus_calls_it(images: NDArray[np.float32]) -> None:
    method = Occlusion(size=2)
    found = explain_func(method, seed=5)(model=probabilities, inputs=images, targets=CLASSES, device="cpu")
    assert found.shape == (3, 1, 6, 5)
    np.testing.assert_allclose(found[:, 0], expected(images, method), atol=1e-9)


def test_a_network_is_a_model_too(images: NDArray[np.float32]) -> None:
    method = Rise(masks=30, cells=2)
    network = FunctionNetwork(scores, images[0], softmax=True)
    found = explain_func(method, seed=5)(network, images, CLASSES)
    np.testing.assert_allclose(found[:, 0], expected(images, method), atol=1e-6)


def test_a_wrapped_model_is_unwrapped(images: NDArray[np.float32]) -> None:
    class Wrapper:
        def get_model(self) -> object:
            return probabilities

    function = explain_func(Occlusion(size=2))
    np.testing.assert_array_equal(function(Wrapper(), images, CLASSES), function(probabilities, images, CLASSES))


def test_scores_get_a_softmax_where_asked_for(images: NDArray[np.float32]) -> None:
    found = explain_func(Occlusion(size=2), softmax=True)(scores, images, CLASSES)
    np.testing.assert_allclose(found, explain_func(Occlusion(size=2))(probabilities, images, CLASSES), atol=1e-6)


def test_channels_may_come_last(images: NDArray[np.float32]) -> None:
    def last(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        assert batch.shape[1:] == (6, 5, 3)
        return probabilities(np.moveaxis(batch, 3, 1))

    found = explain_func(Occlusion(size=2), channel_first=False)(last, np.moveaxis(images, 1, 3), CLASSES)
    first = explain_func(Occlusion(size=2))(probabilities, images, CLASSES)
    np.testing.assert_allclose(found, np.moveaxis(first, 1, 3), atol=1e-9)


@pytest.mark.parametrize(("shape", "said"), [((2, 6, 5, 3), "False"), ((2, 28, 28, 1), "False")])
def test_channels_in_another_place_are_not_taken_for_rows(shape: tuple[int, ...], said: str) -> None:
    with pytest.raises(ConfigurationError, match=f"say channel_first={said}"):
        explain_func(Occlusion())(probabilities, np.zeros(shape), 0)
    with pytest.raises(ConfigurationError, match="say channel_first=True"):
        explain_func(Occlusion(), channel_first=False)(probabilities, np.zeros(shape).transpose(0, 3, 1, 2), 0)


IMAGES = np.zeros((2, 3, 6, 5))


@pytest.mark.parametrize(
    ("model", "inputs", "targets", "more", "message"),
    [
        (None, IMAGES, 0, {}, "found NoneType"),
        ("model", IMAGES, 0, {}, "found str"),
        (scores, IMAGES + 1, 0, {}, "softmax=True"),
        (probabilities, IMAGES[0], 0, {}, r"images \(N, C, H, W\), found shape \(3, 6, 5\)"),
        (probabilities, IMAGES[:0], 0, {}, r"found shape \(0, 3, 6, 5\)"),
        (probabilities, IMAGES.astype(str), 0, {}, "found shape .* of <U"),
        (probabilities, IMAGES * np.nan, 0, {}, "NaN"),
        (probabilities, [[[1]], [[1, 2]]], 0, {}, "inputs: expected an array, found list"),
        (probabilities, np.ma.masked_array(IMAGES, mask=True), 0, {}, "masked"),
        (probabilities, IMAGES + 1e300, 0, {}, "beyond float32"),
        (probabilities, IMAGES, [0, 1, 2], {}, "each of 2 images"),
        (probabilities, IMAGES, [0, 4], {}, "from 0 to 3, found 4"),
        (probabilities, IMAGES, [0.0, 1.0], {}, "number of a class"),
        (probabilities, IMAGES, None, {}, "found None"),
        (probabilities, IMAGES, 0, {"method": Occlusion(), "abs": True}, "found abs, method; settings belong"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(
    model: object, inputs: object, targets: object, more: dict[str, object], message: str
) -> None:
    with pytest.raises(PredictDiffError, match=message) as error:
        explain_func(Occlusion(size=3))(model, inputs, targets, **more)
    assert "\n" not in str(error.value)


def test_prediction_difference_is_the_default_and_says_what_it_lacks(images: NDArray[np.float32]) -> None:
    with pytest.raises(ConfigurationError, match="expected"):
        explain_func()(probabilities, images, CLASSES)
    pool = np.random.default_rng(2).normal(size=(50, 3, 6, 5)).astype(np.float32)
    method = PredictionDifference().fit(pool)
    found = explain_func(method, seed=5)(probabilities, images, CLASSES)
    np.testing.assert_allclose(found[:, 0], expected(images, method), atol=1e-9)


def test_what_is_no_method_is_refused_before_it_is_used() -> None:
    with pytest.raises(ConfigurationError, match=r"one of predict_diff\.methods"):
        explain_func("Saliency")


def test_the_parameters_are_named_as_quantus_names_them() -> None:
    assert list(inspect.signature(explain_func(Occlusion())).parameters)[:3] == ["model", "inputs", "targets"]

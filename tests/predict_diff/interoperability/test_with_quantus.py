"""With the real Quantus: our methods run inside its metrics."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from torch_networks import small_classifier, some_images

from predict_diff.errors import ConfigurationError
from predict_diff.interoperability import explain_func
from predict_diff.methods import GradientTimesInput, Occlusion, Rise
from predict_diff.methods.prediction_difference import PredictionDifference

pytestmark = [pytest.mark.strangers, pytest.mark.filterwarnings("ignore")]

TARGETS = np.array([2, 0, 3])


@pytest.fixture(scope="module")
def torch() -> Any:
    return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def quantus(torch: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("quantus")


@pytest.fixture(scope="module")
def conditional(torch: Any) -> PredictionDifference:
    """Prediction difference analysis as one would set it for 12 x 10 pixels."""
    return PredictionDifference(k=2, l=4, samples=4).fit(some_images(torch, 60).numpy())


@pytest.fixture
def images(torch: Any) -> np.ndarray:
    return some_images(torch).numpy()


def gini(values: np.ndarray) -> float:
    """Hurley and Rickard (2009), of absolute values."""
    ordered = np.sort(np.abs(values).ravel())
    weights = (len(ordered) - np.arange(1, len(ordered) + 1) + 0.5) / len(ordered)
    return float(1 - 2 * (ordered / ordered.sum() * weights).sum())


@pytest.mark.parametrize("device", [None, "cpu"])
def test_its_sparseness_of_our_maps(
    torch: Any,
    quantus: Any,
    conditional: PredictionDifference,
    images: np.ndarray,
    device: str | None,
    record_property: Any,
) -> None:
    function = explain_func(conditional, softmax=True)
    model = small_classifier(torch)
    metric = quantus.Sparseness(disable_warnings=True)
    found = metric(model, images, TARGETS, None, explain_func=function, device=device)
    expected = [gini(each) for each in function(model, images, TARGETS)]
    record_property("largest_difference", float(np.abs(np.subtract(found, expected)).max()))
    # Quantus adds 1e-7 to each value.
    np.testing.assert_allclose(found, expected, atol=1e-5)
    given = metric(model, images, TARGETS, function(model, images, TARGETS))
    np.testing.assert_allclose(found, given, atol=1e-12)


@pytest.mark.parametrize("method", [Occlusion(size=3), Rise(masks=20, cells=2), GradientTimesInput(), None])
def test_metrics_of_every_kind_take_our_methods(
    torch: Any, quantus: Any, conditional: PredictionDifference, images: np.ndarray, method: Any
) -> None:
    function = explain_func(method or conditional, softmax=True)
    metrics = [
        quantus.Complexity(disable_warnings=True),
        quantus.PixelFlipping(features_in_step=12, disable_warnings=True),
        quantus.MaxSensitivity(nr_samples=2, disable_warnings=True),
        quantus.RandomLogit(num_classes=4, disable_warnings=True),
    ]
    for metric in metrics:
        found = metric(small_classifier(torch), images, TARGETS, None, explain_func=function, softmax=True)
        assert len(found) == 3
        assert np.isfinite(found).all()


def test_a_randomised_classifier_is_explained_anew(torch: Any, quantus: Any, images: np.ndarray) -> None:
    """Adebayo et al.'s check: the map of another classifier is another map."""
    metric = quantus.MPRT(disable_warnings=True, similarity_func=quantus.similarity_func.correlation_spearman)
    function = explain_func(Occlusion(size=3), softmax=True)
    found = metric(small_classifier(torch), images, TARGETS, None, explain_func=function)
    assert np.allclose(found.pop("original"), 1)
    assert len(found) == 2
    assert all(np.mean(similarity) < 0.9 for similarity in found.values())


def test_its_settings_do_not_vanish(torch: Any, quantus: Any, images: np.ndarray) -> None:
    with pytest.raises(ConfigurationError, match="found nr_samples; settings belong"):
        quantus.Sparseness(disable_warnings=True)(
            small_classifier(torch),
            images,
            TARGETS,
            None,
            explain_func=explain_func(Occlusion(), softmax=True),
            explain_func_kwargs={"nr_samples": 5},
        )


def test_its_own_loop_over_methods_and_metrics_takes_them(
    torch: Any, quantus: Any, conditional: PredictionDifference, images: np.ndarray
) -> None:
    metrics = {
        "sparse": quantus.Sparseness(disable_warnings=True),
        "robust": quantus.MaxSensitivity(nr_samples=2, disable_warnings=True),
    }
    methods = {"ours": conditional, "Occlusion": Occlusion(size=3)}
    functions = {name: explain_func(method, softmax=True) for name, method in methods.items()}
    model = small_classifier(torch)
    found = quantus.evaluate(metrics, functions, model, images, TARGETS, explain_func_kwargs={})
    for name, function in functions.items():
        np.testing.assert_allclose(
            found[name]["sparse"], metrics["sparse"](model, images, TARGETS, None, explain_func=function), atol=1e-12
        )
        assert len(found[name]["robust"]) == len(images)  # a metric that failed is left out


@pytest.mark.parametrize("device", ["nonsense", 3.5])
def test_devices_that_there_are_not_are_refused(torch: Any, images: np.ndarray, device: Any) -> None:
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(images[0].size, 3)).eval()
    with pytest.raises(ConfigurationError, match="device: expected one that torch has here, found"):
        explain_func(Occlusion(size=3), softmax=True)(module, images, 0, device=device)


def test_modules_take_channels_first(torch: Any, images: np.ndarray) -> None:
    with pytest.raises(ConfigurationError, match="for a torch module"):
        explain_func(Occlusion(size=3), channel_first=False)(small_classifier(torch), np.moveaxis(images, 1, 3), 0)


def test_double_precision_of_the_classifier_is_met(torch: Any, images: np.ndarray) -> None:
    function = explain_func(GradientTimesInput(), softmax=True)
    found = function(small_classifier(torch).double(), images, TARGETS)
    np.testing.assert_allclose(found, function(small_classifier(torch), images, TARGETS), atol=1e-4)

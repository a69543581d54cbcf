"""Methods in captum's call shape: tensors in, tensors like them out, and the method's own map inside."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray
from stub_torch import TORCH, StubTensor, probabilities, scores
from stub_torch import images as some_images

from predict_diff.errors import ConfigurationError, ImageError, NetworkError, PredictDiffError
from predict_diff.interoperability import Attribution
from predict_diff.methods import Occlusion, Rise
from predict_diff.methods.prediction_difference import PredictionDifference
from predict_diff.network.function import FunctionNetwork
from predict_diff.targets import Target


@pytest.fixture(autouse=True)
def torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stub in torch's place, whether torch is installed or not."""
    monkeypatch.setitem(sys.modules, "torch", TORCH)  # type: ignore[arg-type]


@pytest.fixture
def images() -> NDArray[np.float32]:
    return some_images()


def forward(batch: StubTensor) -> StubTensor:
    return StubTensor(probabilities(batch.array), batch.device.type, tracked=True)


def score(batch: StubTensor) -> StubTensor:
    return StubTensor(scores(batch.array), batch.device.type)


def expected(images: NDArray[np.float32], classes: list[int], method: object) -> NDArray[np.float64]:
    network = FunctionNetwork(probabilities, images[0])
    return np.stack(
        [method.explain(network, x, [Target("prob", (c,))], 5)[0] for x, c in zip(images, classes, strict=True)]
    )


@pytest.mark.parametrize("method", [Occlusion(size=2), Rise(masks=30, cells=2)])
def test_the_sum_over_channels_is_the_methods_map(images: NDArray[np.float32], method: object) -> None:
    found = Attribution(forward, method, seed=5).attribute(StubTensor(images), target=[2, 0, 2])
    assert isinstance(found, StubTensor)
    assert found.shape == images.shape
    np.testing.assert_array_equal(found.array, found.array[:, :1].repeat(3, axis=1))
    np.testing.assert_allclose(found.array.sum(axis=1), expected(images, [2, 0, 2], method), atol=1e-6)


def test_scores_get_a_softmax_where_asked_for(images: NDArray[np.float32]) -> None:
    one = Attribution(forward, Occlusion(size=2)).attribute(StubTensor(images), 1)
    other = Attribution(score, Occlusion(size=2), softmax=True).attribute(StubTensor(images), 1)
    np.testing.assert_allclose(one.array, other.array, atol=1e-6)
    with pytest.raises(NetworkError, match="softmax=True"):
        Attribution(score, Occlusion(size=2)).attribute(StubTensor(images), 1)


def test_prediction_difference_is_the_default_and_learns_from_tensors(images: NDArray[np.float32]) -> None:
    pool = np.random.default_rng(2).normal(size=(50, 3, 6, 5)).astype(np.float32)
    attribution = Attribution(forward, seed=5)
    assert isinstance(attribution.method, PredictionDifference)
    with pytest.raises(ConfigurationError, match="expected"):
        attribution.attribute(StubTensor(images), 0)
    assert attribution.fit(StubTensor(pool, tracked=True)) is attribution
    found = attribution.attribute(StubTensor(images), 0)
    np.testing.assert_allclose(
        found.array.sum(axis=1), expected(images, [0, 0, 0], PredictionDifference().fit(pool)), atol=1e-5
    )
    with pytest.raises(ConfigurationError, match="leave fit out"):
        Attribution(forward, Occlusion()).fit(pool)


def test_the_map_of_an_image_does_not_depend_on_those_beside_it(images: NDArray[np.float32]) -> None:
    attribution = Attribution(forward, Rise(masks=20, cells=2))
    together = attribution.attribute(StubTensor(images), [0, 1, 2])
    alone = attribution.attribute(StubTensor(images[1:2]), 1)
    np.testing.assert_array_equal(together.array[1:2], alone.array)


@pytest.mark.parametrize("target", [1, np.int64(1), [1], [1, 1, 1], np.array([1, 1, 1]), (1,), StubTensor(np.array(1))])
def test_targets_are_written_in_many_ways(images: NDArray[np.float32], target: object) -> None:
    attribution = Attribution(forward, Occlusion(size=3))
    found = attribution.attribute(StubTensor(images), target=target)
    np.testing.assert_array_equal(found.array, attribution.attribute(StubTensor(images), target=1).array)


def test_device_and_type_are_those_of_the_inputs(images: NDArray[np.float32]) -> None:
    seen = set()

    def watched(batch: StubTensor) -> StubTensor:
        seen.add((batch.device.type, batch.dtype))
        return forward(batch)

    inputs = StubTensor(images.astype(np.float64), "cuda", tracked=True)
    found = Attribution(watched, Occlusion(size=3)).attribute(inputs, 0)
    assert (found.device.type, found.dtype) == ("cuda", np.float64)
    assert seen == {("cuda", np.dtype(np.float64))}


def test_a_tuple_of_one_gives_a_tuple_of_one(images: NDArray[np.float32]) -> None:
    (found,) = Attribution(forward, Occlusion(size=3)).attribute((StubTensor(images),), 0)
    assert found.shape == images.shape


def test_arguments_that_say_nothing_are_passed_over(images: NDArray[np.float32]) -> None:
    Attribution(forward, Occlusion(size=3)).attribute(StubTensor(images), 0, additional_forward_args=None)


IMAGES = StubTensor(np.zeros((2, 3, 6, 5), np.float32))


@pytest.mark.parametrize(
    ("inputs", "arguments", "message"),
    [
        (IMAGES, {"target": 0, "baselines": 0, "n_steps": 5}, "found baselines, n_steps too"),
        (IMAGES, {"target": None}, "found None"),
        (IMAGES, {"target": 4}, "from 0 to 3, found 4"),
        (IMAGES, {"target": -1}, "from 0 to 3, found -1"),
        (IMAGES, {"target": 1.0}, "number of a class"),
        (IMAGES, {"target": True}, "number of a class"),
        (IMAGES, {"target": "cat"}, "found 'cat'"),
        (IMAGES, {"target": [0, 1, 2]}, "each of 2 images"),
        (IMAGES, {"target": [[0], [1, 2]]}, "each of 2 images"),
        ((IMAGES, IMAGES), {"target": 0}, "a tuple of 2"),
        (IMAGES.array, {"target": 0}, "found ndarray"),
        (IMAGES[0], {"target": 0}, r"found shape \(3, 6, 5\)"),
        (StubTensor(np.zeros((0, 3, 6, 5))), {"target": 0}, r"found shape \(0, 3, 6, 5\)"),
        (StubTensor(np.zeros((2, 3, 6, 5), np.int64)), {"target": 0}, "found int64"),
        (StubTensor(np.full((2, 3, 6, 5), np.nan)), {"target": 0}, "NaN"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(inputs: object, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(PredictDiffError, match=message) as error:
        Attribution(forward, Occlusion(size=3)).attribute(inputs, **arguments)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("method", ["occlusion", Occlusion, object()])
def test_what_is_no_method_is_refused(method: object) -> None:
    with pytest.raises(ConfigurationError, match=r"one of predict_diff\.methods, such as Occlusion"):
        Attribution(forward, method)


@pytest.mark.parametrize(
    "learnt",
    [[[1], [1, 2]], "photos", np.full((2, 3, 6, 5), None), np.ma.masked_array(np.ones((2, 3, 6, 5)), mask=True)],
)
def test_it_learns_from_numbers_only(learnt: object) -> None:
    with pytest.raises(ImageError, match="images: expected"):
        Attribution(forward, PredictionDifference(k=2), softmax=True).fit(learnt)


def test_what_cannot_be_called_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="forward_func: expected a torch function or module, found str"):
        Attribution("model", Occlusion())


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda batch: (forward(batch), forward(batch)), "function to give probabilities"),
        (lambda batch: StubTensor(np.zeros(len(batch))), "at least two classes"),
        (lambda batch: StubTensor(np.full((len(batch), 4), np.nan)), "finite"),
        (
            lambda batch: StubTensor(np.full((len(batch), 4), 0.25 + 1j)),
            "an array of numbers, found StubTensor of complex",
        ),
        (lambda batch: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_functions_that_are_no_classifiers_are_refused(function: object, message: str) -> None:
    with pytest.raises(NetworkError, match=message) as error:
        Attribution(function, Occlusion(size=3)).attribute(IMAGES, 0)
    assert "\n" not in str(error.value)


def test_it_says_of_itself_what_captum_asks_for() -> None:
    attribution = Attribution(forward, Occlusion())
    assert attribution.forward_func is forward
    assert not attribution.has_convergence_delta()
    assert not attribution.multiplies_by_inputs


def test_torch_is_not_needed_before_there_are_tensors() -> None:
    program = "import sys; sys.modules['torch'] = None; import predict_diff.interoperability"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_without_torch_one_line_says_so(monkeypatch: pytest.MonkeyPatch, images: NDArray[np.float32]) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="torch: expected PyTorch, which is not installed; install it"):
        Attribution(forward, Occlusion()).attribute(StubTensor(images), 0)

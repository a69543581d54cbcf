"""A function in the clothes of a network: it computes what the network does, and what is wrong with it is said once."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from predict_diff.algorithm import prediction_difference
from predict_diff.errors import ConfigurationError, NetworkError
from predict_diff.network.choosing import choose_evaluator
from predict_diff.network.function import FunctionNetwork
from predict_diff.network.network import Network
from predict_diff.samplers import MarginalSampler
from predict_diff.targets import Target

Array = NDArray[np.float32]
IMAGE = np.random.default_rng(0).random((2, 5, 6)).astype(np.float32)
WEIGHTS = np.random.default_rng(1).normal(0, 0.3, (60, 4))


def softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def scores(images: Array) -> NDArray[np.float64]:
    return images.reshape(len(images), -1) @ WEIGHTS


def classify(images: Array) -> NDArray[np.float64]:
    return softmax(scores(images))


class TestWhatItComputes:
    def test_maps_are_those_of_the_network_that_the_function_calls(
        self, network: Network, x: Array, photos: Array
    ) -> None:
        function = FunctionNetwork(lambda batch: network.run(batch, "prob")["prob"], x)
        targets, sampler = [Target("prob", (1,)), Target("prob", (3,))], MarginalSampler(photos[1:], 4)
        maps = [
            prediction_difference(x, choose_evaluator(one, targets, 4, kind="minibatch"), sampler, stride=4).maps
            for one in (network, function)
        ]
        np.testing.assert_array_equal(*maps)

    def test_the_batch_size_changes_nothing_but_last_bits(self) -> None:
        network, pool = FunctionNetwork(classify, IMAGE), np.random.default_rng(2).random((9, 2, 5, 6))
        maps = [
            prediction_difference(
                IMAGE,
                choose_evaluator(network, [Target("prob", (1,))], 2, size),
                MarginalSampler(pool.astype(np.float32), 2),
                samples=3,
            ).maps
            for size in (1, 4, 50)
        ]
        np.testing.assert_allclose(maps[0], maps[1], rtol=0, atol=1e-5)
        np.testing.assert_allclose(maps[0], maps[2], rtol=0, atol=1e-5)

    def test_scores_get_a_softmax_and_can_be_explained_themselves(self) -> None:
        network = FunctionNetwork(scores, IMAGE, softmax=True)
        found = network.run(IMAGE, ["prob", "scores"])
        np.testing.assert_allclose(found["prob"], classify(IMAGE[None]), rtol=1e-6)
        np.testing.assert_allclose(found["scores"], scores(IMAGE[None]), rtol=1e-6)
        assert (network.penultimate("prob"), network.is_probability("scores")) == ("scores", False)
        values = choose_evaluator(network, [Target("scores", (3,)), Target("prob", (3,))], 2).values(IMAGE)
        np.testing.assert_allclose(values, [found["scores"][0, 3], found["prob"][0, 3]], rtol=0)

    def test_it_says_what_a_network_says(self) -> None:
        network = FunctionNetwork(classify, IMAGE)
        assert (network.name, network.input_shape, network.blobs) == ("classify", (2, 5, 6), {"prob": (4,)})
        assert network.is_probability("prob")
        assert network.penultimate("prob") == "prob"
        assert network.run(IMAGE, "prob")["prob"].dtype == np.float32
        assert network.run(IMAGE[None][:0], "prob")["prob"].shape == (0, 4)
        assert json.loads(json.dumps(network.describe()))["provider"] == "cpu"

    def test_another_function_has_another_fingerprint(self) -> None:
        one, same = (FunctionNetwork(classify, IMAGE).describe()["sha256"] for _ in range(2))
        other = FunctionNetwork(lambda images: classify(2 * images), IMAGE, name="classify").describe()["sha256"]
        assert one == same
        assert one != other

    @pytest.mark.parametrize("kind", [np.float16, np.float64])
    def test_probabilities_of_any_precision_are_taken(self, kind: type) -> None:
        network = FunctionNetwork(lambda images: classify(images).astype(kind), IMAGE)
        np.testing.assert_allclose(network.run(IMAGE, "prob")["prob"], classify(IMAGE[None]), rtol=1e-3)

    def test_a_function_that_changes_its_batch_changes_nothing_else(self) -> None:
        def careless(images: Array) -> NDArray[np.float64]:
            found = classify(images)
            images[:] = np.nan
            return found

        pool = np.random.default_rng(2).random((9, 2, 5, 6)).astype(np.float32)
        before = IMAGE.copy()
        maps = []
        for function in (classify, careless):
            evaluator = choose_evaluator(FunctionNetwork(function, IMAGE), [Target("prob", (0,))], 2)
            maps.append(prediction_difference(IMAGE, evaluator, MarginalSampler(pool, 2), samples=3).maps)
        np.testing.assert_array_equal(*maps)
        np.testing.assert_array_equal(IMAGE, before)


def fails(images: Array) -> Array:
    raise KeyError("no such\nlayer")


def late(
    first: Callable[[Array], NDArray[np.float64]], then: Callable[[Array], NDArray[np.float64]]
) -> FunctionNetwork:
    """A network whose function is another one from the third call on: those before are at its making."""
    calls = iter([first, first])
    return FunctionNetwork(lambda images: next(calls, then)(images), IMAGE)


BAD = {
    "logits": (scores, "add up to 1 for each image, found numbers from .*; if these are scores"),
    "NaN": (lambda images: classify(images) * np.nan, "finite, found NaN or infinity"),
    "one class": (lambda images: classify(images)[:, 0], "at least two classes, found one number for each"),
    "one column": (lambda images: classify(images)[:, :1], "at least two classes"),
    "no batch": (lambda images: classify(images)[0], r"shape \(images, classes\), here \(1, classes\), found shape"),
    "too many axes": (lambda images: classify(images)[..., None], r"found shape \(1, 4, 1\)"),
    "no classes": (lambda images: classify(images)[:, :0], r"found shape \(1, 0\)"),
    "half the batch": (
        lambda images: classify(images)[: (len(images) + 1) // 2],
        r"here \(2, 4\), found shape \(1, 4\)",
    ),
    "nothing": (lambda images: None, "found NoneType of object"),
    "texts": (lambda images: [["a", "b"]] * len(images), "an array of numbers, found list"),
    "unequal lists": (lambda images: [[1.0], [0.5, 0.5]], "found list, of which NumPy can make none"),
    "labels": (lambda images: classify(images).argmax(axis=1), "one number for each image"),
    "masked": (lambda images: np.ma.masked_array(classify(images), mask=True), "found MaskedArray"),
    "failure": (fails, "the function failed for images of shape .*: KeyError: 'no such"),
    "batch statistics": (lambda images: softmax(scores(images - images.mean())), "evaluation mode"),
    "chance": (lambda images: softmax(np.random.default_rng().normal(size=(len(images), 4))), "evaluation mode"),
}


class TestWhatIsRefused:
    @pytest.mark.parametrize("kind", BAD)
    def test_a_function_that_gives_no_probabilities(self, kind: str) -> None:
        function, problem = BAD[kind]
        with pytest.raises(NetworkError, match=problem) as caught:
            FunctionNetwork(function, IMAGE)
        assert "\n" not in str(caught.value)

    def test_other_classes_for_another_batch(self) -> None:
        network = late(classify, lambda images: classify(images)[:, :3])
        with pytest.raises(NetworkError, match="of 4 classes, as for the first batch, found 3 for another"):
            network.run(IMAGE, "prob")

    def test_nan_in_the_middle_of_a_map(self) -> None:
        network = late(classify, lambda images: classify(images) * np.nan)
        with pytest.raises(NetworkError, match="found NaN"):
            choose_evaluator(network, [Target("prob", (0,))], 2).values(IMAGE)

    def test_images_names_and_gradients_that_do_not_exist(self) -> None:
        network = FunctionNetwork(classify, IMAGE)
        with pytest.raises(NetworkError, match=re.escape("expected images of shape (2, 5, 6), found (2, 6, 5)")):
            network.run(IMAGE.transpose(0, 2, 1), "prob")
        with pytest.raises(NetworkError, match=r"expected the blob prob, found 'probs' \(did you mean 'prob'\?\)"):
            network.run(IMAGE, "probs")
        with pytest.raises(NetworkError, match="has no gradient; export the classifier to ONNX"):
            network.gradient(IMAGE, "prob", 0)
        with pytest.raises(NetworkError, match="a grey image is"):
            FunctionNetwork(classify, IMAGE[0])
        for example, problem in (
            ("cat.jpg", "a text"),
            ([[1], [1, 2]], "NumPy makes none"),
            (IMAGE * np.nan, "found NaN"),
        ):
            with pytest.raises(NetworkError, match=f"classify: example: expected.*{problem}"):
                FunctionNetwork(classify, example)  # type: ignore[arg-type]
        for images in (IMAGE + 1j, IMAGE.astype(str), [[1], [1, 2]]):
            with pytest.raises(NetworkError, match="images"):
                network.run(images, "prob")  # type: ignore[arg-type]

    def test_a_module_of_torchs_is_told_what_takes_it(self) -> None:
        Module = type("Linear", (), {"__module__": "torch.nn.modules.linear", "__call__": fails})  # as torch's own
        with pytest.raises(NetworkError, match=r"Linear: the function failed.*interoperability\.TorchNetwork"):
            FunctionNetwork(Module(), IMAGE)

    def test_probabilities_where_scores_are_expected(self) -> None:
        with pytest.raises(NetworkError, match="found probabilities, which add up to 1; leave softmax out"):
            FunctionNetwork(classify, IMAGE, softmax=True)

    def test_incremental_evaluation(self) -> None:
        network = FunctionNetwork(classify, IMAGE)
        with pytest.raises(NetworkError, match="evaluated whole; choose the evaluator minibatch"):
            choose_evaluator(network, [Target("prob", (0,))], 2, kind="incremental")

    def test_units_that_it_does_not_have(self) -> None:
        with pytest.raises(ConfigurationError, match="has no unit"):
            choose_evaluator(FunctionNetwork(classify, IMAGE), [Target("prob", (4,))], 2)

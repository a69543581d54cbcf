"""Half precision: what is converted, what stays in float32, and what a lower precision costs."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from gradient_cases import network as written
from gradient_cases import normal
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from random_networks import random_network

from predict_diff.algorithm import measures_of, prediction_difference
from predict_diff.errors import NetworkError
from predict_diff.network.graphs import blob_shapes
from predict_diff.network.half_precision import half_precision
from predict_diff.network.incremental import IncrementalEvaluator
from predict_diff.network.inference import infer_types
from predict_diff.network.minibatch import MiniBatchEvaluator
from predict_diff.network.network import Network
from predict_diff.network.target_values import with_targets
from predict_diff.precision import PrecisionError, precision_error
from predict_diff.samplers import MarginalSampler
from predict_diff.targets import Target

TARGETS = [Target("prob", (1,)), Target("conv", (2,)), Target("prob", (3,))]
#: Half precision has 11 bits of mantissa, so that rounding changes a number by so much of it at most.
ROUNDING = 2.0**-11


@pytest.fixture(scope="module")
def half_network(network: Network) -> Network:
    return Network(network.load(), provider="cpu", threads=1, precision="fp16")


def types_of(model: onnx.ModelProto) -> dict[str, int | None]:
    return {name: known.type for name, known in infer_types(model).items()}


def operators_in(model: onnx.ModelProto, type: int) -> set[str]:
    """The operators, casts left out, that give values of a type."""
    types = types_of(model)
    return {node.op_type for node in model.graph.node if node.op_type != "Cast" and types[node.output[0]] == type}


def half(array: NDArray[Any]) -> NDArray[np.float64]:
    """Rounded to half precision."""
    return array.astype(np.float16).astype(np.float64)


def numpy_half_forward(model: onnx.ModelProto, x: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
    """The small classifier, each layer rounded to half precision, the softmax not."""
    tensors = {tensor.name: half(numpy_helper.to_array(tensor)) for tensor in model.graph.initializer}
    padded = np.pad(half(x), ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    before = half(np.einsum("crsij,ocij->ors", windows, tensors["w1"]) + tensors["b1"][:, None, None])
    conv = np.maximum(before, 0)
    pool = conv.reshape(5, 7, 2, 7, 2).max(axis=(2, 4))
    fc = half(tensors["w2"] @ pool.ravel() + tensors["b2"])
    exponentials = np.exp(fc - fc.max())
    return {"conv": conv, "pool": pool, "fc": fc, "prob": exponentials / exponentials.sum()}


def test_weights_and_activations_become_half_and_what_goes_in_and_out_does_not(network: Network) -> None:
    original = network.load()
    before = original.SerializeToString()
    model = half_precision(original)
    onnx.checker.check_model(model, full_check=True)
    assert {tensor.data_type for tensor in model.graph.initializer} == {TensorProto.FLOAT16}
    for info in (*model.graph.input, *model.graph.output):
        assert info.type.tensor_type.elem_type == TensorProto.FLOAT
    assert operators_in(model, TensorProto.FLOAT16) == {"Conv", "Relu", "MaxPool", "Flatten", "Gemm"}
    assert operators_in(model, TensorProto.FLOAT) == {"Softmax"}
    assert original.SerializeToString() == before


def test_arithmetic_is_that_of_half_precision(network: Network, x: NDArray[np.float32]) -> None:
    model = network.load()
    expected = numpy_half_forward(model, x)
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in expected]
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    del shown.graph.output[:]
    shown.graph.output.extend(infos)
    # ONNX's reference implementation calculates in the type that it is given; it may sum in another order.
    found = dict(zip(expected, ReferenceEvaluator(half_precision(shown)).run(None, {"data": x[None]}), strict=True))
    for name, value in expected.items():
        assert found[name].dtype == np.float32
        np.testing.assert_allclose(found[name][0], value, rtol=0, atol=20 * ROUNDING * np.abs(value).max())
    for name in ("conv", "pool", "fc"):
        np.testing.assert_array_equal(found[name], half(found[name]), err_msg=name)
    assert (found["prob"] != half(found["prob"])).any()


def test_what_the_runtime_computes_is_near_full_precision(
    network: Network, half_network: Network, photos: NDArray[np.float32]
) -> None:
    blobs = ["conv", "pool", "fc", "prob"]
    full, found = network.run(photos, blobs), half_network.run(photos, blobs)
    for name in blobs:
        assert found[name].dtype == np.float32
        np.testing.assert_allclose(found[name], full[name], rtol=0, atol=4 * ROUNDING * np.abs(full[name]).max())
    assert (found["fc"] != full["fc"]).any()


@pytest.mark.parametrize("seed", range(20))
def test_random_networks_are_near_full_precision(seed: int) -> None:
    model = random_network(seed)
    x = normal(3, 4, 7, 8, seed=seed)
    full, found = (
        Network(model, "cpu", threads=1, precision=precision).run(x, "y")["y"] for precision in ("full", "fp16")
    )
    # Ten layers or so, each of which rounds its weights and its output.
    np.testing.assert_allclose(found, full, rtol=0, atol=20 * ROUNDING * np.abs(full).max())
    exact = ReferenceEvaluator(half_precision(model)).run(None, {"x": x})[0]
    np.testing.assert_allclose(exact, full, rtol=0, atol=20 * ROUNDING * np.abs(full).max())


def test_normalisation_does_not_square_in_half_precision() -> None:
    model = written("a = Relu(x)\nb = LRN<size=5, alpha=0.0001, beta=0.75>(a)\ny = Relu(b)", "float[N,6,3,3] x")
    x = np.abs(normal(2, 6, 3, 3)) * 500
    assert "LRN" in operators_in(half_precision(model), TensorProto.FLOAT)
    full, found = (ReferenceEvaluator(one).run(None, {"x": x})[0] for one in (model, half_precision(model)))
    assert np.square(x).max() > np.finfo(np.float16).max
    np.testing.assert_allclose(found, full, rtol=4 * ROUNDING)


def test_means_and_choices_of_targets_are_taken_in_full_precision(network: Network) -> None:
    model = half_precision(with_targets(network.load(), TARGETS, network.blobs))
    assert {"Softmax", "ReduceMean", "Gather", "Concat"} <= operators_in(model, TensorProto.FLOAT)
    assert operators_in(model, TensorProto.FLOAT16) == {"Conv", "Relu", "MaxPool", "Flatten", "Gemm"}


def test_integers_stay_as_they_are() -> None:
    model = written(
        "picked = Gather<axis=1>(x, places)\nlarger = Mul(picked, factor)\nshape = Shape(larger)\n"
        "zeros = ConstantOfShape(shape)\nsum = Add(larger, zeros)\nwhole = Cast<to=7>(sum)\n"
        "back = Cast<to=1>(whole)\nhalved = Mul(back, share)\nlast = Reshape(halved, sizes)\ny = Relu(last)",
        "float[N,6] x, int64[M] places, int64[2] sizes",
        weights={"factor": np.float32([2.0]), "share": np.float32([0.5])},
    )
    converted = half_precision(model)
    types = types_of(converted)
    assert [types[name] for name in ("places", "sizes", "shape", "whole")] == [TensorProto.INT64] * 4
    assert types["zeros"] == types["back"] == types["halved"] == TensorProto.FLOAT16
    x, places, sizes = np.float32([[1, 2, 3, 4, 5, 6]]), np.array([5, 0, 2]), np.array([3, 1])
    found = ReferenceEvaluator(converted).run(None, {"x": x, "places": places, "sizes": sizes})[0]
    np.testing.assert_array_equal(found, np.float32([[6], [1], [3]]))


@pytest.mark.parametrize("constant", ["<value = float[1] {0.1}>", "<value_float = 0.1>", "<value_floats = [0.1]>"])
def test_constants_become_half_too(constant: str) -> None:
    model = half_precision(written(f"c = Constant{constant}()\na = Mul(x, c)\ny = Relu(a)"))
    assert types_of(model)["c"] == TensorProto.FLOAT16
    found = ReferenceEvaluator(model).run(None, {"x": np.ones((1, 3, 4), np.float32)})[0]
    np.testing.assert_array_equal(found, np.full((1, 3, 4), half(np.array(0.1)), np.float32))


def test_an_output_that_others_read_is_given_in_both_precisions() -> None:
    model = written("a = Sigmoid(x)\ny = Tanh(a)", outputs="float[N,3,4] a, float[N,3,4] y")
    x = normal(2, 3, 4)
    found = ReferenceEvaluator(half_precision(model)).run(None, {"x": x})
    expected = [1 / (1 + np.exp(-x)), np.tanh(1 / (1 + np.exp(-x)))]
    for value, other in zip(found, expected, strict=True):
        assert value.dtype == np.float32
        np.testing.assert_allclose(value, other, rtol=4 * ROUNDING)


def test_the_input_itself_can_be_an_output(half_network: Network, x: NDArray[np.float32]) -> None:
    np.testing.assert_array_equal(half_network.run(x, "data")["data"][0], x)


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        (written("y = Mul(x, w)", weights={"w": np.float32([1e6])}), r"weight 'w': .* up to 65504, found 1e\+06"),
        (written("c = Constant<value_float = -70000.0>()\ny = Mul(x, c)"), "constant 'c': .* found -70000"),
    ],
)
def test_weights_beyond_the_range_are_refused(model: onnx.ModelProto, problem: str) -> None:
    with pytest.raises(NetworkError, match=problem + "; use precision full or tf32"):
        half_precision(model)


def test_infinite_padding_stays_infinite() -> None:
    model = half_precision(written("y = Max(x, w)", weights={"w": np.float32([-np.inf])}))
    assert numpy_helper.to_array(model.graph.initializer[0]) == -np.inf


def test_branches_and_unknown_operators_are_refused() -> None:
    branches = "then_branch = t () => (float[1] p) { p = Relu(x) }, else_branch = e () => (float[1] q) { q = Abs(x) }"
    branch = f"y = If(c) <{branches}>"
    with pytest.raises(NetworkError, match="without loops, branches and functions"):
        half_precision(written(branch, "float[1] x, bool c"))
    model = written("a = Relu(x)\ny = Relu(a)")
    model.graph.node[0].domain = "of.others"
    model.opset_import.append(helper.make_opsetid("of.others", 1))
    with pytest.raises(NetworkError, match="values of known type, found 'a'"):
        half_precision(model)


def test_gradients_are_those_of_full_precision(network: Network, half_network: Network, x: NDArray[np.float32]) -> None:
    np.testing.assert_array_equal(half_network.gradient(x, "fc", 1), network.gradient(x, "fc", 1))


def test_blobs_and_targets_are_found_by_the_same_names(network: Network, half_network: Network) -> None:
    assert half_network.blobs == network.blobs == blob_shapes(network.load())
    assert measures_of(half_network, TARGETS) == ("WE", "AD", "WE")


@pytest.mark.parametrize("kind", [MiniBatchEvaluator, IncrementalEvaluator])
def test_evaluators_work_in_half_precision(
    kind: type, network: Network, half_network: Network, photos: NDArray[np.float32]
) -> None:
    windows = np.array([[0, 0], [11, 11], [4, 7], [0, 6]])
    patches = np.stack([photos[1:4, :, :3, :3], *(photos[s : s + 3, :, :3, :3] for s in (4, 7, 10))])
    extra = (3,) if kind is IncrementalEvaluator else ()
    reference = MiniBatchEvaluator(network, TARGETS)
    error = precision_error(
        reference, kind(half_network, TARGETS, *extra), ("WE", "AD", "WE"), photos[0], windows, patches
    )
    assert 0 < (error.probability or 0) < 2e-3
    assert 0 < (error.bits or 0) < 1e-2
    assert 0 < (error.activation or 0) < 1e-2
    assert (error.windows, error.samples) == (4, 3)


def test_a_map_says_in_which_precision_it_was_computed(half_network: Network, photos: NDArray[np.float32]) -> None:
    sampler = MarginalSampler(photos[1:], 3)
    evaluator = MiniBatchEvaluator(half_network, TARGETS[:1])
    found = prediction_difference(photos[0], evaluator, sampler, samples=2, stride=3)
    assert found.provenance["network"]["precision"] == "fp16"
    assert "tf32" not in found.provenance["network"]


class Given:
    """An evaluator of two targets, a probability of four classes and an activation, with results that are given."""

    def __init__(self, known: list[float], predictions: NDArray[np.float32]) -> None:
        self.network = SimpleNamespace(name="net", precision="fp16", classes=lambda blob: 4)
        self.targets = (Target("prob", (1,)), Target("conv", (2,)))
        self._known, self._predictions = np.array(known), predictions

    def values(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        return self._known

    def evaluate(self, *_: Any) -> NDArray[np.float32]:
        return self._predictions


def test_the_error_is_the_largest_difference_in_probability_and_in_bits() -> None:
    exact = np.array([[[0.5, 3], [0.25, 1]], [[0.5, 2], [0.5, 2]]], np.float32)
    other = exact.copy()
    other[0, 1] = 0.75, 1.5
    evaluators: Any = Given([0.5, 2.0], exact), Given([0.5, 2.125], other)
    x, windows, patches = np.zeros((3, 14, 14)), np.zeros((2, 2), np.int64), np.zeros((2, 2, 3, 1, 1))
    found = precision_error(*evaluators, ("WE", "AD"), x, windows, patches, instances=10**12)
    assert found.probability == 0.5
    # The means are 3/8 and 5/8, whose odds are 3/5 and 5/3.
    assert found.bits == pytest.approx(2 * np.log2(5 / 3), rel=1e-9)
    # Known 2.125 instead of 2 speaks for the unit, a mean of 2.25 instead of 2 against it.
    assert found.activation == pytest.approx(0.125)
    assert json.loads(json.dumps(found.describe())) == dataclasses.asdict(found)


def test_what_was_not_measured_is_none(network: Network, x: NDArray[np.float32]) -> None:
    windows, patches = np.array([[0, 0]]), np.zeros((1, 2, 3, 3, 3), np.float32)
    evaluator = MiniBatchEvaluator(network, TARGETS[1:2])
    assert precision_error(evaluator, evaluator, ("AD",), x, windows, patches) == PrecisionError(None, None, 0, 1, 2)
    evaluator = MiniBatchEvaluator(network, TARGETS[:1])
    assert precision_error(evaluator, evaluator, ("WE",), x, windows, patches) == PrecisionError(0, 0, None, 1, 2)


def test_overflow_is_an_error() -> None:
    exact = np.ones((1, 1, 2), np.float32) / 2
    evaluators: Any = Given([0.5, 1.0], exact), Given([0.5, np.inf], exact)
    with pytest.raises(NetworkError, match="net: precision fp16: expected finite predictions, found NaN or infinity"):
        precision_error(*evaluators, ("WE", "AD"), *(np.zeros((1, 1, 3, 1, 1)),) * 3)

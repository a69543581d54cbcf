"""Which operators are evaluated on squares, and whether what they claim can change is all that does."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from local_networks import local_network, model_of
from numpy.typing import NDArray
from onnx import helper

from predict_diff.network.graphs import blob_shapes
from predict_diff.network.locality import changed_squares, local_steps
from predict_diff.network.network import Network

SHAPE = (4, 8, 9)


def normal(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).uniform(0.5, 1.5, shape).astype(np.float32)


def local_kinds(model: onnx.ModelProto) -> list[str]:
    return [step.node.op_type for step in local_steps(model, blob_shapes(model), "data")]


def is_local(
    operator: str,
    *constants: NDArray[Any],
    inputs: str = "x",
    shape: tuple[int, int, int] = SHAPE,
    outputs: int = 1,
    opset: int = 22,
    **attributes: Any,
) -> bool:
    """Whether an operator is, of the photo and what a ReLU makes of it, x; `inputs` of "." are the constants in order.

    Each case is also run, so that it is one that exists.
    """
    weights = {f"c{number}": constant for number, constant in enumerate(constants)}
    names, left = [], list(weights)
    for letter in inputs + "." * (len(constants) - inputs.count(".")):
        names.append(left.pop(0) if letter == "." else {"x": "x", "d": "data", "g": "gate"}[letter])
    results = ["y", *(f"y{number}" for number in range(1, outputs))]
    nodes = [helper.make_node("Relu", ["data"], ["x"])]
    if "g" in inputs:
        nodes.append(helper.make_node("GlobalAveragePool", ["x"], ["gate"]))
    model = model_of([*nodes, helper.make_node(operator, names, results, **attributes)], shape, weights, opset)
    Network(model, "cpu", threads=1).run(np.ones(shape, np.float32), "y")
    return operator in local_kinds(model)


def test_operators_that_treat_each_position_for_itself_are_local() -> None:
    for operator in (
        "Relu",
        "Sigmoid",
        "Tanh",
        "Elu",
        "LeakyRelu",
        "Abs",
        "Exp",
        "Neg",
        "Sqrt",
        "Softplus",
        "Identity",
    ):
        assert is_local(operator)
    assert is_local("Swish", opset=24)
    assert is_local("LRN", size=3)
    assert is_local("Clip", np.float32(0), np.float32(6))
    assert is_local("BatchNormalization", *(normal(4) for _ in range(4)))
    assert is_local("PRelu", normal(4, 1, 1))


def test_operators_with_a_kernel_are_local() -> None:
    assert is_local("Conv", normal(6, 4, 3, 2), normal(6), strides=[2, 1], pads=[1, 0, 2, 3], dilations=[1, 2])
    assert is_local("Conv", normal(8, 1, 3, 3), group=4, auto_pad="SAME_LOWER")
    assert is_local("MaxPool", kernel_shape=[3, 2], strides=[2, 2], ceil_mode=1)
    assert is_local("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)


@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean"])
def test_values_of_equal_planes_are_joined_locally(operator: str) -> None:
    assert is_local(operator, inputs="xd")
    assert is_local(operator, inputs="xx")


@pytest.mark.parametrize("shape", [(), (1,), (4, 1, 1), (1, 4, 1, 1), (1, 1, 1, 1)])
@pytest.mark.parametrize("inputs", ["x.", ".x"])
def test_constants_that_are_the_same_everywhere_are_local(shape: tuple[int, ...], inputs: str) -> None:
    assert is_local("Mul", normal(*shape), inputs=inputs)


@pytest.mark.parametrize("shape", [(9,), (8, 1), (8, 9), (4, 8, 9), (1, 4, 1, 9), (4, 8, 1)])
@pytest.mark.parametrize("operator", ["Add", "Mul", "PRelu", "Max", "Pow"])
def test_constants_that_vary_over_the_plane_are_not(operator: str, shape: tuple[int, ...]) -> None:
    assert not is_local(operator, normal(*shape), inputs="x.")


def test_a_vector_that_is_as_long_as_there_are_channels_still_lies_along_the_columns() -> None:
    assert not is_local("Mul", normal(9), shape=(9, 9, 9))
    assert is_local("Mul", normal(9, 1, 1), shape=(9, 9, 9))


def test_a_gate_that_sees_the_whole_plane_is_not_local() -> None:
    assert not is_local("Mul", inputs="xg")
    assert not is_local("Mul", inputs="gx")


def test_only_channels_may_be_joined_divided_or_compared() -> None:
    assert is_local("Concat", inputs="xd", axis=1)
    assert is_local("Concat", inputs="xx", axis=-3)
    assert not is_local("Concat", inputs="xd", axis=2)
    assert not is_local("Concat", inputs="xd", axis=-1)
    for operator in ("Softmax", "LogSoftmax"):
        assert is_local(operator, axis=1)
        assert is_local(operator, axis=-3)
        assert not is_local(operator, axis=-1)
        assert not is_local(operator)
        assert not is_local(operator, axis=1, opset=12)  # over all that is not the batch
    halves = np.array([2, 2])
    assert is_local("Split", halves, outputs=2, axis=1)
    assert not is_local("Split", np.array([4, 4]), outputs=2, axis=2)


def test_a_constant_is_not_joined_with_channels() -> None:
    nodes = [helper.make_node("Concat", ["data", "c"], ["y"], axis=1)]
    assert local_kinds(model_of(nodes, SHAPE, {"c": normal(1, 4, 8, 9)})) == []


def test_padding_is_local_if_it_is_constant_and_around_rows_and_columns() -> None:
    plane = np.array([0, 0, 1, 2, 0, 0, 0, 3])
    assert is_local("Pad", plane)
    assert is_local("Pad", plane, np.float32(0.5))
    assert is_local("Pad", np.array([0, 0, -1, 2, 0, 0, 0, -3]))
    for mode in ("reflect", "edge", "wrap"):
        assert not is_local("Pad", plane, mode=mode)
    assert not is_local("Pad", np.array([0, 1, 1, 2, 0, 0, 0, 3]))
    assert not is_local("Pad", np.array([0, 1, 1, 2, 0, -1, 0, 3]))


def test_operators_that_mix_or_move_positions_are_not_local() -> None:
    assert not is_local("GlobalAveragePool")
    assert not is_local("LpPool", kernel_shape=[2, 2])
    assert not is_local("InstanceNormalization", normal(4), normal(4))
    assert not is_local("Transpose", perm=[0, 1, 3, 2])
    assert not is_local("ReduceMean", np.array([2, 3]))
    assert not is_local("Slice", np.array([2]), np.array([6]), np.array([2]))
    assert not is_local("MaxPool", outputs=2, kernel_shape=[2, 2])
    assert not is_local("ConvTranspose", normal(4, 2, 2, 2))


def test_operators_of_others_are_not_local() -> None:
    model = model_of([helper.make_node("Relu", ["data"], ["y"], domain="of.others")], SHAPE)
    step = model.graph.node[0]
    assert local_steps(model, {"data": SHAPE, "y": SHAPE}, "data") == []
    step.domain = "ai.onnx"
    assert len(local_steps(model, {"data": SHAPE, "y": SHAPE}, "data")) == 1


def test_behind_what_is_not_local_nothing_is() -> None:
    nodes = [
        helper.make_node("Conv", ["data", "w"], ["conv"]),
        helper.make_node("GlobalAveragePool", ["conv"], ["mean"]),
        helper.make_node("Mul", ["conv", "mean"], ["gated"]),
        helper.make_node("Relu", ["gated"], ["relu"]),
        helper.make_node("Abs", ["conv"], ["abs"]),
        helper.make_node("Add", ["abs", "relu"], ["sum"]),
    ]
    assert local_kinds(model_of(nodes, SHAPE, {"w": normal(2, 4, 3, 3)})) == ["Conv", "Abs"]


def test_weights_that_the_network_computes_are_not_local() -> None:
    nodes = [helper.make_node("Relu", ["w"], ["weights"]), helper.make_node("Conv", ["data", "weights"], ["conv"])]
    assert local_kinds(model_of(nodes, SHAPE, {"w": normal(2, 4, 3, 3)})) == []
    # Each photo a kernel, (N, 4, 3, 3), for the same image.
    model = model_of([helper.make_node("Conv", ["c", "data"], ["y"])], (4, 3, 3), {"c": normal(1, 4, 8, 9)})
    assert local_steps(model, {"data": (4, 3, 3), "y": (4, 6, 7)}, "data") == []


def test_vectors_have_no_squares() -> None:
    model = model_of([helper.make_node("Relu", ["data"], ["y"])], SHAPE)
    assert local_steps(model, {"data": (9,), "y": (9,)}, "data") == []
    assert local_steps(model, {}, "data") == []


@pytest.mark.parametrize(
    ("auto_pad", "before", "after"),
    # Of 3 numbers that are missing along the rows, and 1 along the columns, the odd one is where the name says.
    [("SAME_UPPER", (1, 0), (2, 1)), ("SAME_LOWER", (2, 1), (1, 0)), ("VALID", (0, 0), (0, 0))],
)
def test_padding_that_follows_from_the_sizes(auto_pad: str, before: tuple[int, ...], after: tuple[int, ...]) -> None:
    nodes = [helper.make_node("Conv", ["data", "w"], ["y"], auto_pad=auto_pad, strides=[1, 2])]
    model = model_of(nodes, (1, 8, 8), {"w": normal(1, 1, 4, 3)})
    (step,) = local_steps(model, blob_shapes(model), "data")
    assert step.readings is not None
    assert tuple(reading.before for reading in step.readings) == before
    assert tuple(reading.after for reading in step.readings) == after


@pytest.mark.parametrize("seed", range(40))
def test_nothing_changes_outside_of_the_claimed_squares(seed: int) -> None:
    """Bit for bit: photos of equal shape go through the same kernels."""
    model = local_network(seed)
    network, shapes = Network(model, "cpu", threads=1), blob_shapes(model)
    steps = local_steps(model, shapes, "data")
    blobs = [name for step in steps for name in step.outputs]
    if not blobs:
        return
    rng = np.random.default_rng(seed)
    k = int(rng.integers(1, 5))
    squares = changed_squares(steps, shapes, "data", k)
    rows, columns = (size - k for size in network.input_shape[1:])
    places = [(0, 0), (0, columns), (rows, 0), (rows, columns)]
    places += [(int(rng.integers(rows + 1)), int(rng.integers(columns + 1))) for _ in range(4)]
    x = rng.standard_normal(network.input_shape).astype(np.float32)
    photos = np.repeat(x[None], len(places) + 1, axis=0)
    for photo, (row, column) in zip(photos[1:], places, strict=True):
        photo[:, row : row + k, column : column + k] = rng.normal(0, 3, (len(x), k, k))
    for blob, values in network.run(photos, blobs).items():
        for value, (row, column) in zip(values[1:], places, strict=True):
            outside = np.ones(value.shape[1:], bool)
            along, across = squares[blob]
            outside[along.starts[row] : along.stops[row], across.starts[column] : across.stops[column]] = False
            np.testing.assert_array_equal(value[:, outside], values[0][:, outside], err_msg=blob)


def test_squares_of_dense_layers_are_no_larger_than_what_changes() -> None:
    nodes = [
        helper.make_node("Conv", ["data", "w"], ["conv"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("AveragePool", ["conv"], ["pool"], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
        helper.make_node("Conv", ["pool", "v"], ["last"], pads=[0, 1, 2, 1]),
    ]
    model = model_of(nodes, (3, 21, 26), {"w": normal(2, 3, 3, 3), "v": normal(2, 2, 3, 3)})
    network, shapes = Network(model, "cpu", threads=1), blob_shapes(model)
    squares = changed_squares(local_steps(model, shapes, "data"), shapes, "data", 4)
    places = [(row, column) for row in range(18) for column in range(23)]
    photos = np.zeros((len(places) + 1, 3, 21, 26), np.float32)
    for photo, (row, column) in zip(photos[1:], places, strict=True):
        photo[:, row : row + 4, column : column + 4] = 1
    for blob, values in network.run(photos, ["conv", "pool", "last"]).items():
        changed = (values[1:] != values[0]).any(axis=1)
        for place, (row, column) in enumerate(places):
            along, across = squares[blob]
            expected = np.zeros(changed.shape[1:], bool)
            expected[along.starts[row] : along.stops[row], across.starts[column] : across.stops[column]] = True
            np.testing.assert_array_equal(changed[place], expected)

"""The tile graph's parts: factors of averages at the border, inputs, the graph behind it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from local_networks import local_network, model_of
from numpy.typing import NDArray
from onnx import helper

from predict_diff.network.frontier import frontier_blobs
from predict_diff.network.graphs import blob_shapes
from predict_diff.network.locality import Square, Step, changed_squares, local_steps
from predict_diff.network.network import Network
from predict_diff.network.spans import Span
from predict_diff.network.tiles import TileGraph, channels_last, rest_graph, tile_graph

Array = NDArray[np.float32]


def run(model: onnx.ModelProto, feeds: dict[str, NDArray[Any]]) -> list[Array]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, feeds))


def pool_of(height: int, width: int, **attributes: Any) -> tuple[onnx.ModelProto, Step]:
    model = model_of([helper.make_node("AveragePool", ["data"], ["y"], **attributes)], (2, height, width))
    (step,) = local_steps(model, blob_shapes(model), "data")
    return model, step


POOLS = [
    {"pads": pads, "strides": strides, "ceil_mode": ceil_mode, "kernel_shape": kernel, "count_include_pad": counted}
    for pads in ([0, 0, 0, 0], [1, 1, 1, 1], [2, 0, 1, 2])
    for strides in ([1, 1], [2, 3])
    for kernel in ([3, 3], [4, 3])
    for ceil_mode in (0, 1)
    for counted in (0, 1)
]


@pytest.mark.parametrize("attributes", POOLS, ids=str)
def test_averages_over_less_are_those_over_all_times_their_shares(attributes: dict[str, Any]) -> None:
    model, step = pool_of(9, 10, **attributes)
    x = np.random.default_rng(0).standard_normal((1, 2, 9, 10)).astype(np.float32)
    (expected,) = run(model, {"data": x})
    # Padded so far that every kernel is full, in place of the operator's own padding.
    top, left, *_ = attributes["pads"]
    padded = np.pad(x, ((0, 0), (0, 0), (top, 6), (left, 6)))
    tile = model_of([step.on_squares()], padded.shape[1:])
    (full,) = run(tile, {"data": padded})
    full = full[:, :, : expected.shape[2], : expected.shape[3]]
    shares = step.shares()
    if shares is not None:
        full = full * shares[0][:, None] * shares[1]
    np.testing.assert_allclose(full, expected, rtol=0, atol=1e-6)
    if not attributes["ceil_mode"] and (attributes["count_include_pad"] or not any(attributes["pads"])):
        assert shares is None


def test_other_operators_have_no_shares() -> None:
    model = model_of([helper.make_node("MaxPool", ["data"], ["y"], kernel_shape=[3, 3], pads=[1, 1, 1, 1])], (2, 9, 9))
    (step,) = local_steps(model, blob_shapes(model), "data")
    assert step.shares() is None


def tiles_of(seed: int, k: int) -> tuple[Network, TileGraph, list[str]]:
    """With every local operator on squares, and one shape for all windows."""
    model = local_network(seed)
    shapes = blob_shapes(model)
    steps = local_steps(model, shapes, "data")
    squares = changed_squares(steps, shapes, "data", k)
    one: dict[str, Square] = {}
    for blob, square in squares.items():
        rows, columns = (
            span.widened(np.zeros(len(span.starts), np.int64), size)
            for span, size in zip(square, shapes[blob][1:], strict=True)
        )
        one[blob] = rows, columns
    blobs = frontier_blobs(model, steps, "data")
    return Network(model, "cpu", threads=1), tile_graph(model, steps, one, blobs, shapes, "data"), blobs


@pytest.mark.parametrize("seed", range(12))
def test_a_tile_graph_makes_whole_blobs_and_the_rest_goes_on_from_them(seed: int) -> None:
    network, tiles, blobs = tiles_of(seed, 3)
    onnx.checker.check_model(tiles.model, full_check=True)
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(network.input_shape).astype(np.float32)
    rows, columns = (rng.integers(0, size - 2, 4) for size in x.shape[1:])
    patches = rng.standard_normal((8, len(x), 3, 3)).astype(np.float32)
    photos = np.repeat(x[None], 8, axis=0)
    for photo, row, column, patch in zip(photos, rows.repeat(2), columns.repeat(2), patches, strict=True):
        photo[:, row : row + 3, column : column + 3] = patch
    known = {"data": x} | {name: value[0] for name, value in network.run(x, list(network.blobs)).items()}
    found = run(tiles.model, {"data": patches, **tiles.memory(known), **tiles.feeds(rows, columns, 2)})
    assert list(tiles.outputs) == blobs
    expected = {"data": photos} | network.run(photos, [*network.blobs])
    for blob, values in zip(blobs, found, strict=True):
        limit = 1e-6 * np.abs(expected[blob]).max()
        np.testing.assert_allclose(np.moveaxis(values, -1, 1), expected[blob], rtol=0, atol=limit)
    model = network.load()
    rest = rest_graph(model, blobs, blob_shapes(model))
    assert [info.name for info in rest.graph.input] == [channels_last(blob) for blob in blobs]
    (prob,) = run(rest, {channels_last(blob): values for blob, values in zip(blobs, found, strict=True)})
    np.testing.assert_allclose(prob, expected["prob"], rtol=0, atol=1e-6)


def test_weights_that_a_file_lists_among_its_inputs_are_constants_behind_the_squares() -> None:
    model = model_of(
        [
            helper.make_node("Conv", ["data", "w"], ["a"]),
            helper.make_node("Relu", ["a"], ["b"]),
            helper.make_node("Gather", ["b", "chosen"], ["y"], axis=1),
        ],
        (2, 6, 6),
        {"w": np.ones((3, 2, 3, 3), np.float32)},
    )
    model.graph.input.append(helper.make_tensor_value_info("w", onnx.TensorProto.FLOAT, [3, 2, 3, 3]))
    model.graph.input.append(helper.make_tensor_value_info("chosen", onnx.TensorProto.INT64, [1]))
    rest = rest_graph(model, ["data"], blob_shapes(model))
    assert [info.name for info in rest.graph.input] == ["chosen", channels_last("data")]


def test_feeds_and_memory_are_what_the_graph_takes() -> None:
    network, tiles, _ = tiles_of(0, 3)
    x = np.zeros(network.input_shape, np.float32)
    known = {"data": x} | {name: value[0] for name, value in network.run(x, list(network.blobs)).items()}
    given = {"data", *tiles.memory(known), *tiles.feeds(np.array([0, 1]), np.array([2, 0]), 3)}
    assert given == {info.name for info in tiles.model.graph.input}


def test_equal_regions_are_cut_once() -> None:
    nodes = [
        helper.make_node("Conv", ["data", "w"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["data", "w"], ["b"], pads=[1, 1, 1, 1]),
        helper.make_node("MaxPool", ["data"], ["c"], kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1]),
        helper.make_node("Concat", ["a", "b", "c"], ["y"], axis=1),
    ]
    model = model_of(nodes, (2, 9, 9), {"w": np.ones((2, 2, 3, 3), np.float32)})
    shapes = blob_shapes(model)
    steps = local_steps(model, shapes, "data")
    squares = changed_squares(steps, shapes, "data", 2)
    tiles = tile_graph(model, steps, squares, ["y"], shapes, "data")
    # One for both convolutions, one for the pool, whose padding is another, and the whole.
    assert [(cut.blob, cut.padding) for cut in tiles.cuts] == [("data", 0.0), ("data", -np.inf), ("y", 0.0)]
    # Each region is gathered, turned and computed upon.
    assert tiles.numbers() == 3 * (2 * 6 * 6 * 2 + 6 * 9 * 9)


def test_shares_are_taken_where_the_squares_lie() -> None:
    _, step = pool_of(6, 6, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    model, shapes = model_of([step.node], (2, 6, 6)), {"data": (2, 6, 6), "y": (2, 6, 6)}
    span = Span(np.array([0, 3]), np.array([3, 6]))
    tiles = tile_graph(model, [step], {"data": (span, span), "y": (span, span)}, ["y"], shapes, "data")
    (shares,) = tiles.shares
    values = shares.values(np.array([0, 1]), np.array([1, 1]), 2)
    assert values.shape == (4, 1, 3, 3)
    full, two = 1.0, 9 / 6
    top = [[two, two, 9 / 4], [full, full, two], [full, full, two]]
    np.testing.assert_allclose(values[0, 0], top)
    np.testing.assert_allclose(values[1], values[0])
    np.testing.assert_allclose(values[2, 0], top[::-1])

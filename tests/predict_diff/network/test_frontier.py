"""What is worth evaluating on squares: known bounds, and networks where nothing is."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
import onnx
import pytest
from local_networks import local_network, model_of
from onnx import helper

from predict_diff.caffe.converter import convert_apart
from predict_diff.caffe.reader import read_description
from predict_diff.network.frontier import find_frontier, frontier_blobs
from predict_diff.network.graphs import blob_shapes
from predict_diff.network.locality import changed_squares, local_steps
from reproduce import home


@cache
def shapes_only(name: str) -> onnx.ModelProto:
    """A network of the paper, or one that stands in, with weights that have only shapes."""
    model, _ = convert_apart(read_description(home.root() / "models" / name / "deploy.prototxt"), None)
    return model


@pytest.mark.parametrize(
    ("name", "bound"), [("alexnet", 4.3), ("googlenet", 2.7), ("vgg16", 10.4), ("efficientnet_lite0", 1.8)]
)
def test_bounds_from_multiplications_are_those_of_the_design(name: str, bound: float) -> None:
    model = shapes_only(name)
    frontier = find_frontier(model, blob_shapes(model), model.graph.input[0].name, 10)
    assert round(frontier.bound, 1) == bound
    assert frontier.gain > 1.1


@pytest.mark.parametrize("name", ["alexnet", "googlenet"])
def test_the_gain_shrinks_as_windows_grow_until_there_is_none(name: str) -> None:
    model = shapes_only(name)
    shapes, image = blob_shapes(model), model.graph.input[0].name
    frontiers = [find_frontier(model, shapes, image, k) for k in (1, 10, 30, 100, shapes[image][1])]
    for smaller, larger in pairwise(frontiers):
        assert smaller.gain >= larger.gain >= 1
        assert smaller.bound >= larger.bound >= 1
        assert len(smaller.steps) >= len(larger.steps)
    assert frontiers[-1].steps == ()
    assert frontiers[-1].gain == frontiers[-1].bound == 1
    assert list(frontiers[-1].squares) == [image]


@pytest.mark.parametrize("seed", range(20))
def test_what_is_chosen_can_be_computed_in_order_and_is_handed_on(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("predict_diff.network.frontier._OF_A_PASTED_NUMBER", 0.1 * (seed % 4))
    model = local_network(seed)
    shapes = blob_shapes(model)
    frontier = find_frontier(model, shapes, "data", 2)
    made = {"data"}
    for step in frontier.steps:
        assert made.issuperset(step.blobs)
        made.update(step.outputs)
    assert set(frontier.squares) == set(frontier.costs) == made
    blobs = frontier_blobs(model, frontier.steps, "data")
    assert made.issuperset(blobs)
    # The rest reads nothing but these, weights, and what it makes itself.
    known = {tensor.name for tensor in model.graph.initializer} | set(blobs)
    for node in model.graph.node:
        if made.isdisjoint(node.output):
            assert known.issuperset(node.input)
            known.update(node.output)
    assert known.issuperset(info.name for info in model.graph.output)
    assert frontier.gain >= 1


def test_the_bound_is_the_ratio_of_multiplications() -> None:
    nodes = [
        helper.make_node("Conv", ["data", "w"], ["conv"]),
        helper.make_node("Flatten", ["conv"], ["flat"]),
        helper.make_node("Gemm", ["flat", "v"], ["fc"]),
    ]
    weights = {"w": np.zeros((2, 3, 1, 1), np.float32), "v": np.zeros((2 * 10 * 12, 5), np.float32)}
    model = model_of(nodes, (3, 10, 12), weights)
    frontier = find_frontier(model, blob_shapes(model), "data", 4)
    convolution, product = 10 * 12 * 2 * 3, 2 * 10 * 12 * 5
    assert frontier.bound == pytest.approx((convolution + product) / (4 * 4 * 2 * 3 + product))


def test_a_network_without_multiplications_has_a_bound_of_one() -> None:
    model = model_of([helper.make_node("Relu", ["data"], ["y"])], (3, 10, 12))
    assert find_frontier(model, blob_shapes(model), "data", 4).bound == 1


def test_pasting_that_costs_too_much_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    model = shapes_only("alexnet")
    shapes = blob_shapes(model)
    monkeypatch.setattr("predict_diff.network.frontier._OF_A_PASTED_NUMBER", 1e9)
    assert find_frontier(model, shapes, "data", 10).steps == ()
    monkeypatch.setattr("predict_diff.network.frontier._OF_A_PASTED_NUMBER", 0.0)
    steps = local_steps(model, shapes, "data")
    chosen = find_frontier(model, shapes, "data", 10).steps
    squares = changed_squares(steps, shapes, "data", 10)
    # All but those whose squares are as large as their blobs, wherever the window is.
    useful = [
        step.node.output[0]
        for step in steps
        if any(
            (span.lengths < size).any()
            for span, size in zip(squares[step.outputs[0]], shapes[step.outputs[0]][1:], strict=True)
        )
    ]
    assert [step.node.output[0] for step in chosen] == useful

"""Sums, means, norms and extremes along axes."""

from __future__ import annotations

from .graph import Value
from .registry import Diffs, Step, derivative
from .selection import scatter_to_first


@derivative("ReduceSum")
def reduce_sum(step: Step) -> Diffs:
    return [_repeat(step, step.diff)]


@derivative("ReduceMean", "GlobalAveragePool")
def reduce_mean(step: Step) -> Diffs:
    averaged = step.graph.emit("Div", [step.x.count(), step.y.count()])
    return [_repeat(step, step.diff) / averaged.cast(step.diff.type)]


@derivative("ReduceL1")
def absolute_sum(step: Step) -> Diffs:
    return [_repeat(step, step.diff) * step.graph.emit("Sign", [step.x])]


@derivative("ReduceL2")
def euclidean_norm(step: Step) -> Diffs:
    # At the tip of the cone, where all are 0, the slope is 0, as that of Abs.
    norm = _repeat(step, step.y)
    return [(norm > 0).gate(_repeat(step, step.diff) * step.x / norm)]


@derivative("ReduceSumSquare")
def sum_of_squares(step: Step) -> Diffs:
    return [_repeat(step, step.diff) * step.x * 2]


@derivative("ReduceLogSumExp")
def log_of_sum(step: Step) -> Diffs:
    return [_repeat(step, step.diff) * step.graph.emit("Exp", [step.x - _repeat(step, step.y)])]


@derivative("ReduceMax", "ReduceMin")
def extreme_along_axes(step: Step) -> Diffs:
    # As in pooling, of equal maxima the first takes all.
    graph, x, reduced = step.graph, step.x, _reduced_axes(step)
    order = [axis for axis in range(len(x.shape or ())) if axis not in reduced] + reduced
    turned = graph.emit("Transpose", [x], perm=order)
    rows = turned.reshape([0] * (len(order) - len(reduced)) + [-1])
    search = "ArgMax" if step.node.op_type == "ReduceMax" else "ArgMin"
    found = scatter_to_first(rows, search, step.diff).reshape(turned.sizes())
    return [graph.emit("Transpose", [found], perm=sorted(range(len(order)), key=order.__getitem__))]


def _reduced_axes(step: Step) -> list[int]:
    """The axes that an operator reduces, in order; they are an attribute before opset 18, an input from there on."""
    given = step.optional(1)
    listed = step.attribute("axes", []) if given is None else step.graph.constant_array(given)
    if step.x.shape is None or listed is None:
        raise step.error(f"expected constant axes, and '{step.x.name}' to have a known number of them")
    axes = sorted({int(axis) % len(step.x.shape) for axis in listed})
    return axes or ([] if step.attribute("noop_with_empty_axes", 0) else list(range(len(step.x.shape))))


def _repeat(step: Step, reduced: Value) -> Value:
    """The diff, or the output, in the shape of the input: repeated along the axes that were reduced."""
    graph = step.graph
    if not step.attribute("keepdims", 1):
        listed = step.attribute("axes", None)
        axes = step.optional(1) if listed is None else graph.integers(listed)
        # Without axes either all were reduced, and it is one number, or none.
        reduced = reduced if axes is None else graph.emit("Unsqueeze", [reduced, axes])
    return graph.emit("Expand", [reduced, step.x.sizes()])

"""Operators that pick elements of their input and leave them as they are.

Each is repeated on the numbers 0, 1, ... of the input's elements; that tells where every output came from.
"""

from __future__ import annotations

from onnx import TensorProto

from .graph import Value
from .registry import Diffs, Step, derivative


@derivative("Slice", "Gather", "GatherElements", "GatherND", "Tile")
def selection(step: Step) -> Diffs:
    graph, x = step.graph, step.x
    zero, one = graph.scalar(0, TensorProto.INT64), graph.scalar(1, TensorProto.INT64)
    numbers = graph.emit("Range", [zero, x.count(), one]).reshape(x.sizes())
    picked = graph.emit(step.node.op_type, [numbers, *step.inputs[1:]], type=TensorProto.INT64, **step.attributes)
    return [scatter(x, picked, step.diff)]


@derivative("Pad")
def pad(step: Step) -> Diffs:
    if step.attribute("mode", "constant") != "constant":
        return selection(step)
    # Negative padding crops: what was added is cut off, and the other way round.
    pads = -step.operands[1]
    return [step.graph.emit("Pad", [step.diff, pads, None, step.optional(3)])]


def scatter(x: Value, numbers: Value, diff: Value) -> Value:
    """Zeros in the shape of x, to whose elements of the given numbers a diff is added.

    Parameters
    ----------
    x : Value
    numbers : Value, int64, shape of diff
        Positions in x, flattened row by row, batch axis included; one may occur several times.
    diff : Value
    """
    graph = x.graph
    flat = graph.full(x.count().reshape([1]), 0, diff.type)
    summed = graph.emit("ScatterElements", [flat, numbers.reshape([-1]), diff.reshape([-1])], axis=0, reduction="add")
    return summed.reshape(x.sizes())


def scatter_to_first(rows: Value, search: str, diff: Value) -> Value:
    """Zeros in the shape of some rows, with a number of the diff at the first maximum or minimum of each.

    Parameters
    ----------
    rows : Value, shape (..., length)
    search : str
        ArgMax or ArgMin.
    diff : Value
        As many numbers as there are rows, in their order.
    """
    graph = rows.graph
    first = graph.emit(search, [rows], type=TensorProto.INT64, axis=-1, keepdims=1)
    return graph.emit("ScatterElements", [graph.zeros_like(rows), first, diff.reshape(first.sizes())], axis=-1)

"""Products of matrices."""

from __future__ import annotations

from .graph import Value
from .registry import Diffs, Step, derivative


@derivative("Gemm")
def gemm(step: Step) -> Diffs:
    """Y = alpha A' B' + beta C, where A' and B' may be transposed."""
    graph, diff = step.graph, step.diff
    a, b, *shift = step.operands
    alpha, beta = step.attribute("alpha", 1.0), step.attribute("beta", 1.0)
    turned_a, turned_b = step.attribute("transA", 0), step.attribute("transB", 0)
    if turned_a:
        diff_a = graph.emit("Gemm", [b, diff], alpha=alpha, transA=turned_b, transB=1)
    else:
        diff_a = graph.emit("Gemm", [diff, b], alpha=alpha, transB=1 - turned_b)
    if turned_b:
        diff_b = graph.emit("Gemm", [diff, a], alpha=alpha, transA=1, transB=turned_a)
    else:
        diff_b = graph.emit("Gemm", [a, diff], alpha=alpha, transA=1 - turned_a)
    return [diff_a, diff_b, *(step.sum_to(diff * beta, c) for c in shift)]


@derivative("MatMul")
def matmul(step: Step) -> Diffs:
    graph, diff = step.graph, step.diff
    a, b = step.operands
    if a.shape is None or b.shape is None:
        raise step.error("expected factors with a known number of axes")
    # As in NumPy, a vector in front is a row, a vector behind is a column, and the result has no such axis.
    vector_a, vector_b = len(a.shape) == 1, len(b.shape) == 1
    diff = _insert_axis(diff, -1) if vector_b else diff
    diff = _insert_axis(diff, -2) if vector_a else diff
    matrix_a, matrix_b = (_insert_axis(a, 0) if vector_a else a), (_insert_axis(b, 1) if vector_b else b)
    diff_a = graph.emit("MatMul", [diff, _turned(matrix_b, max(len(b.shape), 2))])
    diff_b = graph.emit("MatMul", [_turned(matrix_a, max(len(a.shape), 2)), diff])
    diff_a = _remove_axis(diff_a, -2) if vector_a else diff_a
    diff_b = _remove_axis(diff_b, -1) if vector_b else diff_b
    batch = None if step.y.shape is None or vector_a or vector_b else step.y.shape[:-2]
    return [
        diff_a.sum_to(a, None if batch is None else batch + a.shape[-2:]),
        diff_b.sum_to(b, None if batch is None else batch + b.shape[-2:]),
    ]


def _turned(matrix: Value, axes: int) -> Value:
    return matrix.graph.emit("Transpose", [matrix], perm=[*range(axes - 2), axes - 1, axes - 2])


def _insert_axis(value: Value, axis: int) -> Value:
    return value.graph.emit("Unsqueeze", [value, value.graph.integers([axis])])


def _remove_axis(value: Value, axis: int) -> Value:
    return value.graph.emit("Squeeze", [value, value.graph.integers([axis])])

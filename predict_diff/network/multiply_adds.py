"""What a network costs: multiply-adds of its convolutions and matrix products, for one photo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import onnx
from onnx import helper

from .derivatives.einsum import subscripts
from .receptive_fields import STANDARD

Shape = Sequence[int | str | None]

#: Put out the numbers that came in, in another shape.
_RESHAPING = {"Cast", "Dropout", "Flatten", "Identity", "Relu", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}

#: More is not a network's, but a damaged file's.
_AT_MOST = 2**62


def multiply_adds(model: onnx.ModelProto, shapes: Mapping[str, Shape]) -> list[int | None]:
    """Multiply-adds of each operator.

    Parameters
    ----------
    model : onnx.ModelProto
    shapes : mapping of str to sequence
        Of its values and weights; sizes that are not known are no integers. The first axis of a value is the batch.

    Returns
    -------
    list of int or None
        For one photo: 0 for all but Conv, ConvTranspose, Gemm, MatMul, Einsum and Attention, whose biases are not
        counted; None where sizes are open, or the operator is not of the standard.
    """
    numbers: dict[str, int | None] = {}
    counts: list[int | None] = []

    def of_a_photo(name: str) -> int | None:
        return numbers[name] if name in numbers else _known(shapes.get(name, (None, None))[1:])

    for node in model.graph.node:
        count: int | None = 0
        made: int | None = None
        if node.domain not in STANDARD:
            count = None
        elif node.op_type in _RESHAPING and node.input:
            made = of_a_photo(node.input[0])
        elif node.op_type == "Conv":
            count = _product(of_a_photo(node.output[0]), _known(shapes.get(node.input[1], (None, None))[1:]))
        elif node.op_type == "ConvTranspose":
            count = _product(of_a_photo(node.input[0]), _known(shapes.get(node.input[1], (None, None))[1:]))
        elif node.op_type in ("Gemm", "MatMul"):
            inner, outer = _matrix(node, shapes)
            count = _product(of_a_photo(node.input[0]), outer)
            made = count // inner if count is not None and inner else None
        elif node.op_type == "Einsum":
            count = _of_einsum(node, shapes)
        elif node.op_type == "Attention":
            count = _of_attention(node, shapes)
        if made is not None:
            numbers[node.output[0]] = made
        counts.append(count)
    return counts


def _matrix(node: onnx.NodeProto, shapes: Mapping[str, Shape]) -> tuple[int | None, int | None]:
    """Rows and columns of the second factor: how many products make a number, how many numbers a row of the first."""
    last = list(shapes.get(node.input[1], ()))[-2:]
    if any(entry.name == "transB" and helper.get_attribute_value(entry) for entry in node.attribute):
        last.reverse()
    if len(last) < 2:
        return None, None
    return _known(last[:1]), _known(last[1:])


def _of_einsum(node: onnx.NodeProto, shapes: Mapping[str, Shape]) -> int | None:
    """Products of two operands; the letter of the output's first axis, the batch, counts once."""
    equation = next((entry.s.decode(errors="replace") for entry in node.attribute if entry.name == "equation"), "")
    terms, result = subscripts(equation)
    if len(terms) != 2 or len(node.input) != 2 or "." in equation:
        return None
    sizes = dict[str, int | str | None]()
    for term, name in zip(terms, node.input, strict=True):
        sizes.update(zip(term, shapes.get(name, ()), strict=False))
    return _known([sizes.get(letter) for letter in set("".join(terms)) - set(result[:1])])


def _of_attention(node: onnx.NodeProto, shapes: Mapping[str, Shape]) -> int | None:
    """Queries (N, heads, queries, size) times keys, and their weights times values; None for other arrangements."""
    queries, keys, values = (shapes.get(name, ()) for name in node.input[:3])
    if len(queries) != 4 or len(keys) != 4 or len(values) != 4 or len(node.input) > 4:
        return None
    sizes = [_known([*queries[1:3], keys[2], size]) for size in (queries[3], values[3])]
    return None if sizes[0] is None or sizes[1] is None else sizes[0] + sizes[1]


def _product(first: int | None, second: int | None) -> int | None:
    return None if first is None or second is None or first * second > _AT_MOST else first * second


def _known(sizes: Shape) -> int | None:
    known = [size for size in sizes if isinstance(size, int)]
    return count if len(known) == len(sizes) and 0 <= (count := prod(known)) <= _AT_MOST else None

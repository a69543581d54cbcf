"""The backward part of a graph while it is written: values that know their graph, and can be calculated with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto, helper, numpy_helper

from ..inference import Shape, ValueType


@dataclass(frozen=True, eq=False)
class Value:
    """One tensor of the graph, of the forward or the backward part.

    Python's operators add the operator of the same meaning to the graph; numbers take the type of the tensor.

    Attributes
    ----------
    graph : Graph
    name : str
        Its name in the graph.
    type : int
        Element type, one of ``onnx.TensorProto``'s.
    shape : tuple of int, str or None, optional
        Sizes, as far as shape inference knows them; values of the backward part have none.
    """

    graph: Graph
    name: str
    type: int
    shape: Shape | None = None

    def __add__(self, other: Value | float) -> Value:
        return self.graph.emit("Add", [self, self._operand(other)])

    def __sub__(self, other: Value | float) -> Value:
        return self.graph.emit("Sub", [self, self._operand(other)])

    def __rsub__(self, other: float) -> Value:
        return self.graph.emit("Sub", [self._operand(other), self])

    def __mul__(self, other: Value | float) -> Value:
        return self.graph.emit("Mul", [self, self._operand(other)])

    def __truediv__(self, other: Value | float) -> Value:
        return self.graph.emit("Div", [self, self._operand(other)])

    def __pow__(self, other: Value | float) -> Value:
        return self.graph.emit("Pow", [self, self._operand(other)])

    def __neg__(self) -> Value:
        return self.graph.emit("Neg", [self])

    def __gt__(self, other: Value | float) -> Value:
        return self.graph.emit("Greater", [self, self._operand(other)], type=TensorProto.BOOL)

    def __lt__(self, other: Value | float) -> Value:
        return self.graph.emit("Less", [self, self._operand(other)], type=TensorProto.BOOL)

    def __ge__(self, other: Value | float) -> Value:
        return self.graph.emit("GreaterOrEqual", [self, self._operand(other)], type=TensorProto.BOOL)

    def __le__(self, other: Value | float) -> Value:
        return self.graph.emit("LessOrEqual", [self, self._operand(other)], type=TensorProto.BOOL)

    def equals(self, other: Value | float) -> Value:
        return self.graph.emit("Equal", [self, self._operand(other)], type=TensorProto.BOOL)

    def gate(self, value: Value) -> Value:
        """`value` where this mask is true, zero elsewhere."""
        return self.graph.emit("Where", [self, value, self.graph.scalar(0, value.type)], type=value.type)

    def sizes(self, start: int = 0) -> Value:
        """The sizes of the axes from `start` on, known when the graph runs."""
        return self.graph.emit("Shape", [self], type=TensorProto.INT64, start=start)

    def count(self) -> Value:
        """The number of elements, known when the graph runs; int64, without axes."""
        return self.graph.emit("Size", [self], type=TensorProto.INT64)

    def cast(self, type: int) -> Value:
        return self if type == self.type else self.graph.emit("Cast", [self], type=type, to=type)

    def reshape(self, sizes: Value | Sequence[int]) -> Value:
        """The same elements in other axes; as in ONNX's Reshape, 0 keeps a size and -1 infers one."""
        target = sizes if isinstance(sizes, Value) else self.graph.integers(sizes)
        return self.graph.emit("Reshape", [self, target])

    def sum_along(self, axis: int) -> Value:
        """The sums along one axis, which stays with size 1."""
        return self.graph.emit("ReduceSum", [self, self.graph.integers([axis])], keepdims=1)

    def sum_to(self, operand: Value, shape: Shape | None) -> Value:
        """Undo broadcasting: sum over the axes along which an operand was repeated.

        Parameters
        ----------
        operand : Value
            What was broadcast.
        shape : tuple of int, str or None, optional
            The shape of this value, if known: saves the operators where nothing was repeated.
        """
        if shape is not None and None not in shape and shape == operand.shape:
            return self
        graph, have, want = self.graph, self.sizes(), operand.sizes()
        # Axes that broadcasting puts in front have size 1 in the operand. Everything is decided when the graph runs,
        # so that open sizes (the batch) need no guessing.
        missing = (have.count() - want.count()).reshape([1])
        padded = graph.emit("Concat", [graph.full(missing, 1, TensorProto.INT64), want], axis=0)
        repeated = graph.emit("Not", [have.equals(padded)])
        axes = graph.emit("NonZero", [repeated], type=TensorProto.INT64).reshape([-1])
        return graph.emit("ReduceSum", [self, axes], keepdims=1, noop_with_empty_axes=1).reshape(want)

    def _operand(self, other: Value | float) -> Value:
        return other if isinstance(other, Value) else self.graph.scalar(other, self.type)


class Graph:
    """Operators and constants in the order in which they were added.

    Parameters
    ----------
    types : mapping of str to ValueType
        What is known of the values of the forward part.
    constants : mapping of str to onnx.TensorProto
        Those of them that are constant.
    taken : iterable of str
        Names that new values must not have.
    """

    def __init__(
        self, types: Mapping[str, ValueType], constants: Mapping[str, TensorProto], taken: Iterable[str]
    ) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, TensorProto] = {}
        self._types = types
        self._constants = constants
        self._taken = set(taken)
        self._emitted: dict[tuple[Any, ...], Value] = {}

    def value(self, name: str) -> Value:
        """A value of the forward part; its element type is taken to be float32 where it is not known."""
        known = self._types.get(name, ValueType())
        return Value(self, name, known.type or TensorProto.FLOAT, known.shape)

    def constant_array(self, value: Value) -> NDArray[Any] | None:
        """The content of a forward value that is constant, None for any other."""
        tensor = self._constants.get(value.name)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def constant(self, array: ArrayLike, type: int) -> Value:
        """A constant of the backward part; equal ones are stored once."""
        content = np.ascontiguousarray(array, dtype=helper.tensor_dtype_to_np_dtype(type))
        key = ("constant", type, np.shape(array), content.tobytes())
        if key not in self._emitted:
            name = self._fresh("constant")
            self.initializers[name] = numpy_helper.from_array(content.reshape(np.shape(array)), name)
            self._emitted[key] = Value(self, name, type)
        return self._emitted[key]

    def scalar(self, number: float, type: int) -> Value:
        return self.constant(number, type)

    def integers(self, numbers: Sequence[int]) -> Value:
        """A list of int64, as operators take for axes and sizes."""
        return self.constant(numbers, TensorProto.INT64)

    def full(self, sizes: Value, number: float, type: int) -> Value:
        """An array filled with one number."""
        fill = helper.make_tensor("value", type, [1], [number])
        return self.emit("ConstantOfShape", [sizes], type=type, value=fill)

    def zeros_like(self, value: Value) -> Value:
        return self.full(value.sizes(), 0, value.type)

    def emit(self, operator: str, inputs: Sequence[Value | None], type: int | None = None, **attributes: Any) -> Value:
        """Add an operator with one output.

        Parameters
        ----------
        operator : str
            Name in the default ONNX domain.
        inputs : sequence of Value or None
            None leaves an optional input out.
        type : int, optional
            Element type of the output; that of the first input unless given.
        """
        (output,) = self.emit_many(
            operator, inputs, [self._common_type(inputs) if type is None else type], **attributes
        )
        return output

    def emit_many(
        self, operator: str, inputs: Sequence[Value | None], types: Sequence[int], **attributes: Any
    ) -> list[Value]:
        """Add an operator with one output for each of the element types."""
        names = [value.name if value else "" for value in inputs]
        while names and not names[-1]:
            names.pop()
        outputs = [self._fresh(operator) for _ in types]
        node = helper.make_node(operator, names, outputs, name=outputs[0], **attributes)
        self.nodes.append(node)
        return [Value(self, output, type) for output, type in zip(outputs, types, strict=True)]

    def _common_type(self, inputs: Sequence[Value | None]) -> int:
        return next(value.type for value in inputs if value is not None)

    def _fresh(self, stem: str) -> str:
        count = len(self.nodes) + len(self.initializers)
        while (name := f"backward/{stem}_{count}") in self._taken:
            count += 1
        self._taken.add(name)
        return name

"""The ONNX graph under construction, and what a layer sees of it while it adds its operators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto, helper

from ..errors import ConversionError
from . import caffe_pb2

#: A size, or the name of an axis whose size is known only when the network runs.
Size = int | str
Shape = tuple[Size, ...]


@dataclass(eq=False)
class Value:
    """One tensor of the graph.

    Attributes
    ----------
    name : str
        Its name in the graph; provisional until the converter has seen every layer.
    shape : tuple of int or str
        Sizes, batch axis included. An axis is a string where its size is open.
    """

    name: str
    shape: Shape
    type: int = TensorProto.FLOAT

    @property
    def rank(self) -> int:
        return len(self.shape)


@dataclass
class Graph:
    """Operators and weights in the order in which they were added."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)
    _names: set[str] = field(default_factory=set)

    def fresh(self, stem: str) -> str:
        """A name that no value has yet, for a value that may be renamed later."""
        name, count = f"{stem}#0", 0
        while name in self._names:
            count += 1
            name = f"{stem}#{count}"
        self._names.add(name)
        return name

    def rename(self, names: dict[str, str]) -> None:
        """Give values their final names, wherever they occur."""
        for node in self.nodes:
            for slots in (node.input, node.output):
                for position, name in enumerate(slots):
                    slots[position] = names.get(name, name)


@dataclass
class Layer:
    """One layer of the description, ready to be turned into operators.

    Attributes
    ----------
    parameters : LayerParameter
        The layer as described.
    bottoms : list of Value
        Its inputs.
    weights : list of ndarray, float32
        Its blobs from the weights file.
    graph : Graph
        Where operators go.
    place : str
        Where the description has it, for messages.
    """

    parameters: caffe_pb2.LayerParameter
    bottoms: list[Value]
    weights: list[NDArray[np.float32]]
    graph: Graph
    place: str

    @property
    def name(self) -> str:
        return str(self.parameters.name)

    @property
    def bottom(self) -> Value:
        """The first, and mostly only, input."""
        return self.bottoms[0]

    def error(self, problem: str) -> ConversionError:
        """An error that names the layer and where it stands."""
        return ConversionError(f"{self.place}: layer '{self.name}' ({self.parameters.type}): {problem}")

    def axis(self, axis: int, rank: int | None = None) -> int:
        """A Caffe axis, which may count from the end, as an index."""
        rank = self.bottoms[0].rank if rank is None else rank
        if not -rank <= axis < rank:
            raise self.error(f"axis {axis} is out of range for a blob with {rank} axes")
        return axis % rank

    def size(self, value: Value, axis: int) -> int:
        """The size of an axis that has to be known."""
        size = value.shape[axis]
        if not isinstance(size, int):
            raise self.error(f"the size of axis {axis} of blob '{value.name}' has to be known, but is open ({size})")
        return size

    def sizes(self, value: Value, start: int, end: int | None = None) -> tuple[int, ...]:
        """The known sizes of axes `start` to `end`."""
        return tuple(self.size(value, axis) for axis in range(start, value.rank if end is None else end))

    def blob(self, index: int, shape: tuple[int, ...], what: str) -> NDArray[np.float32]:
        """One of the layer's weight blobs, in the shape that the description implies.

        Caffe: files of 2013 and 2014 state four sizes, aligned from the right: 1 x 1 x 1 x N for a bias.
        """
        if index >= len(self.weights):
            raise self.error(
                f"expected {what} with shape {_sizes(shape)} as blob {index}, but the weights file has only "
                f"{len(self.weights)} blob(s) for this layer; description and weights do not belong together"
            )
        found = self.weights[index]
        if _without_leading_ones(found.shape) != _without_leading_ones(shape):
            raise self.error(
                f"expected {what} with shape {_sizes(shape)}, found {_sizes(found.shape)} in the weights file; "
                f"description and weights do not belong together"
            )
        return found.reshape(shape)

    def expect_blobs(self, count: int) -> None:
        """Raise ConversionError if the weights file has more blobs for this layer than it uses."""
        if len(self.weights) > count:
            raise self.error(
                f"expected {count} weight blob(s), found {len(self.weights)} in the weights file; "
                f"description and weights do not belong together"
            )

    def constant(self, array: ArrayLike, dtype: type = np.float32) -> Value:
        """Weights, or any other fixed tensor, as a value of the graph."""
        data: NDArray[Any] = np.ascontiguousarray(array, dtype=dtype)
        name = self.graph.fresh(f"{self.name}/constant")
        kind = helper.np_dtype_to_tensor_dtype(data.dtype)
        self.graph.initializers.append(TensorProto(name=name, data_type=kind, dims=data.shape, raw_data=data.tobytes()))
        return Value(name, data.shape, kind)

    def integers(self, values: Sequence[int]) -> Value:
        """A 1-D int64 tensor, as shapes and axes are given."""
        return self.constant(np.asarray(values, dtype=np.int64).reshape(-1), np.int64)

    def emit(self, operator: str, inputs: Sequence[Value | None], shape: Shape, **attributes: Any) -> Value:
        """Add an operator with one output of the given shape; None stands for an absent optional input."""
        return self.emit_many(operator, inputs, [shape], **attributes)[0]

    def emit_many(
        self, operator: str, inputs: Sequence[Value | None], shapes: Sequence[Shape], **attributes: Any
    ) -> list[Value]:
        """Add an operator with several outputs."""
        outputs = [Value(self.graph.fresh(self.name), tuple(shape)) for shape in shapes]
        self.graph.nodes.append(
            helper.make_node(
                operator,
                ["" if value is None else value.name for value in inputs],
                [value.name for value in outputs],
                name=self.graph.fresh(f"{self.name}/{operator}"),
                **attributes,
            )
        )
        return outputs

    def same(self, operator: str, inputs: Sequence[Value | None], **attributes: Any) -> Value:
        """Add an operator whose output has the shape of its first input."""
        first = inputs[0]
        assert first is not None  # noqa: S101 - a programming error, not the user's
        return self.emit(operator, inputs, first.shape, **attributes)

    def reshape(self, value: Value, shape: Shape) -> Value:
        """Reshape; at most one axis may be open beside those that stay where they are."""
        if shape == value.shape:
            return value
        return self.emit("Reshape", [value, self.integers(self._reshape_sizes(value, shape))], shape)

    def _reshape_sizes(self, value: Value, shape: Shape) -> list[int]:
        sizes, inferred = [], False
        for position, size in enumerate(shape):
            if isinstance(size, int):
                sizes.append(size)
            elif position < value.rank and value.shape[position] == size:
                sizes.append(0)
            elif not inferred:
                inferred = True
                sizes.append(-1)
            else:
                raise self.error(f"cannot reshape {_sizes(value.shape)} to {_sizes(shape)} with an open batch size")
        return sizes


def _without_leading_ones(shape: Sequence[int]) -> tuple[int, ...]:
    sizes = list(shape)
    while sizes and sizes[0] == 1:
        sizes.pop(0)
    return tuple(sizes)


def _sizes(shape: Sequence[Size]) -> str:
    return " x ".join(str(size) for size in shape) if shape else "(one number)"

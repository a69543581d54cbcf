"""What the function that converts a layer type sees of a layer, and adds its operators with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from onnx import helper

from ..errors import ConversionError
from ..network.derivatives import HELD
from .caffe_pb2 import LayerParameter
from .graph import Graph, Shape, Value, sizes_text

#: Caffe: the largest number of axes of a blob, and of numbers in it.
_AXES_AT_MOST = 32
_NUMBERS_AT_MOST = 2**31 - 1
_IMAGINED_VECTOR_AT_MOST = 2**22

#: Of a kernel, stride, pad or the like: far beyond any network's, and small enough for every runtime.
_SIZE_AT_MOST = 2**15


@dataclass(frozen=True)
class StoredBlobs:
    """What the weights file has for a layer.

    Attributes
    ----------
    arrays : sequence of ndarray, float32
    absence : str
        Why there are not more, for messages: "net.caffemodel has no layer 'conv1'".
    imagined : bool, default False
        There is no weights file: each blob that is asked for has the right shape, and takes no memory.
    """

    arrays: Sequence[NDArray[np.float32]]
    absence: str
    imagined: bool = False


@dataclass
class Layer:
    """One layer of the description, ready to be turned into operators.

    Attributes
    ----------
    parameters : LayerParameter
        The layer as described.
    bottoms : list of Value
        Its inputs.
    stored : StoredBlobs
        Its blobs from the weights file.
    graph : Graph
        Where operators go.
    place : str
        Where the description has it, for messages.
    """

    parameters: LayerParameter
    bottoms: list[Value]
    stored: StoredBlobs
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
            raise self.error(f"expected an axis of the {rank} that its bottom has, found axis {axis}")
        return axis % rank

    def size(self, value: Value, axis: int) -> int:
        """The size of an axis that has to be known."""
        if axis >= value.rank:
            raise self.error(f"expected a blob with at least {axis + 1} axes, found {self.called(value)}")
        size = value.shape[axis]
        if not isinstance(size, int):
            raise self.error(
                f"expected an axis of fixed size, found axis {axis} of {self.called(value)}, the batch or a part of it"
            )
        return size

    def called(self, value: Value) -> str:
        """What messages call a value: the name of the bottom that it is, and its shape."""
        bottoms = [name for name, bottom in zip(self.parameters.bottom, self.bottoms, strict=False) if bottom is value]
        return f"{f'blob {bottoms[0]!r}' if bottoms else 'a blob'} of shape {sizes_text(value.shape)}"

    def sizes(self, value: Value, start: int, end: int | None = None) -> tuple[int, ...]:
        """The known sizes of axes `start` to `end`."""
        return tuple(self.size(value, axis) for axis in range(start, value.rank if end is None else end))

    def blob(self, index: int, shape: tuple[int, ...], what: str) -> NDArray[np.float32]:
        """One of the layer's weight blobs, in the shape that the description implies.

        Caffe: files of 2013 and 2014 state four sizes, aligned from the right: 1 x 1 x 1 x N for a bias.
        """
        settings = self.parameters.param
        self.graph.learned(self.name, settings[index].name if index < len(settings) else "", prod(shape))
        if self.stored.imagined:
            return self._imagined(shape, what)
        if index >= len(self.stored.arrays):
            raise self.error(
                f"expected {what} of shape {sizes_text(shape)} as weight blob {index}, but {self.stored.absence}; "
                f"give the weights that belong to this description, without which Caffe would go on with zeros or noise"
            )
        found = self.stored.arrays[index]
        if _without_leading_ones(found.shape) != _without_leading_ones(shape):
            raise self.error(
                f"expected {what} of shape {sizes_text(shape)}, found {sizes_text(found.shape)} in the weights file; "
                f"description and weights do not belong together"
            )
        return found.reshape(shape)

    def _imagined(self, shape: tuple[int, ...], what: str) -> NDArray[np.float32]:
        """Zeros that take no memory, though what is calculated from them may: vectors have to be of a sane size."""
        numbers = prod(shape)
        most = _IMAGINED_VECTOR_AT_MOST if numbers == max(shape, default=1) else _NUMBERS_AT_MOST
        if min(shape, default=1) < 1 or numbers > most:
            raise self.error(f"expected {what} of 1 to {most:,} numbers, found shape {sizes_text(shape)}")
        return np.broadcast_to(np.float32(0), shape)

    def expect_blobs(self, count: int) -> None:
        """Raise ConversionError if the weights file has more blobs for this layer than it uses."""
        if len(self.stored.arrays) > count:
            raise self.error(
                f"expected {count} weight blob(s), found {len(self.stored.arrays)} in the weights file; "
                f"description and weights do not belong together"
            )

    def constant(self, array: ArrayLike, dtype: type = np.float32) -> Value:
        """Weights, or any other fixed tensor, as a value of the graph."""
        return self.graph.constant(f"{self.name}/constant", array, dtype)

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
        for shape in shapes:
            self._expect_possible(shape)
        outputs = [Value(self.graph.fresh(self.name), tuple(shape)) for shape in shapes]
        self.graph.proto.node.append(
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
        if first is None:
            raise TypeError("an operator whose first input is left out has no shape")
        return self.emit(operator, inputs, first.shape, **attributes)

    def held(self, value: Value) -> Value:
        """The same value, constant in the eyes of the gradient."""
        copy = self.same("Identity", [value])
        self.graph.proto.node[-1].metadata_props.add(key=HELD, value="constant for the gradient")
        return copy

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
                raise self.error(
                    f"expected one axis of open size at most, found {sizes_text(value.shape)} to be made "
                    f"{sizes_text(shape)}"
                )
        return sizes

    def expect_sizes(self, what: str, sizes: Sequence[int], least: int = 1) -> None:
        """Raise ConversionError if a kernel, stride or the like is none."""
        if any(not least <= size <= _SIZE_AT_MOST for size in sizes):
            raise self.error(f"{what}: expected {least} to {_SIZE_AT_MOST:,}, found {sizes_text(sizes)}")

    def _expect_possible(self, shape: Shape) -> None:
        count = prod(size for size in shape if isinstance(size, int))
        if len(shape) > _AXES_AT_MOST or count > _NUMBERS_AT_MOST:
            raise self.error(
                f"expected blobs of at most {_AXES_AT_MOST} axes and {_NUMBERS_AT_MOST:,} numbers, as in Caffe, "
                f"found {sizes_text(shape)}"
            )


def _without_leading_ones(shape: Sequence[int]) -> tuple[int, ...]:
    sizes = list(shape)
    while sizes and sizes[0] == 1:
        sizes.pop(0)
    return tuple(sizes)

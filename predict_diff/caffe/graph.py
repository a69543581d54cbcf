"""The ONNX graph under construction."""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto, helper

#: A size, or the name of an axis whose size is known only when the network runs.
Size = int | str
Shape = tuple[Size, ...]

#: Name of the batch axis.
BATCH = "N"

#: Tensors of more numbers are weights, which can be kept apart; smaller ones are sizes and axes too.
LARGE = 1024


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
    """Operators and weights in the order in which they were added.

    Attributes
    ----------
    proto : onnx.GraphProto
        Where they are kept: the graph of the model that the conversion returns, so that weights are copied once.
    batch : int
        The batch size that the description states; the converted network takes any.
    apart : dict of str to ndarray, optional
        Where the numbers of large tensors are kept, by the tensor's name; without it in the graph, with all others.
    parameters : Counter of str
        How many learned numbers each layer has; shared ones count for the first.
    """

    proto: onnx.GraphProto
    batch: int = 1
    apart: dict[str, NDArray[Any]] | None = None
    parameters: Counter[str] = field(default_factory=Counter)
    _owners: dict[str, str] = field(default_factory=dict)
    _counts: Counter[str] = field(default_factory=Counter)

    def fresh(self, stem: str) -> str:
        """A name that no value has yet, for a value that may be renamed later, or an axis of open size."""
        name = f"{stem}#{self._counts[stem]}"
        self._counts[stem] += 1
        return name

    def constant(self, stem: str, array: ArrayLike, dtype: type) -> Value:
        """A fixed tensor."""
        with np.errstate(over="ignore"):  # Settings beyond float32 are infinite, as in Caffe.
            data: NDArray[Any] = np.asarray(array, dtype=dtype)
        kind = helper.np_dtype_to_tensor_dtype(data.dtype)
        name = self.fresh(stem)
        if self.apart is not None and data.size > LARGE:
            self.proto.initializer.add(name=name, data_type=kind, dims=data.shape)
            self.apart[name] = data
            return Value(name, data.shape, kind)
        content = data.tobytes()
        _let_go(data)
        # Filled where it stays: a tensor that is added to a graph is copied, and weights are large.
        self.proto.initializer.add(name=name, data_type=kind, dims=data.shape).raw_data = content
        return Value(name, data.shape, kind)

    def learned(self, layer: str, shared: str, numbers: int) -> None:
        """Count learned numbers of a layer, once for all layers that share them under a name (empty: not shared)."""
        if not shared or self._owners.setdefault(shared, layer) == layer:
            self.parameters[layer] += numbers

    def rename(self, names: dict[str, str]) -> None:
        """Give values their final names, wherever they occur; one without a final name keeps out of their way."""
        final = set(names.values())
        made = [output for node in self.proto.node for output in node.output]
        made += [tensor.name for tensor in self.proto.initializer]
        renamed = names | {name: self._beside(final, name) for name in made if name in final and name not in names}
        for tensor in self.proto.initializer:
            if self.apart is not None and tensor.name in self.apart and tensor.name in renamed:
                self.apart[renamed[tensor.name]] = self.apart.pop(tensor.name)
            tensor.name = renamed.get(tensor.name, tensor.name)
        for node in self.proto.node:
            for slots in (node.input, node.output):
                for position, name in enumerate(slots):
                    slots[position] = renamed.get(name, name)

    def _beside(self, taken: set[str], stem: str) -> str:
        while (name := self.fresh(stem)) in taken:
            pass
        return name


def sizes_text(shape: Sequence[Size]) -> str:
    """A shape as messages show it."""
    shown = [str(size) if isinstance(size, int) or size == BATCH else "?" for size in shape[:9]]
    return " x ".join([*shown, "..."] if len(shape) > 9 else shown) or "(one number)"


def _let_go(array: NDArray[Any]) -> None:
    """Give the memory of a mapped file, which an array may be a view of, back; it is read again when needed.

    Weights that have been copied would otherwise count twice.
    """
    owner: Any = array
    while isinstance(owner, np.ndarray):
        owner = owner.base
    mapped = owner.obj if isinstance(owner, memoryview) else owner
    if isinstance(mapped, mmap.mmap) and hasattr(mapped, "madvise"):
        mapped.madvise(mmap.MADV_DONTNEED)

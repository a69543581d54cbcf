"""Write ONNX files piece by piece: serialising a model at once would take its size in memory a second time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
import onnx
from numpy.typing import NDArray

from ..protobuf_fields import field_start

_NUMBERS_AT_ONCE = 1 << 20


def write_model(model: onnx.ModelProto, file: BinaryIO, arrays: Mapping[str, NDArray[Any]] | None = None) -> None:
    """Write a model, one initialiser at a time.

    Parameters
    ----------
    model : onnx.ModelProto
    file : binary stream
    arrays : mapping of str to ndarray, optional
        Numbers of initialisers that have only a name, a type and a shape in the model.
    """
    arrays = arrays or {}
    head = _without(model, "graph").SerializeToString()
    graph = _without(model.graph, "initializer").SerializeToString()
    length = len(graph) + sum(_size(_tensor_size(tensor, arrays)) for tensor in model.graph.initializer)
    file.write(head + field_start(onnx.ModelProto.GRAPH_FIELD_NUMBER, length) + graph)
    for tensor in model.graph.initializer:
        file.write(field_start(onnx.GraphProto.INITIALIZER_FIELD_NUMBER, _tensor_size(tensor, arrays)))
        file.write(tensor.SerializeToString())
        if tensor.name in arrays:
            _write_numbers(file, arrays[tensor.name])


def _without(message: Any, left_out: str) -> Any:
    """A copy of a message without one of its fields."""
    return type(message)(**{field.name: value for field, value in message.ListFields() if field.name != left_out})


def _tensor_size(tensor: onnx.TensorProto, arrays: Mapping[str, NDArray[Any]]) -> int:
    array = arrays.get(tensor.name)
    return int(tensor.ByteSize()) + (0 if array is None else len(_numbers_start(array)) + array.nbytes)


def _write_numbers(file: BinaryIO, array: NDArray[Any]) -> None:
    file.write(_numbers_start(array))
    numbers = array.reshape(-1)
    for start in range(0, numbers.size, _NUMBERS_AT_ONCE):
        piece = numbers[start : start + _NUMBERS_AT_ONCE]
        # ONNX: numbers are little-endian.
        file.write(np.ascontiguousarray(piece, piece.dtype.newbyteorder("<")).tobytes())


def _numbers_start(array: NDArray[Any]) -> bytes:
    return field_start(onnx.TensorProto.RAW_DATA_FIELD_NUMBER, array.nbytes)


def _size(length: int) -> int:
    """Bytes of an initialiser, tag and length included."""
    return len(field_start(onnx.GraphProto.INITIALIZER_FIELD_NUMBER, length)) + length

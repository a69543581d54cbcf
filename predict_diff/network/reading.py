"""Read ONNX files that anyone may have written, with the weights that lie beside them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx
from onnx import AttributeProto, TensorProto, helper

from ..errors import NetworkError, in_short
from .runtime import one_line

#: What protobuf can hold, and with it a session.
_LARGEST_MODEL = (1 << 31) - 1


def read_model(path: Path) -> onnx.ModelProto:
    """Read an ONNX file, and the external data that it names in its folder.

    Raises
    ------
    NetworkError
        If it is none, or its external data lie elsewhere, are missing, or are not what the file claims.
    """
    try:
        there = path.is_file()
    except OSError as error:  # a name too long
        raise NetworkError(f"{path}: expected an ONNX file, found none ({one_line(error)})") from error
    if not there:
        raise NetworkError(f"{path}: expected an ONNX file, found {'a folder' if path.is_dir() else 'nothing'} there")
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf's and onnx's own kinds, and OSError
        raise NetworkError(
            f"{path}: expected an ONNX file, but it cannot be read ({one_line(error)}); export or "
            f"convert the network to ONNX again"
        ) from error
    if not model.graph.node:
        raise NetworkError(f"{path}: expected an ONNX network, found a file without operators")
    _load_external(model, path)
    return model


def external_files(path: Path) -> list[Path]:
    """The files with weights that an ONNX file names, as `read_model` reads them, each once."""
    model = onnx.load(str(path), load_external_data=False)
    return list(dict.fromkeys(_place(tensor, path)[0] for tensor in _external(model)))


def _load_external(model: onnx.ModelProto, path: Path) -> None:
    """Put external data into the model: in total no more than there is in the files."""
    tensors = list(_external(model))
    if not tensors:
        return
    # All claims are looked at before the first byte is read.
    pieces = [_place(tensor, path) for tensor in tensors]
    held = sum(file.stat().st_size for file in {file for file, _, _ in pieces})
    claimed = sum(length for _, _, length in pieces)
    if claimed > held:
        raise NetworkError(
            f"{path}: expected external data of at most {held:,} bytes, those of its files, found claims "
            f"to {claimed:,}; export the network again"
        )
    if claimed > _LARGEST_MODEL:
        raise NetworkError(
            f"{path}: expected a network of at most {_LARGEST_MODEL:,} bytes, found external data of {claimed:,}; "
            f"export it in half precision"
        )
    for tensor, (file, offset, length) in zip(tensors, pieces, strict=True):
        with file.open("rb") as stream:
            stream.seek(offset)
            tensor.raw_data = stream.read(length)
        del tensor.external_data[:]
        tensor.data_location = TensorProto.DEFAULT


def _place(tensor: onnx.TensorProto, path: Path) -> tuple[Path, int, int]:
    """File, offset and length of a tensor's external data. NetworkError unless all of it is in the folder's file."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    where = f"{path}: weight '{tensor.name}'"
    file = _inside(path.parent, entries.get("location", ""), where)
    try:
        size = math.prod(tensor.dims) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        offset = int(entries.get("offset", 0))
        length = int(entries.get("length", size))
    except (KeyError, TypeError, ValueError) as error:
        raise NetworkError(f"{where}: expected the place of its external data, found {in_short(entries)}") from error
    if length != size or not 0 <= offset <= offset + length <= file.stat().st_size:
        raise NetworkError(
            f"{where}: expected {size:,} bytes of external data inside {file.name} ({file.stat().st_size:,} bytes), "
            f"found a claim to {length:,} from {offset:,} on; export the network again"
        )
    return file, offset, length


def _inside(folder: Path, location: str, where: str) -> Path:
    """A file that lies in a folder. NetworkError if the location leads out of it, or there is none."""
    if not location or not location.isprintable():
        raise NetworkError(f"{where}: expected the name of a file with its data, found {in_short(location)}")
    try:
        file = (folder / location).resolve()
        leaves = Path(location).is_absolute() or not file.is_relative_to(folder.resolve())
        there = file.is_file()
    except (OSError, RuntimeError) as error:  # links in a circle, names too long
        raise NetworkError(f"{where}: its external data '{location}' cannot be found ({one_line(error)})") from error
    if leaves:
        raise NetworkError(
            f"{where}: expected external data in the folder of the network, found '{location}', which leads elsewhere; "
            f"put the file beside the network, and save the network with that name"
        )
    if not there:
        raise NetworkError(
            f"{where}: expected its external data in {file}, found no such file; put it beside the network"
        )
    return file


def _external(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Tensors whose data lie in other files."""
    tensors = [
        *_of_graph(model.graph),
        *(tensor for function in model.functions for tensor in _of_nodes(function.node)),
    ]
    return (tensor for tensor in tensors if tensor.data_location == TensorProto.EXTERNAL)


def _of_graph(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                yield from _of_graph(attribute.g)
            elif attribute.type == AttributeProto.GRAPHS:
                for graph in attribute.graphs:
                    yield from _of_graph(graph)
            else:
                yield from (tensor for tensor in (attribute.t, *attribute.tensors) if tensor.ByteSize())

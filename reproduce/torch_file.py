"""Trained weights out of a .pth file of the old torch format, without torch and without running what is in it.

The file is five pickles (magic number, protocol, system information, state dict, keys of the storages) and then the
storages: for each key the number of elements as int64 and the elements, little endian.
"""

from __future__ import annotations

import collections
import hashlib
import io
import pickle  # of bytes known by their hash; nothing is admitted that could act  # nosec B403
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from predict_diff.errors import NetworkError

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001


class _Storage(NamedTuple):
    dtype: np.dtype[Any]
    key: str
    size: int


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _rebuild_tensor(storage: _Storage, offset: int, shape: Any, strides: Any, *_: object) -> _Tensor:
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


#: All that a pickle in the file may name.
_ADMITTED: dict[str, Callable[..., Any] | np.dtype[Any]] = {
    "collections.OrderedDict": collections.OrderedDict,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch.FloatStorage": np.dtype("<f4"),
    "torch.DoubleStorage": np.dtype("<f8"),
    "torch.HalfStorage": np.dtype("<f2"),
    "torch.LongStorage": np.dtype("<i8"),
    "torch.IntStorage": np.dtype("<i4"),
    "torch.ShortStorage": np.dtype("<i2"),
    "torch.CharStorage": np.dtype("i1"),
    "torch.ByteStorage": np.dtype("u1"),
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ADMITTED[f"{module}.{name}"]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is not admitted") from None

    def persistent_load(self, pid: Any) -> _Storage:
        match pid:
            case ("storage", np.dtype() as dtype, str(key), str(), int(size), None) if size >= 0:
                return _Storage(dtype, key, size)
        raise pickle.UnpicklingError("a storage of an unknown kind")


def read_state_dict(path: Path, sha256: str, size: int) -> dict[str, NDArray[Any]]:
    """Read the arrays of a .pth file.

    Parameters
    ----------
    path : Path
        The file.
    sha256, size : str, int
        What it must be: nothing is unpickled before that is so.

    Returns
    -------
    dict of str to ndarray
        The state dict, each array contiguous and with the axes it has in torch.

    Raises
    ------
    NetworkError
        If the file cannot be read, is another one, or is not a state dict.
    """
    data = _verified(path, sha256, size)
    stream = io.BytesIO(data)
    try:
        # S301: the bytes are known by their hash, and the unpickler admits nothing that could act.
        magic, protocol, _, tensors, keys = (_Unpickler(stream).load() for _ in range(5))
        if (magic, protocol) != (_MAGIC, _PROTOCOL):
            raise ValueError("another magic number or protocol")
        storages = _storages(stream, tensors, keys)
        return {str(name): _array(storages[tensor.storage.key], tensor) for name, tensor in tensors.items()}
    # An unpickler can raise anything.
    except Exception as reason:
        raise NetworkError(
            f"{path}: expected a state dict in torch's format of before 1.6, found something else "
            f"({' '.join(str(reason).split()) or type(reason).__name__}); install its package again"
        ) from reason


def _verified(path: Path, sha256: str, size: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(size + 1)
    except OSError as reason:
        raise NetworkError(
            f"{path}: expected a file of {size:,} bytes, found: {reason.strerror}; install its package again"
        ) from reason
    found = hashlib.sha256(data).hexdigest()
    if len(data) != size or found != sha256:
        length = f"more than {size:,}" if len(data) > size else f"{len(data):,}"
        raise NetworkError(
            f"{path}: expected {size:,} bytes with SHA-256 {sha256}, found {length} bytes with SHA-256 {found}; "
            f"install its package again"
        )
    return data


def _storages(stream: io.BytesIO, tensors: dict[str, _Tensor], keys: list[str]) -> dict[str, NDArray[Any]]:
    declared = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    if len(set(keys)) != len(keys) or set(keys) != set(declared):
        raise ValueError("storages and tensors do not agree")
    storages = {}
    for key in keys:
        length = int.from_bytes(stream.read(8), "little", signed=True)
        dtype = declared[key].dtype
        if length != declared[key].size:
            raise ValueError(f"storage {key} holds {length} elements instead of {declared[key].size}")
        data = stream.read(length * dtype.itemsize)
        if len(data) != length * dtype.itemsize:
            raise ValueError(f"storage {key} is truncated")
        storages[key] = np.frombuffer(data, dtype)
    if stream.read(1):
        raise ValueError("bytes after the last storage")
    return storages


def _array(storage: NDArray[Any], tensor: _Tensor) -> NDArray[Any]:
    sizes, strides, offset = tensor.shape, tensor.strides, tensor.offset
    if len(sizes) != len(strides) or min((offset, *sizes, *strides)) < 0:
        raise ValueError("a tensor of an impossible shape")
    last = offset + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))
    if 0 in sizes or last >= len(storage) or np.prod(sizes, dtype=object) > len(storage):
        raise ValueError("a tensor reaches beyond its storage")
    byte_strides = [stride * storage.itemsize for stride in strides]
    # Converted from TensorFlow, these weights are transposed views: the strides matter.
    return np.ascontiguousarray(np.lib.stride_tricks.as_strided(storage[offset:], sizes, byte_strides))

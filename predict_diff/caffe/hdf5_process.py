"""Reads HDF5 weights in a process of its own: damage in a file can crash the HDF5 library.

Started by `hdf5` as a script, with the number of bytes of arrays allowed. Takes the file as standard input, writes the
same weights as a .caffemodel to standard output. What is wrong with the file goes to standard error, with exit code 2.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from math import prod
from pathlib import Path
from typing import BinaryIO

import h5py
import numpy as np

_GROUPS_AT_MOST = 20_000
_DEPTH_AT_MOST = 8  # of "/" in a layer's name
_MEMORY_BESIDES = 2**28  # bytes
_BYTES_A_SECOND = 20 * 10**6  # any processor reads more

# Numbers of fields: NetParameter, LayerParameter, BlobProto, BlobShape.
_NET_NAME, _LAYER = 1, 100
_NAME, _BLOBS = 1, 7
_DATA, _SHAPE = 5, 7
_DIM = 1


Part = bytes | memoryview


class WeightsError(Exception):
    """What was found where weights were expected, and what to do."""


def main(source: BinaryIO, target: BinaryIO, bytes_allowed: int) -> None:
    """Rewrite a file.

    Raises
    ------
    WeightsError
        If it is damaged or not such a weights file, links outwards, or holds anything but floating-point arrays of a
        bounded size.
    """
    try:
        with h5py.File(source, "r") as root:
            # Not `in`, which would follow a link to see whether there is anything at its end.
            if root.get("data", getlink=True, default=None) is None:
                raise WeightsError("no group /data; save the network with Caffe's save_hdf5")
            target.writelines(_field(_NET_NAME, []))
            walk = _Walk(bytes_allowed)
            for name, blobs in walk.layers(walk.member(root, "data")):
                target.writelines(_field(_LAYER, [*_field(_NAME, [name.encode()]), *blobs]))
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError) as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(
            f"one that HDF5 cannot read ({reason}); it is truncated or damaged: fetch it again"
        ) from None


class _Walk:
    """What is left of the allowances while a file is walked."""

    def __init__(self, bytes_left: int) -> None:
        self.bytes_left = bytes_left
        self.groups_left = _GROUPS_AT_MOST

    def layers(self, group: h5py.Group, name: str = "", depth: int = 0) -> Iterator[tuple[str, list[Part]]]:
        """Name and serialised blobs of each layer; one whose name has slashes is a group inside groups."""
        self.groups_left -= 1
        # A group may be linked into itself.
        if depth > _DEPTH_AT_MOST or self.groups_left < 0 or len(group) > _GROUPS_AT_MOST:
            raise WeightsError("more groups than a network has layers; save it with Caffe's save_hdf5")
        members = {key: self.member(group, key) for key in group}
        arrays = {key: member for key, member in members.items() if isinstance(member, h5py.Dataset)}
        groups = {key: member for key, member in members.items() if isinstance(member, h5py.Group)}
        if name and (arrays or not groups):
            yield name, self._blobs(arrays, name)
        for key, member in groups.items():
            yield from self.layers(member, f"{name}/{key}" if name else key, depth + 1)

    def member(self, group: h5py.Group, key: str) -> h5py.Group | h5py.Dataset:
        """A member of a group that lies in the file itself."""
        if not isinstance(group.get(key, getlink=True), h5py.HardLink):
            raise WeightsError(f"a link at {group.name}/{key}; copy what it points to into the file")
        return group[key]

    def _blobs(self, arrays: dict[str, h5py.Dataset], layer: str) -> list[Part]:
        expected = [str(index) for index in range(len(arrays))]
        if set(expected) != set(arrays):
            # Caffe: save_hdf5 leaves shared parameters out but under their owner.
            raise WeightsError(
                f"layer {layer!r} with arrays {', '.join(sorted(arrays)[:8])} where 0 to {len(arrays) - 1} should be; "
                "save networks with shared parameters as .caffemodel"
            )
        blobs = [self._blob(arrays[key], f"layer {layer!r}, blob {key}") for key in expected]
        return [part for blob in blobs for part in _field(_BLOBS, blob)]

    def _blob(self, array: h5py.Dataset, label: str) -> list[Part]:
        if array.external or array.is_virtual:
            raise WeightsError(f"{label} stored in another file; copy it into the file")
        if array.dtype.kind != "f" or array.dtype.itemsize > 8:
            raise WeightsError(f"{label} of type {array.dtype}; store it as float32")
        if array.shape is None or 0 in array.shape:
            raise WeightsError(f"{label} without values; fetch the file again")
        # Counted as read, before it is: sizes are free to state, and compressed arrays expand.
        self.bytes_left -= prod(array.shape) * array.dtype.itemsize
        if self.bytes_left < 0:
            raise WeightsError(f"{label} of shape {array.shape}, beyond what such a file holds; fetch it again")
        with np.errstate(
            over="ignore", invalid="ignore"
        ):  # A double beyond float32 becomes infinite, and is refused as that.
            values = np.asarray(array[()], "<f4")
        dims = _field(_DIM, [b"".join(map(_varint, array.shape))])
        return [*_field(_SHAPE, dims), *_field(_DATA, [values.reshape(-1).view(np.uint8).data])]


def _field(number: int, parts: list[Part]) -> list[Part]:
    """A protocol buffers field of bytes, in parts: the arrays among them are large."""
    return [_varint(number << 3 | 2), _varint(sum(map(len, parts))), *parts]


def _varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])


def _limit_work(size: int, bytes_allowed: int) -> None:
    """Damage can also keep HDF5 busy for ever, or unpack one chunk to anything. Waiting for a disk does not count."""
    with suppress(ImportError):  # Windows
        import resource

        seconds = 6 + size // _BYTES_A_SECOND
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        with suppress(OSError):  # macOS
            pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
            # An array is there twice while it becomes float32, and the library holds what it reads of it.
            memory = pages * os.sysconf("SC_PAGE_SIZE") + 3 * bytes_allowed + _MEMORY_BESIDES
            resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


if __name__ == "__main__":
    allowed = int(sys.argv[1])
    _limit_work(os.fstat(0).st_size, allowed)
    try:
        main(sys.stdin.buffer, sys.stdout.buffer, allowed)
    except WeightsError as problem:
        sys.stderr.buffer.write(str(problem).encode("utf-8", "backslashreplace"))
        sys.exit(2)

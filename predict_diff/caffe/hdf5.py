"""Weights in HDF5: ``/data/<layer>/<i>``, what Caffe's ``save_hdf5`` writes."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from ..errors import ConversionError
from .files import EXPANSION_AT_MOST, FILE_AT_MOST, OpenFile
from .wire import all_finite

_GROUPS_AT_MOST = 20_000
_DEPTH_AT_MOST = 8  # of "/" in a layer's name


def read_layers(file: OpenFile, path: Path) -> Iterator[tuple[str, list[NDArray[np.float32]]]]:
    """The layers of an HDF5 weights file, in the file's order.

    A layer whose name has slashes is a group inside groups. Links that leave the file are not followed.

    Parameters
    ----------
    file : OpenFile
    path : Path
        Its name, for messages.

    Yields
    ------
    name : str
    blobs : list of ndarray, float32

    Raises
    ------
    ConversionError
        If the file is damaged or not such a weights file, links outwards, or holds anything but finite
        floating-point arrays of a bounded size.
    """
    try:
        with h5py.File(file.stream, "r") as root:
            if "data" not in root:
                raise _error(path, "no group /data", "save the network with Caffe's save_hdf5")
            walk = _Walk(path, min(FILE_AT_MOST, EXPANSION_AT_MOST * file.size))
            yield from walk.layers(walk.member(root, "data"))
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError) as error:
        found = f"one that HDF5 cannot read ({' '.join(str(error).split())[:200]})"
        raise _error(path, found, "it is truncated or damaged: fetch it again") from None


class _Walk:
    """What is left of the allowances while a file is walked."""

    def __init__(self, path: Path, bytes_left: int) -> None:
        self.path = path
        self.bytes_left = bytes_left
        self.groups_left = _GROUPS_AT_MOST

    def layers(
        self, group: h5py.Group, name: str = "", depth: int = 0
    ) -> Iterator[tuple[str, list[NDArray[np.float32]]]]:
        self.groups_left -= 1
        # A group may be linked into itself.
        if depth > _DEPTH_AT_MOST or self.groups_left < 0:
            raise _error(self.path, "more groups than a network has layers", "save it with Caffe's save_hdf5")
        members = {key: self.member(group, key) for key in group}
        arrays = {key: member for key, member in members.items() if isinstance(member, h5py.Dataset)}
        groups = {key: member for key, member in members.items() if isinstance(member, h5py.Group)}
        if name and (arrays or not groups):
            yield name, self._blobs(arrays, name)
        for key, member in groups.items():
            yield from self.layers(member, f"{name}/{key}" if name else key, depth + 1)

    def member(self, group: h5py.Group, key: str) -> h5py.Group | h5py.Dataset:
        if not isinstance(group.get(key, getlink=True), h5py.HardLink):
            raise _error(self.path, f"a link at {group.name}/{key}", "copy what it points to into the file")
        return group[key]

    def _blobs(self, arrays: dict[str, h5py.Dataset], layer: str) -> list[NDArray[np.float32]]:
        expected = [str(index) for index in range(len(arrays))]
        if set(expected) != set(arrays):
            # Caffe: save_hdf5 leaves shared parameters out but under their owner.
            raise _error(
                self.path,
                f"layer {layer!r} with arrays {', '.join(sorted(arrays)[:8])} where 0 to {len(arrays) - 1} should be",
                "save networks with shared parameters as .caffemodel",
            )
        return [self._blob(arrays[key], f"layer {layer!r}, blob {key}") for key in expected]

    def _blob(self, array: h5py.Dataset, label: str) -> NDArray[np.float32]:
        if array.external or array.is_virtual:
            raise _error(self.path, f"{label} stored in another file", "copy it into the file")
        if array.dtype.kind != "f" or array.dtype.itemsize > 8:
            raise _error(self.path, f"{label} of type {array.dtype}", "store it as float32")
        if array.shape is None or 0 in array.shape:
            raise _error(self.path, f"{label} without values", "fetch the file again")
        # Counted as read, before it is: sizes are free to state, and compressed arrays expand.
        self.bytes_left -= prod(array.shape) * array.dtype.itemsize
        if self.bytes_left < 0:
            raise _error(self.path, f"{label} of shape {array.shape}, beyond what such a file holds", "fetch it again")
        with np.errstate(over="ignore"):  # A double beyond float32 becomes infinite, and is refused as that.
            values = np.asarray(array[()], np.float32)
        if not all_finite(values.ravel()):
            raise _error(self.path, f"NaN or infinity in {label}", "fetch the file again")
        return values


def _error(path: Path, found: str, advice: str) -> ConversionError:
    return ConversionError(f"{path}: expected a Caffe weights file (HDF5), found {found}; {advice}")

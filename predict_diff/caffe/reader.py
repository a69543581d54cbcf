"""Read Caffe's files: descriptions (prototxt), weights (caffemodel, HDF5) and means (binaryproto, npy).

The files come from strangers' servers: sizes are checked before anything is allocated, nothing is unpickled, and
whatever is wrong with a file ends in a one-line ConversionError.
"""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import ConversionError
from . import caffe_pb2, hdf5, prototxt, upgrade
from .caffe_pb2 import LayerParameter, NetParameter, V0LayerParameter, V1LayerParameter
from .files import HDF5, NPY, OpenFile, expect_short_lines, is_text, open_file, refuse_foreign
from .v0 import V0_TYPES, UpgradeError
from .wire import LENGTH, VARINT, Wire, all_finite, read_blob

_DESCRIPTION_AT_MOST = 2 * 2**20  # bytes; descriptions of networks with a thousand layers have less than one million
_MEAN_AT_MOST = 2**28

_DESCRIPTION = "a Caffe description (prototxt)"
_WEIGHTS = "a Caffe weights file (caffemodel)"
_MEAN = "a mean (binaryproto or npy)"


@dataclass(frozen=True)
class Description:
    """A network as its prototxt describes it.

    Attributes
    ----------
    net : NetParameter
        In the current form, with the layers of phase TEST only.
    path : Path
        The file.
    sha256 : str
        Of the file's bytes.
    lines : dict of str to int
        Layer name -> 1-based line on which its block starts, for messages.
    """

    net: NetParameter
    path: Path
    sha256: str
    lines: dict[str, int]

    @classmethod
    def from_text(cls, text: str, name: str = "<text>") -> Description:
        """Parse a description from a string.

        Parameters
        ----------
        text : str
        name : str
            Stands for the file's name in messages.

        Raises
        ------
        ConversionError
            If the text is not a description, or one that Caffe would refuse.
        """
        return cls._parse(text, Path(name), hashlib.sha256(text.encode()).hexdigest())

    @classmethod
    def _parse(cls, text: str, path: Path, sha256: str) -> Description:
        expect_short_lines(text, path)
        written, layout = prototxt.parse(text, str(path))
        lines: dict[str, int] = {}
        try:
            lines = _lines(written, layout)
            net = upgrade.upgrade(written)
            if written.input and not any(layer.type == "Input" for layer in net.layer):
                raise UpgradeError("expected input_dim or input_shape beside input, found neither", "input")
            if not net.layer:
                raise UpgradeError("expected layers, found none")
            net = upgrade.for_phase(net)
        except UpgradeError as error:
            line = lines.get(error.layer)
            raise ConversionError(f"{path}:{line}: {error}" if line else f"{path}: {error}") from None
        return cls(net, path, sha256, lines)

    def where(self, layer: str) -> str:
        """``deploy.prototxt:12`` for a layer that starts on line 12; the file alone for an unknown one."""
        line = self.lines.get(layer)
        return f"{self.path}:{line}" if line else str(self.path)


@dataclass(frozen=True)
class LayerWeights:
    """What a weights file holds of one layer.

    Attributes
    ----------
    name : str
    type : str
        Current type name, such as "Convolution"; empty where the file has none.
    blobs : list of ndarray, float32
        With the shapes that the file states: files of before 2015 have four axes, ``(1, 1, 1, n)`` for a bias. May be
        read-only, unaligned views of the file.
    """

    name: str
    type: str
    blobs: list[NDArray[np.float32]]


@dataclass(frozen=True)
class Weights:
    """A weights file.

    Attributes
    ----------
    path : Path
    sha256 : str
        Of the file's bytes.
    layers : dict of str to LayerWeights
        By name, in file order; layers without weights too.
    """

    path: Path
    sha256: str
    layers: dict[str, LayerWeights]


def read_description(path: str | Path) -> Description:
    """Read a prototxt of any generation.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    Description

    Raises
    ------
    ConversionError
        If the file cannot be read, is not a description, or is one that Caffe would refuse.
    """
    path = Path(path)
    with open_file(path, _DESCRIPTION, _DESCRIPTION_AT_MOST) as file:
        refuse_foreign(file.head, path, _DESCRIPTION)
        raw = file.stream.read()
    return Description._parse(prototxt.decode(raw, str(path)), path, file.sha256)


def read_weights(path: str | Path, sha256: str | None = None) -> Weights:
    """Read a weights file: binary protobuf of any generation or HDF5, as it is or gzipped.

    The file's content decides, not its name. A caffemodel is mapped, not loaded: arrays are views of the file
    where it holds packed single-precision numbers, as all of Caffe's do.

    Parameters
    ----------
    path : str or Path
    sha256 : str, optional
        What the file must have; nothing is parsed before that is so.

    Returns
    -------
    Weights

    Raises
    ------
    ConversionError
        If the file cannot be read, has another SHA-256, is damaged or of another kind, names a layer with weights
        twice, or holds an array that is impossible or not finite.
    """
    path = Path(path)
    layers: dict[str, LayerWeights] = {}
    with open_file(path, _WEIGHTS, sha256=sha256) as file:
        for layer in _layers(_binary(file, path)):
            present = layers.get(layer.name)
            if present is not None and (present.blobs or layer.blobs):
                raise ConversionError(
                    f"{path}: expected one layer of each name, found {layer.name!r} with weights more than once; "
                    "rename the layers and save the weights again"
                )
            layers.setdefault(layer.name, layer)
    if not layers:
        raise ConversionError(f"{path}: expected {_WEIGHTS}, found no layers; fetch the file again")
    return Weights(path, file.sha256, layers)


def read_mean(path: str | Path) -> NDArray[np.float32]:
    """Read the mean of the training photos.

    Parameters
    ----------
    path : str or Path
        A .binaryproto, or an .npy with axes (C, H, W), (1, C, H, W) or (C,).

    Returns
    -------
    ndarray, shape (C, H, W), float32
        In the network's channel order, BGR for Caffe's networks, in grey levels (0-255). (C, 1, 1) where the file
        holds one value a channel.

    Raises
    ------
    ConversionError
        If the file cannot be read, is damaged or of another kind, or holds anything but finite numbers with such axes.
    """
    path = Path(path)
    with open_file(path, _MEAN, _MEAN_AT_MOST) as file:
        if file.head.startswith(NPY):
            mean = _read_npy(file, path)
        else:
            refuse_foreign(file.head, path, _MEAN)
            wire = Wire(_mapped(file.stream), path, _MEAN)
            mean = read_blob(wire, 0, len(wire), "the mean")
    if mean.ndim == 4 and len(mean) == 1:
        mean = mean[0]
    if mean.ndim == 1:
        mean = mean[:, None, None]
    if mean.ndim != 3:
        raise ConversionError(
            f"{path}: expected a mean with axes (C, H, W), found shape {mean.shape}; give one photo's mean"
        )
    return mean


def _lines(net: NetParameter, layout: prototxt.Layout) -> dict[str, int]:
    """Layer name -> line. Where rules choose among layers of one name, the one that runs in phase TEST counts."""
    state = caffe_pb2.NetState(phase=upgrade.TEST, stage=net.state.stage)
    lines: dict[str, int] = {} if layout.input is None else {"input": layout.input}
    # A description with both kinds of entries is refused by upgrade.
    written = list(zip(net.layer or net.layers, layout.layers, strict=False))
    for layer, line in sorted(written, key=lambda entry: not upgrade.belongs(entry[0], state)):
        lines.setdefault(upgrade.layer_name(layer), line)
    return lines


def _binary(file: OpenFile, path: Path) -> Wire:
    """A weights file as protocol buffers, whatever its format."""
    if file.head.startswith(HDF5):
        with hdf5.as_caffemodel(file, path) as caffemodel:
            return Wire(_mapped(caffemodel), path, hdf5.EXPECTED)
    refuse_foreign(file.head, path, _WEIGHTS)
    if is_text(file.head):
        raise ConversionError(
            f"{path}: expected {_WEIGHTS}, found a text: a description? Give the .caffemodel as weights"
        )
    return Wire(_mapped(file.stream), path, _WEIGHTS)


def _mapped(stream: BinaryIO) -> mmap.mmap:
    return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)


def _layers(wire: Wire) -> Iterator[LayerWeights]:
    """The layers of a binary NetParameter, in file order."""
    generations = {NetParameter.LAYER_FIELD_NUMBER: LayerParameter, NetParameter.LAYERS_FIELD_NUMBER: V1LayerParameter}
    first = None
    for number, kind, start, stop in wire.fields(0, len(wire)):
        if kind != LENGTH or number not in generations:
            continue
        first = first or number
        if number != first:
            raise wire.error("layers of two generations")  # Caffe refuses them too.
        yield _layer(wire, start, stop, generations[number])


def _layer(wire: Wire, begin: int, end: int, message: Any) -> LayerWeights:
    """One layer of any generation; V0 messages lie inside V1 messages."""
    name, type_name = "", ""
    blobs: list[tuple[int, int]] = []
    for number, kind, start, stop in wire.fields(begin, end):
        if message is V1LayerParameter and number == V1LayerParameter.LAYER_FIELD_NUMBER and kind == LENGTH:
            return _layer(wire, start, stop, V0LayerParameter)
        if number == message.NAME_FIELD_NUMBER and kind == LENGTH:
            name = wire.text(start, stop)
        elif number == message.BLOBS_FIELD_NUMBER and kind == LENGTH:
            blobs.append((start, stop))
        elif number == message.TYPE_FIELD_NUMBER and kind == (VARINT if message is V1LayerParameter else LENGTH):
            type_name = _type_name(wire, start, stop, message)
    arrays = [read_blob(wire, *place, f"layer {name!r}, blob {index}") for index, place in enumerate(blobs)]
    return LayerWeights(name, type_name, arrays)


def _type_name(wire: Wire, begin: int, end: int, message: Any) -> str:
    if message is V1LayerParameter:
        return upgrade.v1_type(next(wire.integers(begin, end)))
    written = wire.text(begin, end)
    return written if message is LayerParameter else upgrade.V1_TYPES[V0_TYPES.get(written, "NONE")]


def _read_npy(file: OpenFile, path: Path) -> NDArray[np.float32]:
    """An .npy file, its stated size checked against the file's before anything is allocated."""
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        shape, fortran_order, dtype = readers[np.lib.format.read_magic(file.stream)](file.stream)
    except Exception:  # The header is Python text, and NumPy's parser of it raises what Python's do.
        raise ConversionError(f"{path}: expected {_MEAN}, found a damaged npy header; fetch it again") from None
    left = file.size - file.stream.tell()
    if dtype.kind not in "fiu" or any(size < 1 for size in shape) or prod(shape) * dtype.itemsize != left:
        raise ConversionError(
            f"{path}: expected {_MEAN}, found {left:,} bytes of {dtype} with shape {shape}; save it again as float32"
        )
    with np.errstate(
        over="ignore", invalid="ignore"
    ):  # A double beyond float32 becomes infinite, and is refused as that.
        values = np.frombuffer(file.stream.read(), dtype).astype(np.float32)
    if not all_finite(values):
        raise ConversionError(f"{path}: expected finite numbers, found NaN or infinity; fetch it again")
    return values.reshape(shape, order="F" if fortran_order else "C")

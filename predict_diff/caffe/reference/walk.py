"""Layer after layer through a description, with Caffe's bookkeeping of blobs that are overwritten in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ConversionError, closest
from ..caffe_pb2 import LayerParameter, NetParameter
from .base import Array, Stored, Tops
from .table import FED, LEFT_OUT, LOSSES, TYPES


def run(
    net: NetParameter, weights: Mapping[str, Sequence[NDArray[Any]]], inputs: Mapping[str, NDArray[Any]]
) -> dict[str, Array]:
    """Compute every blob of a network.

    Parameters
    ----------
    net : NetParameter
        In the current form, with the layers of phase TEST only.
    weights : mapping of str to sequence of ndarray
        Blobs by layer name, in the order of the weights file.
    inputs : mapping of str to ndarray
        What the input blobs hold.

    Returns
    -------
    dict of str to ndarray, float64
        Each blob with the value that its last layer left. What a layer put out before a later one overwrote it in
        place has the layer's name or, if a blob has that name, ``blob@layer``.

    Raises
    ------
    ConversionError
        If a layer has a type that the reading does not know, lacks a bottom or weights, or cannot be computed.
    """
    stored = stored_blobs(net, weights)
    last = last_writers(net)
    blobs: dict[str, Array] = {}
    overwritten: list[tuple[str, str, Array]] = []
    for index, layer in enumerate(net.layer):
        bottoms = _bottoms(layer, blobs)
        for top, value in zip(layer.top, apply(layer, bottoms, stored[index], inputs), strict=False):
            if value is None:
                continue
            blobs[top] = value
            if last[top] != index:
                overwritten.append((layer.name, top, value))
    values = dict(blobs)
    for name, top, value in overwritten:
        values[name if name and name not in values else f"{top}@{name}"] = value
    return values


def apply(
    layer: LayerParameter, bottoms: Sequence[NDArray[Any]], stored: Stored, inputs: Mapping[str, NDArray[Any]]
) -> Tops:
    """What one layer puts out, one value for each top; None, or nothing, where it is no part of the network.

    Raises
    ------
    ConversionError
        If its type is unknown, or it cannot be computed.
    """
    if layer.type in FED:
        return [np.asarray(inputs[top], np.float64) if top in inputs else None for top in layer.top]
    if layer.type in LEFT_OUT:
        return []
    if not knows(layer):
        raise ConversionError(
            f"layer '{layer.name}': expected a type that the NumPy reading knows, found '{layer.type}'"
            f"{closest(layer.type, TYPES)}"
        )
    try:
        with np.errstate(all="ignore"):  # What overflows in Caffe does so here.
            return TYPES[layer.type](layer, [np.asarray(bottom, np.float64) for bottom in bottoms], stored)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        # What NumPy raises where sizes do not fit together.
        raise ConversionError(
            f"layer '{layer.name}' ({layer.type}): expected sizes and weights that fit together, found bottoms of "
            f"{[bottom.shape for bottom in bottoms]} and weights of {[blob.shape for blob in stored]} "
            f"({' '.join(str(error).split())[:100]})"
        ) from error


def knows(layer: LayerParameter) -> bool:
    """Whether the reading has the layer's type."""
    return layer.type in TYPES or layer.type in FED or layer.type in LEFT_OUT


def stored_blobs(net: NetParameter, weights: Mapping[str, Sequence[NDArray[Any]]]) -> list[list[NDArray[Any]]]:
    """The blobs of each layer.

    Caffe: a file's layers are matched by name with the first layer that has it. Blobs whose `param` have one name are
    one blob, which is what the last of the file's layers that has it says.
    """
    places: dict[str, int] = {}
    for index, layer in enumerate(net.layer):
        places.setdefault(layer.name, index)

    def key(index: int, position: int) -> str | tuple[int, int]:
        settings = net.layer[index].param
        return (settings[position].name if position < len(settings) else "") or (index, position)

    blobs: dict[str | tuple[int, int], NDArray[Any]] = {}
    for name, arrays in weights.items():
        if name in places:
            blobs.update({key(places[name], position): array for position, array in enumerate(arrays)})
    found: list[list[NDArray[Any]]] = []
    for index in range(len(net.layer)):
        found.append([])
        while (blob := blobs.get(key(index, len(found[-1])))) is not None:
            found[-1].append(blob)
    return found


def last_writers(net: NetParameter) -> dict[str, int]:
    """Index of the last layer that writes each blob."""
    return {top: index for index, layer in enumerate(net.layer) for top in layer.top}


def last_readers(net: NetParameter) -> dict[str, int]:
    """Index of the last layer that reads each blob."""
    return {bottom: index for index, layer in enumerate(net.layer) for bottom in layer.bottom}


def wanted_bottoms(layer: LayerParameter) -> list[str]:
    """The bottoms that a layer computes its tops from; a softmax needs no label."""
    if layer.type in FED or layer.type in LEFT_OUT:
        return []
    return list(layer.bottom[:1] if layer.type in LOSSES else layer.bottom)


def _bottoms(layer: LayerParameter, blobs: Mapping[str, Array]) -> list[Array]:
    for bottom in wanted_bottoms(layer):
        if bottom not in blobs:
            raise ConversionError(
                f"layer '{layer.name}': expected a blob '{bottom}' to read, found none; give all inputs"
            )
    return [blobs[bottom] for bottom in wanted_bottoms(layer)]

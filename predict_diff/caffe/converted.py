"""A converted network as its check sees it: Caffe's names on one side, values of ONNX Runtime on the other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import chain
from math import prod

import numpy as np
import onnx
from numpy.typing import NDArray

from ..errors import ConversionError
from ..network.graphs import prune
from ..network.runtime import make_session, run_session
from .reader import Description, Weights
from .reference import FED, LEFT_OUT, LOSSES
from .reference.inputs import InputShape

#: Numbers of blobs that are computed, and held, together: half a gigabyte.
_NUMBERS_AT_ONCE = 1 << 27


class Converted:
    """A converted network that is being checked.

    Parameters
    ----------
    model : onnx.ModelProto
    description : Description
    weights : Weights
        What it was converted from.

    Attributes
    ----------
    name : str
        Of the network.
    blobs : list of str
        Names of all blobs, which are values of the model.
    inputs : dict of str to tuple of int or None
        Shapes of the input blobs, under Caffe's names; the batch's size is None.
    overwritten : list of str
        Input blobs that a layer overwrites in place.
    outputs : list of str
        Blobs that the network puts out.
    tops : list of list of str or None
        For each layer of the description, the value that each of its tops is in the model; None if it is left out.

    Raises
    ------
    ConversionError
        If the model was not converted from these files.
    """

    def __init__(self, model: onnx.ModelProto, description: Description, weights: Weights) -> None:
        self._model = model
        self.blobs, names = _names(model, description, weights)
        self.name = str(model.graph.name)
        self.outputs = [str(value.name) for value in model.graph.output]
        self._shapes = {info.name: _shape(info) for info in (*model.graph.value_info, *model.graph.output)}
        stored = {tensor.name for tensor in model.graph.initializer}
        fed = {info.name: _shape(info) for info in model.graph.input if info.name not in stored}
        self.tops = _tops(description, names, set(fed))
        self._fed_as: dict[str, str] = {}
        for layer, values in zip(description.net.layer, self.tops, strict=True):
            if layer.type in FED:
                self._fed_as |= {top: value for top, value in zip(layer.top, values, strict=True) if value}
        self.inputs: dict[str, InputShape] = {blob: fed[value] for blob, value in self._fed_as.items()}
        self.overwritten = [blob for blob, value in self._fed_as.items() if value != blob]
        self._feeds: dict[str, NDArray[np.float32]] = {}
        self._batch = 1
        self._values: dict[str, NDArray[np.float32]] = {}

    def numbers_a_photo(self) -> int:
        """Of all blobs together."""
        return sum(prod(size or 1 for size in shape) for shape in self._shapes.values())

    def feed(self, inputs: Mapping[str, NDArray[np.float32]]) -> None:
        """Set what the network is run with."""
        self._feeds = {self._fed_as[blob]: array for blob, array in inputs.items()}
        self._batch = len(next(iter(inputs.values())))
        self._values = {}

    def value(self, name: str) -> NDArray[np.float32]:
        """A value of the model. Those after it are computed along, as many as there is room for."""
        if name in self._feeds:
            return self._feeds[name]
        if name not in self._values:
            self._values = {}
            asked = self._from(name)
            session = make_session(prune(self._model, asked), "cpu")
            self._values = dict(zip(asked, run_session(session, self._feeds), strict=True))
        return self._values[name]

    def _from(self, name: str) -> list[str]:
        """As many values from this one on as may be held together, in the order of computation."""
        made = chain.from_iterable(self.tops)
        order = list(dict.fromkeys(value for value in (*made, *self._shapes) if value and value not in self._feeds))
        asked: list[str] = []
        room = _NUMBERS_AT_ONCE
        for value in order[order.index(name) :]:
            room -= prod(size or self._batch for size in self._shapes.get(value, ()))
            if asked and room < 0:
                break
            asked.append(value)
        return asked


def _names(
    model: onnx.ModelProto, description: Description, weights: Weights
) -> tuple[list[str], dict[str, list[str]]]:
    """The blobs, and the values that each layer made; ConversionError if the model is not that of the files."""
    metadata = {str(entry.key): str(entry.value) for entry in model.metadata_props}
    for key, path, sha256 in (
        ("prototxt_sha256", description.path, description.sha256),
        ("weights_sha256", weights.path, weights.sha256),
    ):
        if metadata.get(key) != sha256:
            raise ConversionError(
                f"{path}: expected the file that the network was converted from, with SHA-256 "
                f"{metadata.get(key, 'unknown')}, found {sha256}; convert it again"
            )
    names = json.loads(metadata["caffe"])
    return list(names["blobs"]), dict(names["layers"])


def _tops(description: Description, names: dict[str, list[str]], fed: set[str]) -> list[list[str | None]]:
    left = {layer: list(values) for layer, values in names.items()}
    tops: list[list[str | None]] = []
    for layer in description.net.layer:
        values = left.get(layer.name, [])
        found: list[str | None] = []
        for index, top in enumerate(layer.top):
            if layer.type in LEFT_OUT or (layer.type in LOSSES and index == 0):
                found.append(None)
            elif layer.type in FED and not (values and _is_input(values[0], top, layer.name, fed)):
                found.append(None)  # Nothing is computed from it, such as labels.
            else:
                found.append(values.pop(0) if values else None)
        tops.append(found)
    return tops


def _is_input(value: str, top: str, layer: str, fed: set[str]) -> bool:
    """Whether a value is the input that became a top; it has another name where a layer overwrites it in place."""
    return value in fed and (value in (top, layer) or value.startswith(f"{top}@"))


def _shape(info: onnx.ValueInfoProto) -> InputShape:
    return tuple(dim.dim_value or None for dim in info.type.tensor_type.shape.dim)

"""Caffe -> ONNX: walks the description, lets each layer add its operators, names the blobs."""

from __future__ import annotations

import json
import logging
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from ..errors import ConversionError, closest
from .caffe_pb2 import LayerParameter
from .graph import BATCH, Graph, Shape, Value
from .layer import Layer, StoredBlobs
from .layers import INPUT_TYPES, LAYER_TYPES, LayerType
from .plausibility import expect_plausible, expect_same_network, near, tell_of_behaviour
from .reader import Description, Weights, read_description, read_weights

logger = logging.getLogger(__name__)

#: Changes whenever the same files would give another graph, so that converted files are made anew.
CONVERTER_VERSION = "3"

#: What converted files say made them.
PRODUCER = "predict_diff"

#: AveragePool counts padding as Caffe does from opset 22 on, on every version of ONNX Runtime.
OPSET = 22
IR_VERSION = 10


def convert(prototxt: str | Path, weights: str | Path, licence: str = "") -> onnx.ModelProto:
    """Convert a Caffe network.

    Parameters
    ----------
    prototxt : path
        The description, ``deploy.prototxt``; any generation of the format.
    weights : path
        The weights, ``.caffemodel`` or ``.caffemodel.h5``. They are matched by layer name.
    licence : str, optional
        A line on the licence of the weights, kept in the file's metadata.

    Returns
    -------
    onnx.ModelProto
        Its batch axis is symbolic. Every blob has the name and the last value that Caffe gives it; what a layer
        put out before a later layer overwrote it in place has the layer's name or, if a blob has that name,
        ``blob@layer``. The metadata hold ``caffe`` (blobs and layers, as JSON), ``caffe_layers`` (type
        and number of parameters of each layer), the SHA-256 of both inputs, the converter's version and the licence.

    Raises
    ------
    ConversionError
        If a file cannot be read, a layer type is not supported, or the two do not belong together.
    """
    return convert_read(read_description(prototxt), read_weights(weights), licence)


def convert_read(description: Description, weights: Weights, licence: str = "") -> onnx.ModelProto:
    """`convert` for files that have been read already."""
    return _convert(description, weights, licence, None)


def convert_apart(
    description: Description, weights: Weights | None, licence: str = ""
) -> tuple[onnx.ModelProto, dict[str, NDArray[Any]]]:
    """`convert_read` that leaves large weights where they are, in the mapped file.

    Parameters
    ----------
    description : Description
    weights : Weights or None
        Without weights they are imagined: zeros of the right shapes, which take no memory.

    Returns
    -------
    model : onnx.ModelProto
        Whose large initialisers have a name, a type and a shape, but no numbers.
    arrays : dict of str to ndarray
        Their numbers, by name; `predict_diff.network.model_file.write_model` puts both into one file.
    """
    arrays: dict[str, NDArray[Any]] = {}
    return _convert(description, weights, licence, arrays), arrays


def _convert(
    description: Description, weights: Weights | None, licence: str, apart: dict[str, NDArray[Any]] | None
) -> onnx.ModelProto:
    expect_plausible(description)
    if weights is not None:
        expect_same_network(description, weights)
    model = onnx.ModelProto(ir_version=IR_VERSION, opset_import=[helper.make_opsetid("", OPSET)])
    model.producer_name, model.producer_version = PRODUCER, CONVERTER_VERSION
    model.graph.name = description.net.name or description.path.stem
    walk = _Walk(description, weights, Graph(model.graph, apart=apart))
    for parameters in description.net.layer:
        walk.add(parameters)
    tell_of_behaviour(description)
    metadata = {
        "caffe": json.dumps(walk.finish()),
        "caffe_layers": json.dumps(walk.described()),
        "prototxt_sha256": description.sha256,
        "weights_sha256": weights.sha256 if weights is not None else "",
        "converter_version": CONVERTER_VERSION,
        "licence": licence,
    }
    for key, text in metadata.items():
        model.metadata_props.add(key=key, value=text)
    return model


class _Walk:
    """State of one conversion: what each blob holds at the present layer.

    Attributes
    ----------
    blobs : dict of str to Value
        What each blob holds now.
    unread : dict of str to None
        Blobs that no layer has used since they were last written: the network's outputs.
    tops : dict of str to list of (str, Value)
        What the layers of each name have made, by blob.
    """

    def __init__(self, description: Description, weights: Weights | None, graph: Graph) -> None:
        self.description = description
        self.weights = weights
        self.graph = graph
        self.inputs: list[Value] = []
        self.blobs: dict[str, Value] = {}
        self.unread: dict[str, None] = {}
        self.tops: dict[str, list[tuple[str, Value]]] = {}
        self.shared: dict[str, NDArray[np.float32]] = {}
        self.seen: set[str] = set()

    def add(self, parameters: LayerParameter) -> None:
        """Convert one layer."""
        name = str(parameters.name)
        layer = Layer(parameters, [], self._stored(parameters), self.graph, self.description.where(name))
        self.seen.add(name)
        if parameters.type in INPUT_TYPES:
            self._add_inputs(layer)
            return
        kind = LAYER_TYPES.get(parameters.type)
        if kind is None:
            known = [*LAYER_TYPES, *INPUT_TYPES]
            raise ConversionError(
                f"{layer.place}: layer '{name}': expected a supported type, found '{parameters.type}'"
                f"{closest(parameters.type, known)}; supported are {', '.join(sorted(known))}"
            )
        values = self._converted(layer, kind)
        if values is None:
            logger.info("%s: layer '%s' (%s) is left out", layer.place, name, parameters.type)
            return
        if len(values) != len(parameters.top):
            raise layer.error(f"expected {len(values)} top blob(s), found {len(parameters.top)}")
        for bottom in parameters.bottom:
            self.unread.pop(bottom, None)
        for top, bottom, value in zip_longest(parameters.top, parameters.bottom[: len(values)], values):
            # Caffe: a layer works in place if a top has the name of the bottom in the same position.
            if top in self.blobs and top != bottom:
                raise layer.error(
                    f"expected a new name for its top, found '{top}', which an earlier layer has made; only a bottom "
                    f"in the same position may be overwritten"
                )
            if value is not None:
                self._set(layer, top, value)

    def _converted(self, layer: Layer, kind: LayerType) -> list[Value | None] | None:
        low, high = kind.bottoms
        names = layer.parameters.bottom
        if not low <= len(names) <= high:
            raise layer.error(f"expected {kind.expects()} bottom blob(s), found {len(names)}")
        for bottom in names[: kind.reads]:
            if bottom not in self.blobs:
                raise layer.error(f"expected bottom blobs that exist here, found '{bottom}'{self._hint(bottom)}")
            layer.bottoms.append(self.blobs[bottom])
        values = kind.convert(layer)
        return None if values is None else list(values)

    def _hint(self, blob: str) -> str:
        later = (layer for layer in self.description.net.layer if layer.name not in self.seen and blob in layer.top)
        if (maker := next(later, None)) is not None:
            return f", which the later layer '{maker.name}' makes; put the layers in order"
        return near(blob, self.blobs) or "; no layer makes it"

    def _stored(self, parameters: LayerParameter) -> StoredBlobs:
        """The layer's weights. They are matched by name, and shared ones may be stored with their owner only."""
        if self.weights is None:
            return StoredBlobs([], "", imagined=True)
        path, name = self.weights.path, str(parameters.name)
        if name in self.seen:
            return StoredBlobs([], f"{path} is matched by name, and an earlier layer has the same name")
        found = self.weights.layers.get(name)
        arrays = list(found.blobs) if found else []
        for index, settings in enumerate(parameters.param):
            if settings.name and index < len(arrays):
                self.shared.setdefault(settings.name, arrays[index])
            elif settings.name in self.shared and index == len(arrays):
                arrays.append(self.shared[settings.name])
        if found:
            return StoredBlobs(arrays, f"{path} has {len(arrays) or 'no'} blob(s) for this layer")
        names = (layer.name for layer in self.weights.layers.values() if layer.blobs)
        return StoredBlobs(arrays, f"{path} has no layer of this name{near(name, names)}")

    def _add_inputs(self, layer: Layer) -> None:
        if layer.parameters.bottom:
            raise layer.error(f"expected no bottom blobs, found {len(layer.parameters.bottom)}")
        shapes = INPUT_TYPES[layer.parameters.type](layer)
        for top, sizes in zip(layer.parameters.top, shapes, strict=True):
            if not sizes or min(sizes) < 1 or max(sizes) > 1 << 20 or len(sizes) > 8:
                raise layer.error(
                    f"input '{top}': expected up to 8 sizes from 1 to {1 << 20}, found {list(sizes)[:10]}"
                )
            if top in self.blobs:
                raise layer.error(f"input '{top}': expected a new name, found one that an earlier layer has made")
            if not self.inputs:
                self.graph.batch = sizes[0]
            # The first axis of the first input is the batch, and of others where it has the same size.
            shape: Shape = (BATCH, *sizes[1:]) if sizes[0] == self.graph.batch else sizes
            value = Value(self.graph.fresh(top), shape)
            self.inputs.append(value)
            self._set(layer, top, value)

    def _set(self, layer: Layer, blob: str, value: Value) -> None:
        self.blobs[blob] = value
        self.unread[blob] = None
        self.tops.setdefault(layer.name, []).append((blob, value))

    def finish(self) -> dict[str, object]:
        """Name the values and close the graph; returns the names of blobs and layers."""
        self._separate_blobs()
        self._drop_unused_inputs()
        fed = set(self.inputs)
        if not fed:
            raise ConversionError(
                f"{self.description.path}: expected an Input layer, or input fields, that say how large the network's "
                f"input is, and layers that use it, found none; give the network's deploy.prototxt"
            )
        outputs = [self.blobs[blob] for blob in self.unread if self.blobs[blob] not in fed]
        if not outputs:
            raise ConversionError(
                f"{self.description.path}: expected layers that make an output, found none; give the whole description"
            )
        names = self._names()
        self.graph.rename(names)
        self._declare(names, outputs)
        layers = {layer: [names[value.name] for _, value in tops] for layer, tops in self.tops.items() if tops}
        return {"blobs": list(self.blobs), "layers": layers}

    def described(self) -> dict[str, tuple[str, int]]:
        """Type and number of parameters of each layer."""
        return {layer.name: (layer.type, self.graph.parameters[layer.name]) for layer in self.description.net.layer}

    def _separate_blobs(self) -> None:
        """Give each blob a value of its own: after a Dropout that is not in place, two have the same."""
        owners: set[Value] = set()
        for blob, value in self.blobs.items():
            if value in owners:
                copy = Value(self.graph.fresh(blob), value.shape, value.type)
                self.graph.proto.node.append(helper.make_node("Identity", [value.name], [copy.name], name=copy.name))
                self.blobs[blob] = copy
            owners.add(self.blobs[blob])

    def _drop_unused_inputs(self) -> None:
        """Leave inputs out that nothing is calculated from, such as labels."""
        used = {name for node in self.graph.proto.node for name in node.input}
        unused = {value for value in self.inputs if value.name not in used}
        self.inputs = [value for value in self.inputs if value not in unused]
        self.blobs = {blob: value for blob, value in self.blobs.items() if value not in unused}
        self.unread = {blob: None for blob in self.unread if blob in self.blobs}
        self.tops = {
            layer: [(blob, value) for blob, value in tops if value not in unused] for layer, tops in self.tops.items()
        }

    def _names(self) -> dict[str, str]:
        """The final name of each value that is, or was, a blob."""
        names = {value.name: blob for blob, value in self.blobs.items()}
        taken = set(self.blobs)
        for layer, tops in self.tops.items():
            for blob, value in tops:
                if value.name in names:
                    continue
                name = f"{blob}@{layer}" if layer in taken or not layer else layer
                while name in taken:
                    name = self.graph.fresh(f"{blob}@{layer}")
                names[value.name] = name
                taken.add(name)
        return names

    def _declare(self, names: dict[str, str], outputs: list[Value]) -> None:
        """Record shapes of inputs, outputs and all other blobs."""

        def info(value: Value) -> onnx.ValueInfoProto:
            return helper.make_tensor_value_info(names[value.name], value.type, value.shape)

        ends = {*self.inputs, *outputs}
        made = dict.fromkeys(chain((value for tops in self.tops.values() for _, value in tops), self.blobs.values()))
        self.graph.proto.input.extend(info(value) for value in self.inputs)
        self.graph.proto.output.extend(info(value) for value in outputs)
        self.graph.proto.value_info.extend(info(value) for value in made if value not in ends)

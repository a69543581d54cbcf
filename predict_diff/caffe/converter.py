"""Caffe -> ONNX: walks the description, lets each layer add its operators, names the blobs."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import onnx
from onnx import helper

from ..errors import ConversionError, closest
from . import caffe_pb2
from .graph import Graph, Layer, Shape, Value
from .layers import LAYER_TYPES
from .reader import Description, Weights, read_description, read_weights

logger = logging.getLogger(__name__)

#: Changes whenever the same files would give another graph, so that converted files are made anew.
CONVERTER_VERSION = "1"

#: AveragePool counts padding as Caffe does from opset 22 on, on every version of ONNX Runtime.
OPSET = 22
IR_VERSION = 10

#: Name of the symbolic batch axis.
BATCH = "N"


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
        ``blob@layer``. The metadata hold ``caffe`` (blobs and layers, as JSON), the SHA-256 of both inputs, the
        converter's version and the licence.

    Raises
    ------
    ConversionError
        If a file cannot be read, a layer type is not supported, or the two do not belong together.
    """
    return convert_read(read_description(prototxt), read_weights(weights), licence)


def convert_read(description: Description, weights: Weights, licence: str = "") -> onnx.ModelProto:
    """`convert` for files that have been read already."""
    walk = _Walk(description, weights)
    walk.check_that_files_belong_together()
    for parameters in description.net.layer:
        walk.add(parameters)
    graph = walk.finish()
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    model.producer_name, model.producer_version = "predict_diff", CONVERTER_VERSION
    metadata = {
        "caffe": json.dumps(walk.names),
        "prototxt_sha256": description.sha256,
        "weights_sha256": weights.sha256,
        "converter_version": CONVERTER_VERSION,
        "licence": licence,
    }
    for key, text in metadata.items():
        model.metadata_props.add(key=key, value=text)
    return model


@dataclass
class _Walk:
    """State of one conversion: what each blob holds at the present layer."""

    description: Description
    weights: Weights
    graph: Graph = field(default_factory=Graph)
    inputs: list[Value] = field(default_factory=list)
    blobs: dict[str, Value] = field(default_factory=dict)
    unread: dict[str, None] = field(default_factory=dict)
    tops: dict[str, list[tuple[str, Value]]] = field(default_factory=dict)
    names: dict[str, object] = field(default_factory=dict)
    stated_batch: int = 0

    def check_that_files_belong_together(self) -> None:
        described = {str(layer.name) for layer in self.description.net.layer}
        stored = {name for name, layer in self.weights.layers.items() if layer.blobs}
        if stored and not stored & described:
            raise ConversionError(
                f"{self.weights.path}: expected weights for the layers of {self.description.path} "
                f"({_some(described)}), found only others ({_some(stored)}); the files describe different networks"
            )
        unused = sorted(stored - described)
        if unused:
            logger.info("%s: layers not in the description, left out: %s", self.weights.path, _some(unused))

    def add(self, parameters: caffe_pb2.LayerParameter) -> None:
        """Convert one layer."""
        if parameters.type == "Input":
            self._add_inputs(parameters)
            return
        layer = self._layer(parameters)
        converter = LAYER_TYPES.get(parameters.type)
        if converter is None:
            known = [*LAYER_TYPES, "Input"]
            raise ConversionError(
                f"{layer.place}: layer '{layer.name}' has type '{parameters.type}', which is not supported"
                f"{closest(parameters.type, known)}; supported types: {', '.join(sorted(known))}"
            )
        values = converter(layer)
        if len(values) != len(parameters.top):
            raise layer.error(f"expected {len(values)} top blob(s), found {len(parameters.top)}")
        for bottom in parameters.bottom:
            self.unread.pop(bottom, None)
        for top, value in zip(parameters.top, values, strict=True):
            if top in self.blobs and top not in parameters.bottom:
                raise layer.error(
                    f"blob '{top}' is already made by an earlier layer; only in-place layers may reuse it"
                )
            self._set(layer.name, top, value)

    def _layer(self, parameters: caffe_pb2.LayerParameter) -> Layer:
        place = self._place(parameters.name)
        stored = self.weights.layers.get(parameters.name)
        layer = Layer(parameters, [], list(stored.blobs) if stored else [], self.graph, place)
        for bottom in parameters.bottom:
            if bottom not in self.blobs:
                raise layer.error(f"bottom blob '{bottom}' does not exist here{closest(bottom, self.blobs)}")
            layer.bottoms.append(self.blobs[bottom])
        return layer

    def _add_inputs(self, parameters: caffe_pb2.LayerParameter) -> None:
        shapes = [tuple(int(size) for size in shape.dim) for shape in parameters.input_param.shape]
        if len(shapes) == 1:
            shapes *= len(parameters.top)
        if len(shapes) != len(parameters.top):
            self._fail(parameters.name, f"expected one shape for each of {len(parameters.top)} tops")
        for top, sizes in zip(parameters.top, shapes, strict=True):
            if not sizes or min(sizes) < 1 or max(sizes) > 1 << 20 or len(sizes) > 8:
                self._fail(parameters.name, f"input '{top}': expected up to 8 sizes from 1 to {1 << 20}, found {sizes}")
            if top in self.blobs:
                self._fail(parameters.name, f"input '{top}' is there twice")
            value = Value(self.graph.fresh(top), self._with_batch(sizes))
            self.inputs.append(value)
            self._set(parameters.name, top, value)

    def _with_batch(self, sizes: tuple[int, ...]) -> Shape:
        """The first axis of the first input is the batch, and of others where it has the same size."""
        if not self.inputs:
            self.stated_batch = sizes[0]
        return (BATCH, *sizes[1:]) if sizes[0] == self.stated_batch else sizes

    def _set(self, layer: str, blob: str, value: Value) -> None:
        self.blobs[blob] = value
        self.unread[blob] = None
        self.tops.setdefault(layer, []).append((blob, value))

    def finish(self) -> onnx.GraphProto:
        """Name the values, and close the graph."""
        if not self.inputs:
            raise ConversionError(
                f"{self.description.path}: expected an Input layer or input fields that say how large the network's "
                f"input is, found none; use the network's deploy.prototxt, not its training description"
            )
        names: dict[str, str] = {}
        for blob, value in self.blobs.items():
            if value.name in names:
                # Two blobs hold the same value, as after a Dropout that is not in place.
                value = self._copy(value)
                self.blobs[blob] = value
            names[value.name] = blob
        taken = set(self.blobs)
        for layer, tops in self.tops.items():
            for blob, value in tops:
                if value.name not in names:
                    names[value.name] = layer if layer not in taken else f"{blob}@{layer}"
                    taken.add(names[value.name])
        outputs = [self.blobs[blob] for blob in self.unread if self.blobs[blob] not in self.inputs]
        if not outputs:
            raise ConversionError(f"{self.description.path}: expected layers that make an output, found none")
        layers = {layer: [names[value.name] for _, value in tops] for layer, tops in self.tops.items()}
        self.names = {"blobs": list(self.blobs), "layers": layers}
        self.graph.rename(names)
        return self._close(names, outputs)

    def _copy(self, value: Value) -> Value:
        copy = Value(self.graph.fresh(value.name), value.shape, value.type)
        self.graph.nodes.append(helper.make_node("Identity", [value.name], [copy.name], name=copy.name))
        return copy

    def _close(self, names: dict[str, str], outputs: list[Value]) -> onnx.GraphProto:
        def info(value: Value) -> onnx.ValueInfoProto:
            return helper.make_tensor_value_info(names[value.name], value.type, value.shape)

        made = {value.name: value for tops in self.tops.values() for _, value in tops}
        made |= {value.name: value for value in self.blobs.values()}
        ends = {value.name for value in (*self.inputs, *outputs)}
        graph = onnx.GraphProto(name=self.description.net.name or Path(self.description.path).stem)
        graph.input.extend(info(value) for value in self.inputs)
        graph.output.extend(info(value) for value in outputs)
        graph.value_info.extend(info(value) for name, value in made.items() if name not in ends)
        graph.node.extend(self.graph.nodes)
        while self.graph.initializers:
            # Moved one by one: weights are large, and should not be held twice.
            graph.initializer.append(self.graph.initializers.pop(0))
        return graph

    def _place(self, layer: str) -> str:
        line = self.description.lines.get(layer)
        return f"{self.description.path}, line {line}" if line else str(self.description.path)

    def _fail(self, layer: str, problem: str) -> NoReturn:
        raise ConversionError(f"{self._place(layer)}: layer '{layer}': {problem}")


def _some(names: Iterable[str], count: int = 4) -> str:
    names = sorted(names)
    return ", ".join(names[:count]) + (f" and {len(names) - count} more" if len(names) > count else "")

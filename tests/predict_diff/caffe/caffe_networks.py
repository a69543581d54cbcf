"""Small networks for tests: a description and arrays in, an ONNX model or its values out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import ArrayLike, NDArray

from predict_diff.caffe.converter import convert_read
from predict_diff.caffe.reader import Description, LayerWeights, Weights

Array = NDArray[Any]


def weights_of(layers: Mapping[str, Sequence[ArrayLike]]) -> Weights:
    """A weights file that holds these blobs, by layer."""
    stored = {
        name: LayerWeights(name, "", [np.asarray(blob, np.float32) for blob in blobs]) for name, blobs in layers.items()
    }
    return Weights(Path("net.caffemodel"), "0" * 64, stored)


def network(text: str, weights: Mapping[str, Sequence[ArrayLike]] | None = None) -> onnx.ModelProto:
    """A description, converted."""
    return convert_read(Description.from_text(text, "net.prototxt"), weights_of(weights or {}))


def input_layer(name: str, shape: Sequence[int]) -> str:
    sizes = " ".join(f"dim: {size}" for size in shape)
    return f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ {sizes} }} }} }}\n'


def layer_of(kind: str, settings: str = "", bottoms: Sequence[str] = ("data",), tops: Sequence[str] = ("y",)) -> str:
    names = " ".join([*(f'bottom: "{name}"' for name in bottoms), *(f'top: "{name}"' for name in tops)])
    return f'layer {{ name: "layer" type: "{kind}" {names} {settings} }}\n'


def single(
    kind: str,
    shapes: Sequence[Sequence[int]],
    settings: str = "",
    weights: Sequence[ArrayLike] = (),
    tops: Sequence[str] = ("y",),
) -> onnx.ModelProto:
    """One layer, called "layer", over inputs of these shapes, "data" and "data1", "data2", ..."""
    bottoms = [f"data{index or ''}" for index in range(len(shapes))]
    text = "".join(map(input_layer, bottoms, shapes)) + layer_of(kind, settings, bottoms, tops)
    return network(text, {"layer": list(weights)} if len(weights) else {})


def declared(model: onnx.ModelProto) -> dict[str, tuple[int | str, ...]]:
    """The shapes that a model states of its inputs, outputs and other values."""
    infos = (*model.graph.input, *model.graph.value_info, *model.graph.output)
    return {
        info.name: tuple(dim.dim_param or dim.dim_value for dim in info.type.tensor_type.shape.dim) for info in infos
    }


def run(model: onnx.ModelProto, feeds: Mapping[str, Array], names: Iterable[str] | None = None) -> dict[str, Array]:
    """Values of a model, all outputs unless named, computed by ONNX Runtime on the CPU."""
    told = onnx.ModelProto()
    told.CopyFrom(model)
    known = {info.name: info for info in (*model.graph.value_info, *model.graph.output)}
    asked = [info.name for info in model.graph.output] if names is None else list(names)
    del told.graph.output[:]
    told.graph.output.extend(known[name] for name in asked)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(told.SerializeToString(), options, providers=["CPUExecutionProvider"])
    fed = {entry.name: np.asarray(feeds[entry.name], np.float32) for entry in session.get_inputs()}
    return dict(zip(asked, session.run(asked, fed), strict=True))


def value(model: onnx.ModelProto, *inputs: ArrayLike) -> Array:
    """The only output of a model, its inputs in order."""
    feeds = {info.name: np.asarray(array, np.float32) for info, array in zip(model.graph.input, inputs, strict=True)}
    (output,) = run(model, feeds).values()
    return output


def normal(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)

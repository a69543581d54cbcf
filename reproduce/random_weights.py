"""Weights files full of random numbers, in the form of 2014: to test and to time networks without their weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import ceil, prod, sqrt
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from predict_diff.caffe.caffe_pb2 import (
    BlobProto,
    ConvolutionParameter,
    LayerParameter,
    NetParameter,
    PoolingParameter,
    V1LayerParameter,
)
from predict_diff.caffe.reader import read_description
from predict_diff.errors import ConfigurationError
from predict_diff.protobuf_fields import field_start
from predict_diff.storage import whole_file

Shape = tuple[int, ...]

#: Standard deviation of the logits that is aimed at: a softmax that is neither flat nor saturated.
LOGITS = 1.5

#: Root mean square of a photo's pixels once the mean is subtracted, in grey levels.
_PIXELS = 65.0

_BIAS = 0.1
_NUMBERS_AT_ONCE = 1 << 20


class Blob(NamedTuple):
    """One array of weights: its shape and the standard deviation of its values."""

    shape: Shape
    deviation: float


def write_random_weights(description: Path, path: Path, seed: int, legacy: bool = True) -> Path:
    """Write a .caffemodel with random weights for a description.

    Weights are He-normal, so that activations neither die nor explode; those of the last layer are scaled so that the
    logits of a photo have a standard deviation of about 1.5. No more than a million numbers are held in memory.

    Parameters
    ----------
    description : Path
        A deploy.prototxt of convolutions, inner products and layers without weights.
    path : Path
        The file to write; replaced if it exists.
    seed : int
        The same seed gives the same file.
    legacy : bool, default True
        Write the file as those of 2014 are: V1 layers whose type is an enumeration, shapes as
        num/channels/height/width aligned at the right, a DATA layer in front and SOFTMAX_LOSS at the end. Otherwise the
        current form.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    ConversionError
        If the description cannot be read.
    ConfigurationError
        If it has a layer this cannot make weights for, or the file cannot be written.
    """
    net = read_description(description).net
    blobs = dict(weight_blobs(net))
    generator = np.random.Generator(np.random.Philox(seed))
    layers: Iterable[LayerParameter | V1LayerParameter] = _as_of_2014(net) if legacy else net.layer
    number = NetParameter.LAYERS_FIELD_NUMBER if legacy else NetParameter.LAYER_FIELD_NUMBER
    with whole_file(path, ConfigurationError) as file:
        file.write(NetParameter(name=net.name).SerializeToString())
        for layer in layers:
            _write_layer(file, number, layer, blobs.get(layer.name, ()), generator)
    return path


def weight_blobs(net: NetParameter) -> Iterator[tuple[str, tuple[Blob, ...]]]:
    """Names of the layers with weights and their blobs, in the order of the description.

    Raises
    ------
    ConfigurationError
        If there is a layer with weights that is neither a convolution nor an inner product.
    """
    shapes: dict[str, Shape] = {}
    products = [layer.name for layer in net.layer if layer.type == "InnerProduct"]
    for layer in net.layer:
        inputs = [shapes[name] for name in layer.bottom]
        match layer.type:
            case "Input":
                output = tuple(layer.input_param.shape[0].dim)[1:]
            case "Convolution":
                weights, output = _convolution(layer.convolution_param, inputs[0])
                yield layer.name, _blobs(weights, sqrt(2 / prod(weights[1:])))
            case "InnerProduct":
                count = prod(inputs[0])
                output = (layer.inner_product_param.num_output,)
                gain = LOGITS / _PIXELS if layer.name == products[-1] else sqrt(2)
                yield layer.name, _blobs((*output, count), gain / sqrt(count))
            case "Pooling":
                output = _pooling(layer.pooling_param, inputs[0])
            case "Concat":
                output = (sum(shape[0] for shape in inputs), *inputs[0][1:])
            case "ReLU" | "LRN" | "Dropout" | "Softmax" | "Eltwise":
                output = inputs[0]
            case other:
                raise ConfigurationError(
                    f"layer {layer.name!r}: expected a layer of AlexNet, GoogLeNet or VGG16, found type {other!r}, for "
                    f"which there are no random weights; use another description"
                )
        shapes.update(dict.fromkeys(layer.top, output))


def _blobs(weights: Shape, deviation: float) -> tuple[Blob, ...]:
    return Blob(weights, deviation), Blob(weights[:1], _BIAS)


def _convolution(parameters: ConvolutionParameter, bottom: Shape) -> tuple[Shape, Shape]:
    kernel, stride, pad = (
        next(iter(values), default)
        for values, default in ((parameters.kernel_size, 1), (parameters.stride, 1), (parameters.pad, 0))
    )
    channels, *size = bottom
    weights = (parameters.num_output, channels // parameters.group, kernel, kernel)
    # Caffe: convolution rounds down, pooling rounds up.
    return weights, (parameters.num_output, *((side + 2 * pad - kernel) // stride + 1 for side in size))


def _pooling(parameters: PoolingParameter, bottom: Shape) -> Shape:
    channels, *size = bottom
    if parameters.global_pooling:
        return (channels, 1, 1)
    kernel, stride, pad = parameters.kernel_size, parameters.stride, parameters.pad
    sides = [ceil((side + 2 * pad - kernel) / stride) + 1 for side in size]
    if pad:
        sides = [count - ((count - 1) * stride >= side + pad) for count, side in zip(sides, size, strict=True)]
    return (channels, *sides)


def _as_of_2014(net: NetParameter) -> Iterator[V1LayerParameter]:
    """The layers as the training of 2014 stored them."""
    # InnerProduct was INNER_PRODUCT, ReLU was RELU.
    types = {name.replace("_", ""): number for name, number in V1LayerParameter.LayerType.items()}
    for layer in net.layer:
        if layer.type == "Input":
            yield V1LayerParameter(name=layer.name, type=types["DATA"], top=[*layer.top, "label"])
        elif layer.type == "Softmax":
            yield V1LayerParameter(
                name="loss", type=types["SOFTMAXLOSS"], bottom=[*layer.bottom, "label"], top=["loss"]
            )
        else:
            yield V1LayerParameter(name=layer.name, type=types[layer.type.upper()], bottom=layer.bottom, top=layer.top)


def _write_layer(
    file: BinaryIO,
    number: int,
    layer: LayerParameter | V1LayerParameter,
    blobs: tuple[Blob, ...],
    generator: np.random.Generator,
) -> None:
    """Append a layer, field by field: protobuf itself would hold all weights in memory, several times over."""
    head = layer.SerializeToString()
    legacy = isinstance(layer, V1LayerParameter)
    parts = []
    for blob in blobs:
        start = _shape(blob.shape, legacy).SerializeToString() + field_start(
            BlobProto.DATA_FIELD_NUMBER, 4 * prod(blob.shape)
        )
        parts.append(field_start(layer.BLOBS_FIELD_NUMBER, len(start) + 4 * prod(blob.shape)) + start)
    length = len(head) + sum(len(part) + 4 * prod(blob.shape) for part, blob in zip(parts, blobs, strict=True))
    file.write(field_start(number, length) + head)
    for part, blob in zip(parts, blobs, strict=True):
        file.write(part)
        left = prod(blob.shape)
        while left:
            values = generator.standard_normal(min(left, _NUMBERS_AT_ONCE), np.float32) * np.float32(blob.deviation)
            file.write(values.astype("<f4", copy=False).data)
            left -= len(values)


def _shape(shape: Shape, legacy: bool) -> BlobProto:
    blob = BlobProto()
    if legacy:
        blob.num, blob.channels, blob.height, blob.width = (1,) * (4 - len(shape)) + shape
    else:
        blob.shape.dim.extend(shape)
    return blob

"""Layers that multiply, add and compare: inner products, tables, scales, sums, maxima."""

from __future__ import annotations

from typing import Any

import numpy as np

from .base import Array, LayerFunction, Stored, Tops, beside, weight

#: Numbers of a matrix that are held in double precision at a time.
_AT_ONCE = 1 << 23


def inner_product(layer: Any, bottoms: list[Array], stored: Stored) -> Tops:
    """Everything from `axis` on as one vector, times a matrix. Caffe: inner_product_layer."""
    settings = layer.inner_product_param
    axis = settings.axis % bottoms[0].ndim
    outer = bottoms[0].shape[:axis]
    vectors = bottoms[0].reshape(int(np.prod(outer)), -1)
    outputs, length = settings.num_output, vectors.shape[1]
    matrix = stored[0].reshape(length, outputs).T if settings.transpose else stored[0].reshape(outputs, length)
    y = np.empty((len(vectors), outputs))
    rows = max(1, _AT_ONCE // length)
    for start in range(0, outputs, rows):
        # A piece at a time: VGG16's largest matrix is 0.8 GB in double precision.
        y[:, start : start + rows] = vectors @ matrix[start : start + rows].astype(np.float64).T
    if settings.bias_term:
        y += weight(stored, 1, (outputs,))
    return [y.reshape(*outer, outputs)]


def embed(layer: Any, bottoms: list[Array], stored: Stored) -> Tops:
    """The row of a table for each number, cut off to an integer. Caffe: embed_layer."""
    settings = layer.embed_param
    table = weight(stored, 0, (settings.input_dim, settings.num_output))
    rows = table[np.trunc(bottoms[0]).astype(np.int64)]
    return [rows + weight(stored, 1, (settings.num_output,)) if settings.bias_term else rows]


def parameter(layer: Any, bottoms: list[Array], stored: Stored) -> Tops:
    """A stored blob as a top. Caffe: parameter_layer."""
    return [weight(stored, 0, layer.parameter_param.shape.dim)]


def scale(layer: Any, bottoms: list[Array], stored: Stored) -> Tops:
    """x times a factor that spans some of its axes, plus perhaps as many biases. Caffe: scale_layer."""
    settings = layer.scale_param
    x = bottoms[0]
    if len(bottoms) > 1:
        factors = bottoms[1]
        biases = weight(stored, 0, factors.shape) if settings.bias_term else None
    else:
        shape = _spanned(settings, x)
        factors = weight(stored, 0, shape)
        biases = weight(stored, 1, shape) if settings.bias_term else None
    axis = _first_axis(settings, x, factors)
    y = x * beside(x, factors, axis)
    return [y if biases is None else y + beside(x, biases, axis)]


def bias(layer: Any, bottoms: list[Array], stored: Stored) -> Tops:
    """x plus biases that span some of its axes. Caffe: bias_layer."""
    settings = layer.bias_param
    x = bottoms[0]
    biases = bottoms[1] if len(bottoms) > 1 else weight(stored, 0, _spanned(settings, x))
    return [x + beside(x, biases, _first_axis(settings, x, biases))]


def _spanned(settings: Any, x: Array) -> tuple[int, ...]:
    """Sizes of `num_axes` axes from `axis` on, or of all of them for -1."""
    axis = settings.axis % x.ndim
    return x.shape[axis:] if settings.num_axes == -1 else x.shape[axis : axis + settings.num_axes]


def _first_axis(settings: Any, x: Array, values: Array) -> int:
    # Caffe: one number without axes goes with everything.
    return int(settings.axis % x.ndim) if values.ndim else 0


def eltwise(layer: Any, bottoms: list[Array], stored: Stored) -> Tops:
    """Products, weighted sums or maxima of blobs of one shape. Caffe: eltwise_layer."""
    settings = layer.eltwise_param
    if settings.operation == settings.PROD:
        return [np.prod(bottoms, axis=0)]
    if settings.operation == settings.MAX:
        return [np.max(bottoms, axis=0)]
    factors = list(settings.coeff) or [1.0] * len(bottoms)
    y = np.zeros_like(bottoms[0])
    for factor, bottom in zip(factors, bottoms, strict=True):
        y += factor * bottom
    return [y]


def axpy(layer: Any, bottoms: list[Array], stored: Stored) -> Tops:
    """a x + y, with one a for each channel. SENet's fork of Caffe."""
    factors, x, y = bottoms
    return [factors.reshape(*x.shape[:2], *[1] * (x.ndim - 2)) * x + y]


def reduction(layer: Any, bottoms: list[Array], stored: Stored) -> Tops:
    """A sum or mean over all axes from `axis` on, times a factor. Caffe: reduction_layer."""
    settings = layer.reduction_param
    axis = settings.axis % bottoms[0].ndim
    outer = bottoms[0].shape[:axis]
    vectors = bottoms[0].reshape(int(np.prod(outer)), -1)
    match settings.operation:
        case settings.SUM:
            total = vectors.sum(axis=1)
        case settings.MEAN:
            total = vectors.mean(axis=1)
        case settings.ASUM:
            total = np.abs(vectors).sum(axis=1)
        case settings.SUMSQ:
            total = (vectors**2).sum(axis=1)
    return [settings.coeff * total.reshape(outer)]


def argmax(layer: Any, bottoms: list[Array], stored: Stored) -> Tops:
    """Places of the `top_k` largest numbers, or the numbers, or both. Caffe: argmax_layer."""
    settings = layer.argmax_param
    x = bottoms[0]
    if settings.HasField("axis"):
        places, values = _largest(np.moveaxis(x, settings.axis, -1), settings.top_k)
        return [np.moveaxis(values if settings.out_max_val else places, -1, settings.axis)]
    places, values = _largest(x.reshape(len(x), -1), settings.top_k)
    both = [places, values] if settings.out_max_val else [places]
    return [np.stack(both, axis=1).reshape(len(x), len(both), settings.top_k, *[1] * (x.ndim - 3))]


def _largest(x: Array, count: int) -> tuple[Array, Array]:
    """Along the last axis, largest first. Caffe sorts pairs of value and place: of ties the last comes first."""
    everywhere = np.broadcast_to(np.arange(x.shape[-1]), x.shape)
    order = np.lexsort((everywhere, x))[..., ::-1][..., :count]
    return order.astype(np.float64), np.take_along_axis(x, order, axis=-1)


TYPES: dict[str, LayerFunction] = {
    "ArgMax": argmax,
    "Axpy": axpy,
    "Bias": bias,
    "Eltwise": eltwise,
    "Embed": embed,
    "InnerProduct": inner_product,
    "Parameter": parameter,
    "Reduction": reduction,
    "Scale": scale,
}

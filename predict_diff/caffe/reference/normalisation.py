"""Layers that divide numbers by what is around them."""

from __future__ import annotations

from typing import Any

import numpy as np

from .base import Array, LayerFunction, Stored, Tops, beside, weight


def batch_norm(layer: Any, bottoms: list[Array], stored: Stored) -> Tops:
    """(x - mean) / sqrt(variance + eps), channel by channel. Caffe: batch_norm_layer."""
    settings = layer.batch_norm_param
    x = bottoms[0]
    # Caffe: one axis means one channel.
    channels = x.shape[1] if x.ndim > 1 else 1
    if settings.HasField("use_global_stats") and not settings.use_global_stats:
        others = tuple(axis for axis in range(x.ndim) if axis != 1)
        mean, variance = x.mean(axis=others), x.var(axis=others)
    else:
        # Caffe: mean and variance are stored as sums, beside what to divide them by.
        divisor = float(weight(stored, 2, (1,))[0])
        factor = 1 / divisor if divisor else 0.0
        mean, variance = (factor * weight(stored, index, (channels,)) for index in (0, 1))
    axis = min(1, x.ndim - 1)
    return [(x - beside(x, mean, axis)) / np.sqrt(beside(x, variance, axis) + settings.eps)]


def local_response_normalisation(layer: Any, bottoms: list[Array], stored: Stored) -> Tops:
    """x over a power of the sum of squares around it, across channels or within one. Caffe: lrn_layer."""
    settings = layer.lrn_param
    x = bottoms[0]
    reach = settings.local_size // 2
    if settings.norm_region == settings.ACROSS_CHANNELS:
        total = _sum_around(x**2, reach, axes=(1,))
        scale = settings.k + settings.alpha / settings.local_size * total
    else:
        # Caffe: an average over the window, padding counted, and a shift of 1 whatever k is.
        total = _sum_around(x**2, reach, axes=(2, 3))
        scale = 1 + settings.alpha / settings.local_size**2 * total
    return [x * scale**-settings.beta]


def _sum_around(x: Array, reach: int, axes: tuple[int, ...]) -> Array:
    """Sums over windows of 2 reach + 1 along some axes, cut off at the ends."""
    for axis in axes:
        padded = np.pad(x, [(reach, reach) if index == axis else (0, 0) for index in range(x.ndim)])
        size = x.shape[axis]
        x = sum(
            (padded.take(range(start, start + size), axis) for start in range(2 * reach + 1)), start=np.zeros_like(x)
        )
    return x


def mean_variance_normalisation(layer: Any, bottoms: list[Array], stored: Stored) -> Tops:
    """(x - mean) / (standard deviation + eps) over each plane, or over all of a photo. Caffe: mvn_layer."""
    settings = layer.mvn_param
    # Caffe: the top has four axes, whatever the bottom has.
    x = bottoms[0].reshape(bottoms[0].shape + (1,) * (4 - bottoms[0].ndim))
    axes = (1, 2, 3) if settings.across_channels else (2, 3)
    centred = x - x.mean(axis=axes, keepdims=True)
    if not settings.normalize_variance:
        return [centred]
    deviation = np.sqrt((centred**2).mean(axis=axes, keepdims=True))
    return [centred / (deviation + settings.eps)]


def softmax(layer: Any, bottoms: list[Array], stored: Stored) -> Tops:
    """e^x over its sum along an axis. Caffe: softmax_layer."""
    return [_softmax(bottoms[0], layer.softmax_param.axis)]


def softmax_with_loss(layer: Any, bottoms: list[Array], stored: Stored) -> Tops:
    """The softmax is the second top; the loss is not part of the network. Caffe: softmax_loss_layer."""
    infogain = layer.type == "InfogainLoss"
    axis = layer.infogain_loss_param.axis if infogain else layer.softmax_param.axis
    return [None, _softmax(bottoms[0], axis)][: len(layer.top)]


def _softmax(x: Array, axis: int) -> Array:
    powers: Array = np.exp(x - x.max(axis=axis, keepdims=True))
    shares: Array = powers / powers.sum(axis=axis, keepdims=True)
    return shares


TYPES: dict[str, LayerFunction] = {
    "BatchNorm": batch_norm,
    "LRN": local_response_normalisation,
    "MVN": mean_variance_normalisation,
    "Softmax": softmax,
    "SoftmaxWithLoss": softmax_with_loss,
    "InfogainLoss": softmax_with_loss,
}

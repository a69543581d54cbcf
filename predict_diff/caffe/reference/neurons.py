"""Layers that treat each number by itself."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .base import Array, LayerFunction, Stored, Tops, weight


def absval(layer: Any, bottoms: list[Array], stored: Stored) -> Tops:
    """|x|. Caffe: absval_layer."""
    return [np.abs(bottoms[0])]


def bnll(layer: Any, bottoms: list[Array], stored: Stored) -> Tops:
    """log(1 + e^x), without overflow. Caffe: bnll_layer."""
    x = bottoms[0]
    return [np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))]


def clip(layer: Any, bottoms: list[Array], stored: Stored) -> Tops:
    """x, no less than `min` and no more than `max`. Caffe: clip_layer."""
    limits = layer.clip_param
    return [np.maximum(limits.min, np.minimum(bottoms[0], limits.max))]


def dropout(layer: Any, bottoms: list[Array], stored: Stored) -> Tops:
    """x: numbers are dropped in training only. Caffe: dropout_layer."""
    return [bottoms[0]]


def elu(layer: Any, bottoms: list[Array], stored: Stored) -> Tops:
    """x where positive, alpha (e^x - 1) elsewhere. Caffe: elu_layer."""
    x = bottoms[0]
    return [np.maximum(x, 0) + layer.elu_param.alpha * np.expm1(np.minimum(x, 0))]


def exp(layer: Any, bottoms: list[Array], stored: Stored) -> Tops:
    """base^(shift + scale x); the base -1 means e. Caffe: exp_layer."""
    settings = layer.exp_param
    return [np.exp(_log_of_base(settings.base) * (settings.shift + settings.scale * bottoms[0]))]


def log(layer: Any, bottoms: list[Array], stored: Stored) -> Tops:
    """log_base(shift + scale x); the base -1 means e. Caffe: log_layer."""
    settings = layer.log_param
    return [np.log(settings.shift + settings.scale * bottoms[0]) / _log_of_base(settings.base)]


def _log_of_base(base: float) -> float:
    return 1.0 if base == -1 else math.log(base)


def power(layer: Any, bottoms: list[Array], stored: Stored) -> Tops:
    """(shift + scale x)^power. Caffe: power_layer."""
    settings = layer.power_param
    return [np.power(settings.shift + settings.scale * bottoms[0], settings.power)]


def prelu(layer: Any, bottoms: list[Array], stored: Stored) -> Tops:
    """x where positive, a slope times x elsewhere; one slope a channel, or one for all. Caffe: prelu_layer."""
    x = bottoms[0]
    slopes = weight(stored, 0, () if layer.prelu_param.channel_shared else (x.shape[1],))
    if slopes.ndim:
        slopes = slopes.reshape(-1, *[1] * (x.ndim - 2))
    return [np.maximum(x, 0) + slopes * np.minimum(x, 0)]


def relu(layer: Any, bottoms: list[Array], stored: Stored) -> Tops:
    """x where positive, `negative_slope` times x elsewhere. Caffe: relu_layer."""
    x = bottoms[0]
    return [np.maximum(x, 0) + layer.relu_param.negative_slope * np.minimum(x, 0)]


def relu6(layer: Any, bottoms: list[Array], stored: Stored) -> Tops:
    """x, no less than 0 and no more than 6. MobileNet's forks of Caffe."""
    return [np.minimum(np.maximum(bottoms[0], 0), 6)]


def sigmoid(layer: Any, bottoms: list[Array], stored: Stored) -> Tops:
    """1 / (1 + e^-x), as Caffe writes it: with a tanh. Caffe: sigmoid_layer."""
    return [_sigmoid(bottoms[0])]


def swish(layer: Any, bottoms: list[Array], stored: Stored) -> Tops:
    """x sigmoid(beta x). Caffe: swish_layer."""
    return [bottoms[0] * _sigmoid(layer.swish_param.beta * bottoms[0])]


def _sigmoid(x: Array) -> Array:
    return 0.5 * np.tanh(0.5 * x) + 0.5


def tanh(layer: Any, bottoms: list[Array], stored: Stored) -> Tops:
    """tanh x. Caffe: tanh_layer."""
    return [np.tanh(bottoms[0])]


def threshold(layer: Any, bottoms: list[Array], stored: Stored) -> Tops:
    """1 where x is above the threshold, 0 elsewhere. Caffe: threshold_layer."""
    return [(bottoms[0] > layer.threshold_param.threshold).astype(np.float64)]


TYPES: dict[str, LayerFunction] = {
    "AbsVal": absval,
    "BNLL": bnll,
    "Clip": clip,
    "Dropout": dropout,
    "ELU": elu,
    "Exp": exp,
    "Log": log,
    "Power": power,
    "PReLU": prelu,
    "ReLU": relu,
    "ReLU6": relu6,
    "Sigmoid": sigmoid,
    "Swish": swish,
    "TanH": tanh,
    "Threshold": threshold,
}

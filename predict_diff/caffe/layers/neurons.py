"""Layers that act on each number by itself."""

from __future__ import annotations

import math

import numpy as np
from onnx import TensorProto, helper

from ..graph import Value
from ..layer import Layer
from .registry import layer_type


@layer_type("ReLU")
def relu(layer: Layer) -> list[Value]:
    """max(x, 0) + negative_slope min(x, 0). Caffe: relu_layer."""
    slope = layer.parameters.relu_param.negative_slope
    if slope == 0:
        return [layer.same("Relu", [layer.bottom])]
    return [layer.same("LeakyRelu", [layer.bottom], alpha=float(slope))]


@layer_type("PReLU")
def prelu(layer: Layer) -> list[Value]:
    """max(x, 0) + slope min(x, 0), the slope learned for each channel, or one for all. Caffe: prelu_layer."""
    bottom = layer.bottom
    channels = layer.size(bottom, 1)
    layer.expect_blobs(1)
    # Caffe: a shared slope is a blob without axes.
    shared = layer.parameters.prelu_param.channel_shared
    slopes = layer.blob(0, () if shared else (channels,), "slopes").reshape(-1, *[1] * (bottom.rank - 2))
    return [layer.same("PRelu", [bottom, layer.constant(slopes)])]


@layer_type("ELU")
def elu(layer: Layer) -> list[Value]:
    """x above 0, alpha (e^x - 1) below. Caffe: elu_layer."""
    return [layer.same("Elu", [layer.bottom], alpha=float(layer.parameters.elu_param.alpha))]


@layer_type("Sigmoid")
def sigmoid(layer: Layer) -> list[Value]:
    """1 / (1 + e^-x). Caffe: sigmoid_layer."""
    return [layer.same("Sigmoid", [layer.bottom])]


@layer_type("Swish")
def swish(layer: Layer) -> list[Value]:
    """x sigmoid(beta x). Caffe: swish_layer."""
    gate = layer.same("Sigmoid", [_affine(layer, layer.bottom, layer.parameters.swish_param.beta, 0)])
    return [layer.same("Mul", [layer.bottom, gate])]


@layer_type("TanH")
def tanh(layer: Layer) -> list[Value]:
    """Hyperbolic tangent. Caffe: tanh_layer."""
    return [layer.same("Tanh", [layer.bottom])]


@layer_type("BNLL")
def binomial_normal_log_likelihood(layer: Layer) -> list[Value]:
    """log(1 + e^x). Caffe: bnll_layer."""
    return [layer.same("Softplus", [layer.bottom])]


@layer_type("AbsVal")
def absolute_value(layer: Layer) -> list[Value]:
    """|x|. Caffe: absval_layer."""
    return [layer.same("Abs", [layer.bottom])]


@layer_type("Exp")
def exponential(layer: Layer) -> list[Value]:
    """base^(shift + scale x); base -1 stands for e. Caffe: exp_layer, in its order: base^shift is a factor."""
    settings = layer.parameters.exp_param
    log_base = _log_base(layer, settings.base)
    power = layer.same("Exp", [_affine(layer, layer.bottom, log_base * settings.scale, 0)])
    with np.errstate(over="ignore"):
        factor = np.exp(np.float32(log_base * settings.shift))
    return [_affine(layer, power, factor, 0)]


@layer_type("Log")
def logarithm(layer: Layer) -> list[Value]:
    """log_base(shift + scale x); base -1 stands for e. Caffe: log_layer."""
    settings = layer.parameters.log_param
    log_base = _log_base(layer, settings.base)
    if log_base == 0:
        raise layer.error("expected a base other than 1, of which there is no logarithm")
    natural = layer.same("Log", [_affine(layer, layer.bottom, settings.scale, settings.shift)])
    return [_affine(layer, natural, 1 / log_base, 0)]


@layer_type("Power")
def power(layer: Layer) -> list[Value]:
    """(shift + scale x)^power. Caffe: power_layer."""
    settings = layer.parameters.power_param
    if settings.power * settings.scale == 0:
        # Caffe: the input does not matter then, not even where it is not finite; 0^0 is 1.
        with np.errstate(divide="ignore", invalid="ignore"):
            value = np.power(np.float32(settings.shift), np.float32(settings.power))
        fill = helper.make_tensor("value", TensorProto.FLOAT, [1], [value])
        shape = layer.emit("Shape", [layer.bottom], (layer.bottom.rank,))
        shape.type = TensorProto.INT64
        return [layer.emit("ConstantOfShape", [shape], layer.bottom.shape, value=fill)]
    base = _affine(layer, layer.bottom, settings.scale, settings.shift)
    return [base if settings.power == 1 else layer.same("Pow", [base, layer.constant(settings.power)])]


@layer_type("Threshold")
def threshold(layer: Layer) -> list[Value]:
    """1 where x > threshold, else 0. Caffe: threshold_layer."""
    above = layer.same("Greater", [layer.bottom, layer.constant(layer.parameters.threshold_param.threshold)])
    above.type = TensorProto.BOOL
    return [layer.same("Cast", [above], to=TensorProto.FLOAT)]


@layer_type("Clip")
def clip(layer: Layer) -> list[Value]:
    """min(max(x, low), high). Caffe: clip_layer."""
    settings = layer.parameters.clip_param
    if not settings.HasField("min") or not settings.HasField("max"):
        raise layer.error("expected min and max in clip_param, found one or none")
    return [layer.same("Clip", [layer.bottom, layer.constant(settings.min), layer.constant(settings.max)])]


@layer_type("Dropout")
def dropout(layer: Layer) -> list[Value]:
    """The identity at test time. Caffe: dropout_layer."""
    return [layer.bottom]


def _affine(layer: Layer, value: Value, scale: float, shift: float) -> Value:
    """scale x + shift, with operators for what changes anything only."""
    if scale != 1:
        value = layer.same("Mul", [value, layer.constant(scale)])
    if shift != 0:
        value = layer.same("Add", [value, layer.constant(shift)])
    return value


def _log_base(layer: Layer, base: float) -> float:
    """Natural logarithm of a base; 1 for -1, which stands for e."""
    if base == -1:
        return 1.0
    if not 0 < base < math.inf:
        raise layer.error(f"expected a base above 0, or -1 for e, found {base:g}")
    return math.log(base)

"""Neurons, and the softmax."""

from __future__ import annotations

import math

from .registry import Diffs, Step, derivative


@derivative("Relu")
def relu(step: Step) -> Diffs:
    # Caffe: relu_layer passes where x > 0, not at 0. y > 0 says the same, and leaves ONNX Runtime free to fuse the
    # forward operator with the convolution before it.
    return [(step.y > 0).gate(step.diff)]


@derivative("LeakyRelu")
def leaky_relu(step: Step) -> Diffs:
    # Caffe: relu_layer; the slope holds at 0 too.
    slope = step.attribute("alpha", 0.01)
    return [(step.x > 0).gate(step.diff) + (step.x <= 0).gate(step.diff * slope)]


@derivative("PRelu")
def prelu(step: Step) -> Diffs:
    # Caffe: prelu_layer; the slope holds at 0 too.
    x, slope = step.operands
    below = (x <= 0).gate(step.diff)
    return [(x > 0).gate(step.diff) + below * slope, step.sum_to(below * x, slope)]


@derivative("Elu")
def elu(step: Step) -> Diffs:
    # Caffe: elu_layer; at 0 the derivative is alpha. Below 0, alpha exp(x) = y + alpha.
    below = step.diff * (step.y + step.attribute("alpha", 1.0))
    return [(step.x > 0).gate(step.diff) + (step.x <= 0).gate(below)]


@derivative("Selu")
def selu(step: Step) -> Diffs:
    # Klambauer et al. 2017, eq. 2, with ONNX's constants; at 0 the slope from below, as for Elu.
    alpha = step.attribute("alpha", 1.67326319217681884765625)
    gamma = step.attribute("gamma", 1.05070102214813232421875)
    below = step.diff * (step.y + gamma * alpha)
    return [(step.x > 0).gate(step.diff * gamma) + (step.x <= 0).gate(below)]


@derivative("Celu")
def celu(step: Step) -> Diffs:
    # Below 0, exp(x / alpha) = y / alpha + 1.
    below = step.diff * (step.y / step.attribute("alpha", 1.0) + 1)
    return [(step.x > 0).gate(step.diff) + (step.x <= 0).gate(below)]


@derivative("ThresholdedRelu")
def thresholded_relu(step: Step) -> Diffs:
    return [(step.x > step.attribute("alpha", 1.0)).gate(step.diff)]


@derivative("Softsign")
def softsign(step: Step) -> Diffs:
    room = step.graph.emit("Abs", [step.x]) + 1
    return [step.diff / (room * room)]


@derivative("Gelu")
def gelu(step: Step) -> Diffs:
    """x Phi(x), where Phi is the normal distribution, or x (1 + tanh u) / 2, which comes close to it."""
    x, graph = step.x, step.graph
    if step.attribute("approximate", "none") == "tanh":
        # ONNX: Gelu, u = sqrt(2 / pi) (x + 0.044715 x^3).
        scale, cubic = math.sqrt(2 / math.pi), 0.044715
        squared = x * x
        t = graph.emit("Tanh", [x * (squared * cubic + 1) * scale])
        slope = (t + 1) * 0.5 + x * (1 - t * t) * (squared * (3 * cubic) + 1) * (scale / 2)
    else:
        below = (graph.emit("Erf", [x * math.sqrt(0.5)]) + 1) * 0.5
        slope = below + x * graph.emit("Exp", [x * x * -0.5]) * (1 / math.sqrt(2 * math.pi))
    return [step.diff * slope]


@derivative("Mish")
def mish(step: Step) -> Diffs:
    # Misra 2020: x tanh(softplus(x)).
    x, graph = step.x, step.graph
    t = graph.emit("Tanh", [graph.emit("Softplus", [x])])
    return [step.diff * (t + x * (1 - t * t) * graph.emit("Sigmoid", [x]))]


@derivative("Swish")
def swish(step: Step) -> Diffs:
    alpha = step.attribute("alpha", 1.0)
    s = step.graph.emit("Sigmoid", [step.x * alpha])
    return [step.diff * (s + step.x * s * (1 - s) * alpha)]


@derivative("Sigmoid")
def sigmoid(step: Step) -> Diffs:
    return [step.diff * step.y * (1 - step.y)]


@derivative("Tanh")
def tanh(step: Step) -> Diffs:
    return [step.diff * (1 - step.y * step.y)]


@derivative("Softplus")
def softplus(step: Step) -> Diffs:
    return [step.diff * step.graph.emit("Sigmoid", [step.x])]


@derivative("HardSigmoid")
def hard_sigmoid(step: Step) -> Diffs:
    rising = step.graph.emit("And", [step.y > 0, step.y < 1])
    return [rising.gate(step.diff * step.attribute("alpha", 0.2))]


@derivative("HardSwish")
def hard_swish(step: Step) -> Diffs:
    # x h(x), where h is the hard sigmoid with the slope 1/6.
    slope = 1 / 6
    hard = step.graph.emit("HardSigmoid", [step.x], alpha=slope, beta=0.5)
    rising = step.graph.emit("And", [hard > 0, hard < 1])
    return [step.diff * (hard + rising.gate(step.x * slope))]


@derivative("Clip")
def clip(step: Step) -> Diffs:
    # Caffe: clip_layer passes at the bounds too.
    step.only_first()
    x, diff = step.x, step.diff
    minimum, maximum = step.optional(1), step.optional(2)
    if minimum is not None:
        diff = (x >= minimum).gate(diff)
    if maximum is not None:
        diff = (x <= maximum).gate(diff)
    return [diff]


@derivative("Softmax")
def softmax(step: Step) -> Diffs:
    dot = (step.diff * step.y).sum_along(step.attribute("axis", -1))
    return [(step.diff - dot) * step.y]


@derivative("LogSoftmax")
def log_softmax(step: Step) -> Diffs:
    total = step.diff.sum_along(step.attribute("axis", -1))
    return [step.diff - step.graph.emit("Exp", [step.y]) * total]

"""Neurons, and the softmax."""

from __future__ import annotations

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

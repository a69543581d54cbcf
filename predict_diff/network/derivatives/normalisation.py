"""Normalisation with fixed statistics, and across channels."""

from __future__ import annotations

import numpy as np

from .registry import Diffs, Step, derivative


@derivative("BatchNormalization")
def batch_normalization(step: Step) -> Diffs:
    step.only_first()
    if step.attribute("training_mode", 0):
        raise step.error("expected a network exported for inference, found batch statistics as in training")
    # Linear in x: the same operator without its shift.
    _, scale, shift, mean, variance = step.operands
    zero = step.graph.zeros_like
    epsilon = step.attribute("epsilon", 1e-5)
    return [
        step.graph.emit("BatchNormalization", [step.diff, scale, zero(shift), zero(mean), variance], epsilon=epsilon)
    ]


@derivative("LRN")
def local_response_normalisation(step: Step) -> Diffs:
    """y = x s^-beta, where s = bias + alpha / size * (sum of x^2 over `size` neighbouring channels).

    Caffe: lrn_layer, across channels; Krizhevsky et al. 2012, section 3.3.
    """
    graph, x = step.graph, step.x
    size, alpha = step.attribute("size", 1), step.attribute("alpha", 1e-4)
    beta, bias = step.attribute("beta", 0.75), step.attribute("bias", 1.0)
    channels = x.shape[1] if x.shape else None
    if not isinstance(channels, int) or size < 1:
        raise step.error(f"expected '{x.name}' to have a known number of channels, and a size of at least 1")
    # Channels become the height of one plane, over which a column of ones slides.
    ones = graph.constant(np.ones((1, 1, size, 1)), x.type)
    before, after = (size - 1) // 2, size // 2
    plane = [0, 1, channels, -1]
    squares = (x * x).reshape(plane)
    sums = graph.emit("Conv", [squares, ones], pads=[before, 0, after, 0]).reshape(x.sizes())
    s = sums * (alpha / size) + bias
    # A channel belongs to the neighbourhoods of its neighbours: the same window, turned around.
    through = (step.diff * x * s ** (-beta - 1)).reshape(plane)
    received = graph.emit("Conv", [through, ones], pads=[after, 0, before, 0]).reshape(x.sizes())
    return [step.diff * s**-beta - x * received * (2 * alpha * beta / size)]

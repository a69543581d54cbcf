"""Convolution and its transpose, with any number of spatial axes."""

from __future__ import annotations

from .geometry import SlidingWindow, sum_windows
from .graph import Value
from .registry import Diffs, Step, derivative


@derivative("Conv")
def convolution(step: Step) -> Diffs:
    step.only_first()
    weights = step.operands[1]
    window = SlidingWindow.of(step, _kernel(step, weights))
    return [sum_windows(step, step.diff, weights, window, step.attribute("group", 1))]


@derivative("ConvTranspose")
def transposed_convolution(step: Step) -> Diffs:
    step.only_first()
    weights = step.operands[1]
    window = SlidingWindow.of(step, _kernel(step, weights))
    if step.attribute("auto_pad", "NOTSET") not in {"NOTSET", "VALID"} or "output_shape" in step.attributes:
        raise step.error("expected its padding in 'pads', found 'auto_pad' or 'output_shape'")
    output_padding = step.attribute("output_padding", [0] * len(window.kernel))
    if any(padding >= stride for padding, stride in zip(output_padding, window.strides, strict=True)):
        raise step.error(f"expected output_padding below the strides {window.strides}, found {output_padding}")
    attributes = {name: value for name, value in step.attributes.items() if name != "output_padding"}
    return [step.graph.emit("Conv", [step.diff, weights], **attributes)]


def _kernel(step: Step, weights: Value) -> list[int]:
    """Sizes of the kernel: what the node says, or the weights' last axes."""
    kernel = step.attribute("kernel_shape", (weights.shape or ())[2:])
    sizes = [size for size in kernel if isinstance(size, int)]
    if not sizes or len(sizes) < len(kernel):
        raise step.error(f"expected weights of known shape, found {weights.shape}")
    return sizes

"""Where the windows of a convolution or a pool lie, and how diffs go back through them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from .graph import Value
from .registry import Step


@dataclass(frozen=True)
class SlidingWindow:
    """A window that slides over the spatial axes; each attribute has one number for each of them.

    Attributes
    ----------
    kernel, strides, dilations : list of int
        Size, distance from one window to the next, distance between the pixels of a window.
    begins, ends : list of int
        Padding in front and behind.
    """

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    begins: list[int]
    ends: list[int]

    @classmethod
    def of(cls, step: Step, kernel: list[int]) -> SlidingWindow:
        """The window of a Conv, ConvTranspose or pooling node.

        Raises
        ------
        NetworkError
            If the window is impossible, or its padding depends on sizes that are not known.
        """
        axes = len(kernel)
        strides = list(step.attribute("strides", [1] * axes))
        dilations = list(step.attribute("dilations", [1] * axes))
        pads = list(step.attribute("pads", [0] * (2 * axes)))
        if min(kernel + strides + dilations, default=0) < 1 or len(pads) != 2 * axes:
            raise step.error(f"expected sizes of at least 1, found {kernel=}, {strides=}, {dilations=}, {pads=}")
        window = cls(kernel, strides, dilations, pads[:axes], pads[axes:])
        mode = step.attribute("auto_pad", "NOTSET")
        return window._same(spatial_sizes(step), mode) if mode.startswith("SAME") else window

    @property
    def extents(self) -> list[int]:
        """Pixels from the first to the last of a window."""
        return [dilation * (size - 1) + 1 for size, dilation in zip(self.kernel, self.dilations, strict=True)]

    def _same(self, sizes: list[int], mode: str) -> SlidingWindow:
        """Padded so that there are size / stride windows, rounded up; an odd pixel goes behind, or in front."""
        totals = [
            max((math.ceil(size / stride) - 1) * stride + extent - size, 0)
            for size, stride, extent in zip(sizes, self.strides, self.extents, strict=True)
        ]
        lower, upper = [total // 2 for total in totals], [total - total // 2 for total in totals]
        begins, ends = (lower, upper) if mode == "SAME_UPPER" else (upper, lower)
        return SlidingWindow(self.kernel, self.strides, self.dilations, begins, ends)

    def pixels(self, sizes: list[int], count_padding: bool, round_up: bool) -> NDArray[np.int64]:
        """How many pixels each window has: all it can have within the image, or within the padded image.

        ONNX: AveragePool of opset 22, which is what ONNX Runtime computes for earlier ones too. A window that
        starts beyond the image and its leading padding is left out; one that ends beyond the trailing padding has
        the fewer pixels for it.

        Returns
        -------
        ndarray, one axis for each spatial axis, int64
        """
        counts = np.ones((), np.int64)
        for axis, size in enumerate(sizes):
            stride, begin, end = self.strides[axis], self.begins[axis], self.ends[axis]
            span = size + begin + end - self.extents[axis]
            last = math.ceil(span / stride) if round_up else span // stride
            starts = np.arange(last + 1) * stride - begin
            places = starts[starts < size, None] + np.arange(self.kernel[axis]) * self.dilations[axis]
            inside = places < size + end if count_padding else (places >= 0) & (places < size)
            counts = counts[..., None] * inside.sum(axis=1)
        return counts


def spatial_sizes(step: Step) -> list[int]:
    """Sizes of the first input's spatial axes; NetworkError if they are open."""
    sizes = (step.x.shape or (None, None, None))[2:]
    known = [size for size in sizes if isinstance(size, int)]
    if len(known) != len(sizes):
        raise step.error(f"expected '{step.x.name}' to have known height and width; export the network with fixed ones")
    return known


def sum_windows(step: Step, diff: Value, weights: Value, window: SlidingWindow, group: int) -> Value:
    """Put the weighted window of every output back where it was taken from, and sum where windows overlap.

    Parameters
    ----------
    diff : Value, shape (N, outputs, ...)
    weights : Value, shape (outputs, inputs / group, ...)

    Returns
    -------
    Value, shape (N, inputs, ...)
        With the spatial sizes of the step's first input.
    """
    graph = step.graph
    # Unpadded, and long enough for the pixels behind the last window that none reaches: whatever the padding, the
    # image then lies at `begins`, and its sizes may be open. (Uneven padding is not implemented by all providers.)
    spread = graph.emit(
        "ConvTranspose",
        [diff, weights],
        kernel_shape=window.kernel,
        strides=window.strides,
        dilations=window.dilations,
        output_padding=[stride - 1 for stride in window.strides],
        group=group,
    )
    if set(window.strides) == {1} and not any(window.begins + window.ends):
        return spread
    starts = graph.integers(window.begins)
    axes = graph.integers([2 + axis for axis in range(len(window.kernel))])
    stops = graph.emit("Add", [step.x.sizes(start=2), starts], type=TensorProto.INT64)
    return graph.emit("Slice", [spread, starts, stops, axes])

"""Pooling over windows and over whole planes."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from .geometry import SlidingWindow, spatial_sizes, sum_windows
from .registry import Diffs, Step, derivative
from .selection import scatter, scatter_to_first


@derivative("MaxPool")
def max_pool(step: Step) -> Diffs:
    # Caffe: pooling_layer; of equal maxima the first of the window, row by row, gets it all. ONNX Runtime numbers the
    # same one. Pooled once more, since the forward part's own operator may leave the numbers out or count by columns.
    attributes = {name: value for name, value in step.attributes.items() if name != "storage_order"}
    _, places = step.graph.emit_many("MaxPool", [step.x], [step.x.type, TensorProto.INT64], **attributes)
    return [scatter(step.x, places, step.diff)]


@derivative("AveragePool")
def average_pool(step: Step) -> Diffs:
    window = SlidingWindow.of(step, list(step.attribute("kernel_shape", [])))
    pixels = window.pixels(
        spatial_sizes(step),
        count_padding=bool(step.attribute("count_include_pad", 0)),
        round_up=bool(step.attribute("ceil_mode", 0)) and step.attribute("auto_pad", "NOTSET") == "NOTSET",
    )
    share = step.diff / step.graph.constant(pixels, step.diff.type)
    # Every plane is treated alike: channels can stand in the batch axis.
    planes = step.graph.emit("Concat", [step.graph.integers([-1, 1]), share.sizes(start=2)], axis=0)
    ones = step.graph.constant(np.ones((1, 1, *window.kernel)), step.diff.type)
    return [sum_windows(step, share.reshape(planes), ones, window, group=1).reshape(step.x.sizes())]


@derivative("GlobalMaxPool")
def global_max_pool(step: Step) -> Diffs:
    # Caffe: pooling_layer; the first of equal maxima, as for windows.
    planes = step.x.reshape([0, 0, -1])
    return [scatter_to_first(planes, "ArgMax", step.diff).reshape(step.x.sizes())]

"""Interpolation along rows and columns."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from .geometry import spatial_sizes
from .graph import Value
from .registry import Diffs, Step, derivative


@derivative("Resize")
def resize(step: Step) -> Diffs:
    """Nearest, linear or cubic: a matrix along each axis, transposed.

    The matrix is what the operator itself makes of the unit vectors, so that all its ways to place and to weigh
    pixels are right.
    """
    if step.attribute("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize":
        raise step.error("expected the whole image to be resized, found 'tf_crop_and_resize'")
    if step.attribute("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise step.error("expected sizes that hold, found 'keep_aspect_ratio_policy'")
    sizes = spatial_sizes(step)
    axes = [axis % (2 + len(sizes)) for axis in step.attribute("axes", range(2 + len(sizes)))]
    fixed = zip((step.x.shape or ())[:2], (step.y.shape or ())[:2], strict=False)
    if any(size != other for size, other in fixed if isinstance(size, int) and isinstance(other, int)):
        raise step.error(f"expected only rows and columns to be resized, found {step.x.shape} to {step.y.shape}")
    diff = step.diff
    for axis, size in enumerate(sizes, start=2):
        if axis in axes:
            diff = _along(diff, axis, 2 + len(sizes), _matrix(step, axes.index(axis), size))
    return [diff]


def _matrix(step: Step, position: int, size: int) -> Value:
    """What becomes of each unit vector, shape (size, resized size).

    Parameters
    ----------
    position : int
        Of the axis among the scales or sizes that the operator was given.
    """
    graph, scales, target = step.graph, step.optional(2), step.optional(3)
    units = graph.constant(np.eye(size)[None, None], step.x.type)
    place = graph.integers([position])
    if target is not None:
        chosen = graph.emit("Gather", [target, place], axis=0)
        given = [None, graph.emit("Concat", [graph.integers([1, 1, size]), chosen], axis=0)]
    elif scales is not None:
        chosen = graph.emit("Gather", [scales, place], axis=0)
        given = [graph.emit("Concat", [graph.constant([1, 1, 1], TensorProto.FLOAT), chosen], axis=0)]
    else:
        raise step.error("expected scales or sizes, found neither")
    attributes = {name: value for name, value in step.attributes.items() if name != "axes"}
    return graph.emit("Resize", [units, None, *given], **attributes).reshape([size, -1])


def _along(diff: Value, axis: int, axes: int, matrix: Value) -> Value:
    """The product with a transposed matrix along one of some axes."""
    graph = diff.graph
    order = list(range(axes))
    order[axis], order[-1] = order[-1], order[axis]
    turned = diff if axis == axes - 1 else graph.emit("Transpose", [diff], perm=order)
    product = graph.emit("MatMul", [turned, graph.emit("Transpose", [matrix], perm=[1, 0])])
    return product if axis == axes - 1 else graph.emit("Transpose", [product], perm=order)

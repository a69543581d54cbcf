"""Normalisation with the mean and the variance of the photo itself: of each token, channel or group of channels.

ONNX: LayerNormalization, RMSNormalization, InstanceNormalization, GroupNormalization. All are y = scale * n + shift,
where n = (x - mean) / sqrt(variance + epsilon) over some axes.
"""

from __future__ import annotations

from dataclasses import dataclass

from onnx import TensorProto

from .graph import Value
from .registry import Diffs, Step, derivative

#: Statistics of these are taken in float32, as by the operators.
_HALVES = frozenset({TensorProto.FLOAT16, TensorProto.BFLOAT16})


@derivative("LayerNormalization")
def layer_normalization(step: Step) -> Diffs:
    """Outputs: y, and optionally the means and 1 / sqrt(variance + epsilon), which may have diffs too."""
    scale, shift = step.operands[1], step.optional(2)
    standard = _Standardised.of(step, step.x, _trailing_axes(step), centre=True)
    of_y, of_mean, of_inverse = (*step.diffs, None, None)[:3]
    parts = list[Value]()
    if of_y is not None:
        parts.append(standard.backward(of_y * scale))
    if of_mean is not None:
        share = of_mean.cast(standard.count.type) / standard.count
        parts.append(step.graph.emit("Expand", [share.cast(step.x.type), step.x.sizes()]))
    if of_inverse is not None:
        squared = standard.inverse * standard.inverse * of_inverse.cast(standard.inverse.type)
        parts.append(-(standard.normal * squared / standard.count).cast(step.x.type))
    x = step.graph.emit("Sum", parts) if len(parts) > 1 else parts[0]
    if of_y is None:
        return [x]
    of_scale = step.sum_to(of_y * standard.normal.cast(of_y.type), scale)
    return [x, of_scale, None if shift is None else step.sum_to(of_y, shift)]


@derivative("RMSNormalization")
def rms_normalization(step: Step) -> Diffs:
    """Zhang and Sennrich 2019: without the mean, by the root of the mean square."""
    scale = step.operands[1]
    standard = _Standardised.of(step, step.x, _trailing_axes(step), centre=False)
    of_scale = step.sum_to(step.diff * standard.normal.cast(step.diff.type), scale)
    return [standard.backward(step.diff * scale), of_scale]


@derivative("InstanceNormalization")
def instance_normalization(step: Step) -> Diffs:
    return [_of_groups(step, [0, 0, -1])]


@derivative("GroupNormalization")
def group_normalization(step: Step) -> Diffs:
    return [_of_groups(step, [0, step.attribute("num_groups", 1), -1])]


def _of_groups(step: Step, groups: list[int]) -> Value:
    """The diff of an image whose channels, or groups of them, are normalised over rows, columns and channels.

    Parameters
    ----------
    groups : list of int
        Axes of photos, groups and what is in them; as in ONNX's Reshape, 0 keeps a size and -1 infers one.
    """
    step.only_first()
    scaled = step.diff.reshape([0, 0, -1]) * step.operands[1].reshape([-1, 1])
    standard = _Standardised.of(step, step.x.reshape(groups), [-1], centre=True)
    return standard.backward(scaled.reshape(groups)).reshape(step.x.sizes())


def _trailing_axes(step: Step) -> list[int]:
    """The axes from the attribute on, counted from the end."""
    axis = step.attribute("axis", -1)
    if axis >= 0:
        if step.x.shape is None:
            raise step.error(f"expected '{step.x.name}' to have a known number of axes")
        axis -= len(step.x.shape)
    return list(range(axis, 0))


@dataclass(frozen=True)
class _Standardised:
    """Numbers of mean 0 and variance 1.

    Attributes
    ----------
    normal : Value
    inverse : Value
        What they were multiplied with, 1 / sqrt(variance + epsilon).
    axes : Value
        Those over which the statistics are taken.
    count : Value
        How many numbers have their statistics in common.
    centred : bool
        Whether their mean was subtracted.
    """

    normal: Value
    inverse: Value
    axes: Value
    count: Value
    centred: bool

    @classmethod
    def of(cls, step: Step, x: Value, axes: list[int], centre: bool) -> _Standardised:
        """Computed anew: operators do not put out all of it, and a variance from differences keeps its digits."""
        graph, over = step.graph, step.graph.integers(axes)
        wide = x.cast(TensorProto.FLOAT) if x.type in _HALVES else x
        total = graph.emit("ReduceSum", [wide, over], keepdims=1)
        count = graph.emit("Div", [wide.count(), total.count()]).cast(wide.type)
        if centre:
            wide = wide - total / count
        variance = graph.emit("ReduceSum", [wide * wide, over], keepdims=1) / count
        root = graph.emit("Sqrt", [variance + step.attribute("epsilon", 1e-5)])
        inverse = graph.emit("Reciprocal", [root])
        return cls(wide * inverse, inverse, over, count, centre)

    def backward(self, diff: Value) -> Value:
        """The diff of x from that of the numbers: less what shifting and stretching all of x would change."""
        wide = diff.cast(self.normal.type)
        left = wide - self.normal * self._mean(wide * self.normal)
        if self.centred:
            left = left - self._mean(wide)
        return (left * self.inverse).cast(diff.type)

    def _mean(self, value: Value) -> Value:
        return value.graph.emit("ReduceSum", [value, self.axes], keepdims=1) / self.count

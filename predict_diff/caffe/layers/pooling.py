"""Pooling over windows, and over whole planes."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from .. import caffe_pb2
from ..graph import Value, sizes_text
from ..layer import Layer
from .registry import layer_type

_MAX, _AVERAGE = caffe_pb2.PoolingParameter.MAX, caffe_pb2.PoolingParameter.AVE


@layer_type("Pooling")
def pooling(layer: Layer) -> list[Value]:
    """Maximum or average over windows. A second top of MAX is the place of each maximum in its plane.

    Caffe: pooling_layer. Output sizes round up.
    """
    settings = layer.parameters.pooling_param
    bottom = layer.bottom
    if bottom.rank != 4:
        raise layer.error(f"expected a blob with 4 axes, found {layer.called(bottom)}")
    if settings.pool not in (_MAX, _AVERAGE):
        raise layer.error("expected MAX or AVE, found STOCHASTIC, which draws at random; use MAX or AVE")
    with_mask = len(layer.parameters.top) > 1
    if with_mask and settings.pool != _MAX:
        raise layer.error("expected MAX pooling, which alone has a second top, found AVE")
    if settings.global_pooling:
        if any((settings.kernel_size, settings.kernel_h, settings.kernel_w)):
            raise layer.error("expected global_pooling or a kernel size, found both")
        if any((settings.pad, settings.pad_h, settings.pad_w)) or {
            settings.stride,
            settings.stride_h,
            settings.stride_w,
        } - {0, 1}:
            raise layer.error("expected no pad and a stride of 1 with global_pooling, found others")
        height, width = layer.sizes(bottom, 2)
        window = PoolingWindow(height, width, 1, 1, 0, 0, round_up=False)
    else:
        window = PoolingWindow.from_settings(layer)
    return pool(layer, bottom, window, settings.pool == _AVERAGE, with_mask)


@layer_type("SPP")
def spatial_pyramid_pooling(layer: Layer) -> list[Value]:
    """Pooled into 1, 2 x 2, 4 x 4, ... bins, each flattened, one after another. Caffe: spp_layer."""
    settings = layer.parameters.spp_param
    bottom, levels = layer.bottom, int(settings.pyramid_height)
    if bottom.rank != 4 or levels < 1 or settings.pool not in (_MAX, _AVERAGE):
        raise layer.error("expected a blob with 4 axes, a pyramid_height of at least 1, and MAX or AVE pooling")
    tops = []
    for level in range(levels):
        window = PoolingWindow.of_bins(layer, 2**level, *layer.sizes(bottom, 2))
        (pooled,) = pool(layer, bottom, window, settings.pool == _AVERAGE)
        tops.append(pooled)
    if levels == 1:
        # Caffe: a pyramid of one level is not flattened.
        return tops
    flat = [layer.reshape(top, (top.shape[0], prod(layer.sizes(top, 1)))) for top in tops]
    return [layer.emit("Concat", flat, (bottom.shape[0], sum(layer.size(top, 1) for top in flat)), axis=1)]


@dataclass(frozen=True)
class PoolingWindow:
    """Geometry of a pooling layer: kernel, stride and pad along both axes."""

    kernel_h: int
    kernel_w: int
    stride_h: int
    stride_w: int
    pad_h: int
    pad_w: int
    round_up: bool = True

    @classmethod
    def from_settings(cls, layer: Layer) -> PoolingWindow:
        settings = layer.parameters.pooling_param

        def pair(both: str, name: str) -> tuple[int, int]:
            named = [settings.HasField(f"{name}_{axis}") for axis in "hw"]
            if any(named) and (settings.HasField(both) or not all(named)):
                raise layer.error(f"expected {both}, or {name}_h and {name}_w, found another combination")
            height, width = (f"{name}_h", f"{name}_w") if any(named) else (both, both)
            return int(getattr(settings, height)), int(getattr(settings, width))

        kernel, stride, pad = pair("kernel_size", "kernel"), pair("stride", "stride"), pair("pad", "pad")
        round_up = settings.round_mode == caffe_pb2.PoolingParameter.CEIL
        return cls(*kernel, *stride, *pad, round_up).checked(layer)

    @classmethod
    def of_bins(cls, layer: Layer, bins: int, height: int, width: int) -> PoolingWindow:
        """Windows side by side that cover the plane with so many bins along each axis."""
        kernel_h, kernel_w = -(-height // bins), -(-width // bins)
        pad_h, pad_w = (kernel_h * bins - height + 1) // 2, (kernel_w * bins - width + 1) // 2
        return cls(kernel_h, kernel_w, kernel_h, kernel_w, pad_h, pad_w).checked(layer)

    def checked(self, layer: Layer) -> PoolingWindow:
        """Itself; ConversionError if there can be no such window."""
        kernel, stride, pad = (self.kernel_h, self.kernel_w), (self.stride_h, self.stride_w), (self.pad_h, self.pad_w)
        layer.expect_sizes("kernel", kernel)
        layer.expect_sizes("stride", stride)
        if pad[0] >= kernel[0] or pad[1] >= kernel[1]:
            raise layer.error(
                f"expected a pad smaller than the kernel, found {sizes_text(pad)} for {sizes_text(kernel)}"
            )
        return self

    def output_sizes(self, height: int, width: int) -> tuple[int, int]:
        """Caffe's output sizes, empty last windows included."""
        sizes = []
        for size, kernel, stride, pad in self._axes(height, width):
            span = size + 2 * pad - kernel
            pooled = (-(-span // stride) if self.round_up else span // stride) + 1
            # Caffe: with any padding, the last window has to start inside the image or its leading pad.
            if (self.pad_h or self.pad_w) and (pooled - 1) * stride >= size + pad:
                pooled -= 1
            sizes.append(pooled)
        return sizes[0], sizes[1]

    def filled_sizes(self, height: int, width: int) -> tuple[int, int]:
        """How many of the windows touch the image; without padding, a last one can miss it."""
        return tuple(  # type: ignore[return-value]
            min(pooled, -(-(size + pad) // stride))
            for pooled, (size, _, stride, pad) in zip(
                self.output_sizes(height, width), self._axes(height, width), strict=True
            )
        )

    def empty_extents(self, height: int, width: int) -> list[NDArray[np.float32]]:
        """Along each axis, the extent that Caffe takes empty windows to have, and 1 for those that touch the image.

        Caffe: 0 for a window that starts right behind the image, below 0 for one that starts beyond.
        """
        return [
            np.minimum(size - (np.arange(pooled) * stride - pad), 1).astype(np.float32)
            for pooled, (size, _, stride, pad) in zip(
                self.output_sizes(height, width), self._axes(height, width), strict=True
            )
        ]

    def overhangs(self, height: int, width: int) -> bool:
        """Whether a last window reaches beyond the padded image, which ONNX calls ceil mode."""
        return any(
            (pooled - 1) * stride + kernel > size + 2 * pad
            for pooled, (size, kernel, stride, pad) in zip(
                self.filled_sizes(height, width), self._axes(height, width), strict=True
            )
        )

    def _axes(self, height: int, width: int) -> list[tuple[int, int, int, int]]:
        return [
            (height, self.kernel_h, self.stride_h, self.pad_h),
            (width, self.kernel_w, self.stride_w, self.pad_w),
        ]


def pool(layer: Layer, bottom: Value, window: PoolingWindow, average: bool, with_mask: bool = False) -> list[Value]:
    """Add the operators that pool `bottom`; returns the pooled value and, if asked for, the mask."""
    height, width = layer.sizes(bottom, 2)
    pooled = window.output_sizes(height, width)
    filled = window.filled_sizes(height, width)
    if min(filled) < 1:
        raise layer.error(f"expected a kernel no larger than its padded input, found one over {height} x {width}")
    shape = (*bottom.shape[:2], *filled)
    whole = (window.kernel_h, window.kernel_w) == (height, width) and filled == (1, 1)
    if whole and window.pad_h == window.pad_w == 0 and not with_mask:
        return [layer.emit("GlobalAveragePool" if average else "GlobalMaxPool", [bottom], shape)]
    attributes: dict[str, object] = {
        "kernel_shape": (window.kernel_h, window.kernel_w),
        "strides": (window.stride_h, window.stride_w),
        "pads": (window.pad_h, window.pad_w, window.pad_h, window.pad_w),
        "ceil_mode": int(window.overhangs(height, width)),
    }
    if average:
        # Caffe: the divisor counts padding, but nothing beyond it; ONNX says the same from opset 22 on.
        tops = [layer.emit("AveragePool", [bottom], shape, count_include_pad=1, **attributes)]
    elif with_mask:
        values, places = layer.emit_many("MaxPool", [bottom], [shape, shape], **attributes)
        places.type = TensorProto.INT64
        # ONNX counts through the whole tensor, Caffe within each plane.
        within = layer.same("Mod", [places, layer.integers([height * width])])
        tops = [values, layer.same("Cast", [within], to=TensorProto.FLOAT)]
    else:
        tops = [layer.emit("MaxPool", [bottom], shape, **attributes)]
    if filled == pooled:
        return tops
    # Caffe: an empty window keeps what it was initialised with: 0, -FLT_MAX, the mask -1.
    fills: list[float] = [0.0] if average else [-float(np.finfo(np.float32).max), -1.0]
    ends = layer.integers([0, 0, 0, 0, 0, 0, pooled[0] - filled[0], pooled[1] - filled[1]])
    tops = [
        layer.emit("Pad", [top, ends, layer.constant(fill)], (*bottom.shape[:2], *pooled))
        for top, fill in zip(tops, fills, strict=False)
    ]
    if average:
        # Caffe: divides the 0 by rows times columns: NaN, or a zero with a sign.
        rows, columns = window.empty_extents(height, width)
        for extents in (rows[:, None], columns):
            if extents.min() < 1:
                tops = [layer.same("Div", [tops[0], layer.constant(extents)])]
    return tops

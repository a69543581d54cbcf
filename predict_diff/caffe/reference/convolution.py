"""Convolution and its transpose, over any number of spatial axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .base import Array, LayerFunction, Stored, Tops, weight


@dataclass(frozen=True)
class Geometry:
    """Kernel, stride, pad and dilation along each spatial axis."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pad: tuple[int, ...]
    dilation: tuple[int, ...]

    @classmethod
    def of(cls, settings: Any, axes: int) -> Geometry:
        """Caffe: each is stated once, once an axis, or (but for dilation) as _h and _w. base_conv_layer."""

        def along_axes(stated: Any, default: int, height: str = "", width: str = "") -> tuple[int, ...]:
            if height and (settings.HasField(height) or settings.HasField(width)):
                return getattr(settings, height), getattr(settings, width)
            values = tuple(stated) or (default,)
            return values * axes if len(values) == 1 else values

        return cls(
            along_axes(settings.kernel_size, 0, "kernel_h", "kernel_w"),
            along_axes(settings.stride, 1, "stride_h", "stride_w"),
            along_axes(settings.pad, 0, "pad_h", "pad_w"),
            along_axes(settings.dilation, 1),
        )

    @property
    def extent(self) -> tuple[int, ...]:
        """How far a kernel reaches, holes included."""
        return tuple((kernel - 1) * dilation + 1 for kernel, dilation in zip(self.kernel, self.dilation, strict=True))

    def touched(self, offset: tuple[int, ...], positions: tuple[int, ...]) -> Any:
        """What one number of the kernel meets as the kernel moves over its positions."""
        starts = [place * dilation for place, dilation in zip(offset, self.dilation, strict=True)]
        steps = zip(starts, self.stride, positions, strict=True)
        return (..., *(slice(start, start + stride * (count - 1) + 1, stride) for start, stride, count in steps))


def convolution(layer: Any, bottoms: list[Array], stored: Stored) -> Tops:
    """Sum of kernel times image at every place where the kernel fits into the padded image. Caffe: conv_layer."""
    settings = layer.convolution_param
    return [_convolve(settings, bottom, stored) for bottom in bottoms]


def _convolve(settings: Any, x: Array, stored: Stored) -> Array:
    axis = settings.axis % x.ndim
    outer, channels, image = x.shape[:axis], x.shape[axis], x.shape[axis + 1 :]
    geometry = Geometry.of(settings, len(image))
    groups, outputs = settings.group, settings.num_output
    kernels = _matrices(weight(stored, 0, (groups, outputs // groups, channels // groups, *geometry.kernel)))
    padded = np.pad(x.reshape(-1, channels, *image), [(0, 0), (0, 0), *((pad, pad) for pad in geometry.pad)])
    # Caffe: rounds down, so that a kernel never reaches beyond the padding.
    size = tuple(
        (padded.shape[2 + index] - extent) // geometry.stride[index] + 1 for index, extent in enumerate(geometry.extent)
    )
    y = np.zeros((len(padded), groups, outputs // groups, int(np.prod(size))))
    for offset in np.ndindex(*geometry.kernel):
        met = padded[geometry.touched(offset, size)].reshape(len(padded), groups, channels // groups, -1)
        y += kernels[offset] @ met
    return _with_bias(settings, y.reshape(*outer, outputs, *size), stored, axis)


def deconvolution(layer: Any, bottoms: list[Array], stored: Stored) -> Tops:
    """Kernel times number, added up at every place of the output; the padding is cut off. Caffe: deconv_layer."""
    settings = layer.convolution_param
    return [_deconvolve(settings, bottom, stored) for bottom in bottoms]


def _deconvolve(settings: Any, x: Array, stored: Stored) -> Array:
    axis = settings.axis % x.ndim
    outer, channels, image = x.shape[:axis], x.shape[axis], x.shape[axis + 1 :]
    geometry = Geometry.of(settings, len(image))
    groups, outputs = settings.group, settings.num_output
    kernels = _matrices(weight(stored, 0, (groups, channels // groups, outputs // groups, *geometry.kernel)))
    numbers = x.reshape(-1, groups, channels // groups, int(np.prod(image)))
    whole = tuple(geometry.stride[index] * (size - 1) + geometry.extent[index] for index, size in enumerate(image))
    y = np.zeros((len(numbers), outputs, *whole))
    for offset in np.ndindex(*geometry.kernel):
        spread = kernels[offset].swapaxes(-1, -2) @ numbers
        y[geometry.touched(offset, image)] += spread.reshape(-1, outputs, *image)
    kept: Any = (..., *(slice(pad, size - pad) for pad, size in zip(geometry.pad, whole, strict=True)))
    y = y[kept]
    return _with_bias(settings, y.reshape(*outer, *y.shape[1:]), stored, axis)


def _matrices(kernels: Array) -> Array:
    """For each place of the kernel, one matrix a group; in one piece, as fast products need it."""
    return np.ascontiguousarray(np.moveaxis(kernels, (0, 1, 2), (-3, -2, -1)))


def _with_bias(settings: Any, y: Array, stored: Stored, axis: int) -> Array:
    if not settings.bias_term:
        return y
    return y + weight(stored, 1, (settings.num_output, *[1] * (y.ndim - axis - 1)))


TYPES: dict[str, LayerFunction] = {
    "Convolution": convolution,
    "Deconvolution": deconvolution,
    # MobileNet's: the same sums, quicker for as many groups as channels.
    "DepthwiseConvolution": convolution,
}

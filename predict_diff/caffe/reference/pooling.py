"""Pooling, window by window."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, floor
from typing import Any

import numpy as np

from .base import FLT_MAX, Array, LayerFunction, Stored, Tops


@dataclass(frozen=True)
class Axis:
    """Pooling along one axis of the image."""

    size: int
    kernel: int
    stride: int
    pad: int

    def count(self, rounding: Any, padded: bool) -> int:
        """Number of windows. Caffe: with padding on either axis, the last one must not start beyond the image's pad."""
        count = int(rounding((self.size + 2 * self.pad - self.kernel) / self.stride)) + 1
        return count - 1 if padded and (count - 1) * self.stride >= self.size + self.pad else count

    def start(self, position: int) -> int:
        return position * self.stride - self.pad

    def within(self, position: int) -> slice:
        """The part of a window that lies in the image."""
        start = self.start(position)
        return slice(max(start, 0), min(start + self.kernel, self.size))

    def counted(self, position: int) -> int:
        """The part of a window that an average divides by: padding counts, what is beyond it does not."""
        start = self.start(position)
        return min(start + self.kernel, self.size + self.pad) - start


def pooling(layer: Any, bottoms: list[Array], stored: Stored) -> Tops:
    """Maximum or average over windows; a second top of MAX tells where each maximum is. Caffe: pooling_layer."""
    settings = layer.pooling_param
    x = bottoms[0]
    rows, columns = _axis(settings, x.shape[2], "h"), _axis(settings, x.shape[3], "w")
    rounding = floor if settings.round_mode == settings.FLOOR else ceil
    if settings.pool == settings.AVE:
        return [average(x, rows, columns, rounding)]
    values, places = maximum(x, rows, columns, rounding)
    return [values, places][: len(layer.top)]


def _axis(settings: Any, size: int, letter: str) -> Axis:
    if settings.global_pooling:
        return Axis(size, size, 1, 0)

    def stated(name: str, own: str, both: bool) -> int:
        return int(getattr(settings, name if both else f"{own}_{letter}"))

    # Caffe: of kernel_size and kernel_h the former decides, of stride and stride_h, pad and pad_h the latter.
    return Axis(
        size,
        stated("kernel_size", "kernel", settings.HasField("kernel_size")),
        stated("stride", "stride", not settings.HasField("stride_h")),
        stated("pad", "pad", not settings.HasField("pad_h")),
    )


def _windows(rows: Axis, columns: Axis, rounding: Any) -> Iterator[tuple[int, int]]:
    padded = rows.pad > 0 or columns.pad > 0
    return iter(np.ndindex(rows.count(rounding, padded), columns.count(rounding, padded)))


def _empty(x: Array, rows: Axis, columns: Axis, rounding: Any) -> Array:
    padded = rows.pad > 0 or columns.pad > 0
    return np.empty((*x.shape[:2], rows.count(rounding, padded), columns.count(rounding, padded)))


def average(x: Array, rows: Axis, columns: Axis, rounding: Any) -> Array:
    """Averages; where a window meets nothing, 0 divided by what it counts, which may be 0."""
    y = _empty(x, rows, columns, rounding)
    for i, j in _windows(rows, columns, rounding):
        total = x[:, :, rows.within(i), columns.within(j)].sum(axis=(2, 3))
        y[:, :, i, j] = total / np.float64(rows.counted(i) * columns.counted(j))
    return y


def maximum(x: Array, rows: Axis, columns: Axis, rounding: Any) -> tuple[Array, Array]:
    """Maxima, and row times width plus column of the first place where each is met.

    Caffe: starts from -FLT_MAX and place -1, which stay where a window meets nothing larger; NaN is never larger.
    """
    values = _empty(x, rows, columns, rounding)
    places = np.empty_like(values)
    for i, j in _windows(rows, columns, rounding):
        window = x[:, :, rows.within(i), columns.within(j)]
        width = window.shape[3]
        numbers = window.reshape(*x.shape[:2], -1)
        largest = np.fmax.reduce(numbers, axis=2, initial=-FLT_MAX)
        values[:, :, i, j] = largest
        found = numbers == largest[:, :, None]
        first = found.argmax(axis=2) if numbers.size else np.zeros(x.shape[:2], int)
        row, column = rows.within(i).start + first // max(width, 1), columns.within(j).start + first % max(width, 1)
        places[:, :, i, j] = np.where(largest > -FLT_MAX, row * columns.size + column, -1)
    return values, places


def spatial_pyramid(layer: Any, bottoms: list[Array], stored: Stored) -> Tops:
    """Pooling into 1, 4, 16, ... windows that cover the image, one after another. Caffe: spp_layer."""
    settings = layer.spp_param
    x = bottoms[0]
    levels = []
    for level in range(settings.pyramid_height):
        rows, columns = (_bins(size, 2**level) for size in x.shape[2:])
        levels.append(
            average(x, rows, columns, ceil) if settings.pool == settings.AVE else maximum(x, rows, columns, ceil)[0]
        )
    # Caffe: a pyramid of one level is a pooling layer, which does not flatten.
    return [levels[0] if len(levels) == 1 else np.concatenate([y.reshape(len(x), -1) for y in levels], axis=1)]


def _bins(size: int, count: int) -> Axis:
    kernel = ceil(size / count)
    return Axis(size, kernel, kernel, (kernel * count - size + 1) // 2)


TYPES: dict[str, LayerFunction] = {"Pooling": pooling, "SPP": spatial_pyramid}

"""Layers of Caffe's forks that have settings of their own."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..caffe_pb2 import LayerParameter
from .base import Array, LayerFunction, Stored, Tops, beside, weight
from .convolution import convolution


def convolution_depthwise(layer: Any, bottoms: list[Array], stored: Stored) -> Tops:
    """One kernel for each channel; `group` and `num_output` need not be stated. MobileNet's forks of Caffe."""
    channels = bottoms[0].shape[1]
    each = LayerParameter()
    each.convolution_param.CopyFrom(layer.convolution_param)
    each.convolution_param.group = each.convolution_param.num_output = channels
    return convolution(each, bottoms, stored)


def interp(layer: Any, bottoms: list[Array], stored: Stored) -> Tops:
    """Bilinear between the four pixels around, corners upon corners. DeepLab's fork of Caffe."""
    settings = layer.interp_param
    height, width = bottoms[0].shape[2:]
    first = -settings.pad_beg
    x = bottoms[0][:, :, first : height + settings.pad_end, first : width + settings.pad_end]
    rows, columns = bottoms[1].shape[2:] if len(bottoms) > 1 else _sizes(settings, *x.shape[2:])
    above, below, share = _neighbours(x.shape[2], rows)
    left, right, part = _neighbours(x.shape[3], columns)
    share, top, bottom = share[:, None], x[:, :, above], x[:, :, below]
    return [
        (1 - share) * ((1 - part) * top[..., left] + part * top[..., right])
        + share * ((1 - part) * bottom[..., left] + part * bottom[..., right])
    ]


def _sizes(settings: Any, height: int, width: int) -> tuple[int, int]:
    shrinks, zooms = settings.HasField("shrink_factor"), settings.HasField("zoom_factor")
    if shrinks == zooms and settings.HasField("height") and settings.HasField("width"):
        return settings.height, settings.width
    if shrinks:
        height, width = ((size - 1) // settings.shrink_factor + 1 for size in (height, width))
    if zooms:
        height, width = (size + (size - 1) * (settings.zoom_factor - 1) for size in (height, width))
    return height, width


def _neighbours(size: int, wanted: int) -> tuple[Any, Any, Array]:
    """For each place of the output, the pixels before and behind it, and the share of the latter."""
    ratio = np.float32(size - 1) / np.float32(wanted - 1) if wanted > 1 else np.float32(0)
    # The fork computes places in single precision, which decides near whole numbers.
    places = (ratio * np.arange(wanted, dtype=np.float32)).astype(np.float64)
    before = np.floor(places).astype(int)
    return before, np.where(before < size - 1, before + 1, before), places - before


def normalize(layer: Any, bottoms: list[Array], stored: Stored) -> Tops:
    """x over its Euclidean length along channels, or of the whole photo, times a scale. SSD's fork of Caffe."""
    settings = layer.norm_param
    x = bottoms[0]
    summed = tuple(range(1, x.ndim)) if settings.across_spatial else (1,)
    scale = weight(stored, 0, () if settings.channel_shared else (x.shape[1],))
    unit = x / np.sqrt(settings.eps + np.square(x).sum(axis=summed, keepdims=True))
    return [unit * (beside(x, scale, 1) if scale.ndim else scale)]


def permute(layer: Any, bottoms: list[Array], stored: Stored) -> Tops:
    """Axes in the order given, then the others. SSD's fork of Caffe."""
    given = list(layer.permute_param.order)
    return [np.transpose(bottoms[0], given + sorted(set(range(bottoms[0].ndim)) - set(given)))]


def shuffle_channel(layer: Any, bottoms: list[Array], stored: Stored) -> Tops:
    """Channel i of group g becomes channel i * groups + g. ShuffleNet's forks of Caffe."""
    x, groups = bottoms[0], layer.shuffle_channel_param.group
    y, each = np.empty_like(x), x.shape[1] // groups
    for group in range(groups):
        y[:, group::groups] = x[:, group * each : (group + 1) * each]
    return [y]


def upsample(layer: Any, bottoms: list[Array], stored: Stored) -> Tops:
    """Every pixel as a square of equal ones. YOLO's forks of Caffe."""
    scale = layer.upsample_param.scale
    return [bottoms[0].repeat(scale, axis=2).repeat(scale, axis=3)]


TYPES: dict[str, LayerFunction] = {
    "ConvolutionDepthwise": convolution_depthwise,
    "Interp": interp,
    "Normalize": normalize,
    "Permute": permute,
    "ShuffleChannel": shuffle_channel,
    "Upsample": upsample,
}

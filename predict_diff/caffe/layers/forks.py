"""Well-known layers of Caffe's forks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..caffe_pb2 import LayerParameter
from ..graph import Value, sizes_text
from ..layer import Layer
from .registry import ANY_NUMBER, layer_type
from .spatial import convolution

# MobileNet's: a convolution with as many groups as channels, of which the fork has a faster version.
layer_type("DepthwiseConvolution", bottoms=ANY_NUMBER)(convolution)


@layer_type("ConvolutionDepthwise")
def convolution_depthwise(layer: Layer) -> Sequence[Value | None] | None:
    """A convolution with as many groups and outputs as channels, whatever `group` says. MobileNet's too."""
    channels = layer.size(layer.bottom, 1)
    parameters = LayerParameter()
    parameters.CopyFrom(layer.parameters)
    settings = parameters.convolution_param
    if settings.num_output not in (0, channels):
        raise layer.error(f"expected num_output {channels}, as many as channels, found {settings.num_output}")
    settings.num_output = settings.group = channels
    return convolution(replace(layer, parameters=parameters))


@layer_type("ReLU6")
def relu6(layer: Layer) -> list[Value]:
    """min(max(x, 0), 6). MobileNet's.

    Not a Clip, whose slope at its bounds is 1: the fork's is 0 at 0 and at 6.
    """
    return [layer.same("Min", [layer.same("Relu", [layer.bottom]), layer.constant(6)])]


@layer_type("Axpy", bottoms=(3, 3))
def axpy(layer: Layer) -> list[Value]:
    """a x + y, where a has one number for each channel of each photo. SENet's."""
    factor, x, y = layer.bottoms
    if x.shape != y.shape or x.rank < 2 or factor.shape not in (x.shape[:2], (*x.shape[:2], *[1] * (x.rank - 2))):
        raise layer.error(
            f"expected a factor for each channel and two blobs of one shape, found {sizes_text(factor.shape)}, "
            f"{sizes_text(x.shape)} and {sizes_text(y.shape)}"
        )
    factor = layer.reshape(factor, (*x.shape[:2], *[1] * (x.rank - 2)))
    return [layer.same("Add", [layer.same("Mul", [x, factor]), y])]


@layer_type("Permute")
def permute(layer: Layer) -> list[Value]:
    """The axes in another order; those that `order` does not list follow in their own. SSD's."""
    bottom, order = layer.bottom, [int(axis) for axis in layer.parameters.permute_param.order]
    if len(set(order)) < len(order) or any(axis >= bottom.rank for axis in order):
        raise layer.error(
            f"expected an order that lists axes of {layer.called(bottom)}, each once, found {sizes_text(order)}"
        )
    order += [axis for axis in range(bottom.rank) if axis not in order]
    if order == sorted(order):
        return [bottom]
    return [layer.emit("Transpose", [bottom], tuple(bottom.shape[axis] for axis in order), perm=order)]


@layer_type("Normalize")
def normalize(layer: Layer) -> list[Value]:
    """scale x / sqrt(sum of x^2 + eps), summed over the channels or, `across_spatial`, over a whole photo. SSD's.

    The scale is learned, one number for all channels or one for each.
    """
    settings, bottom = layer.parameters.norm_param, layer.bottom
    if not 2 <= bottom.rank <= 4:
        raise layer.error(f"expected a blob with 2 to 4 axes, found {layer.called(bottom)}")
    channels = layer.size(bottom, 1)
    layer.expect_blobs(1)
    scales = layer.blob(0, () if settings.channel_shared else (channels,), "scales")
    behind = bottom.rank if settings.across_spatial else 2
    shape = (bottom.shape[0], *[1] * (behind - 1), *bottom.shape[behind:])
    axes = layer.integers(range(1, behind))
    squares = layer.emit("ReduceSum", [layer.same("Mul", [bottom, bottom]), axes], shape)
    length = layer.same("Sqrt", [layer.same("Add", [squares, layer.constant(settings.eps)])])
    factors = layer.constant(scales.reshape(-1, *[1] * (bottom.rank - 2)))
    return [layer.same("Mul", [layer.same("Div", [bottom, length]), factors])]


@layer_type("ShuffleChannel")
def shuffle_channel(layer: Layer) -> list[Value]:
    """First channel of each group, second of each group, and so on. ShuffleNet's."""
    bottom, group = layer.bottom, int(layer.parameters.shuffle_channel_param.group)
    channels = layer.size(bottom, 1)
    if group < 1 or channels % group:
        raise layer.error(f"expected a group that divides the channels of {layer.called(bottom)}, found {group}")
    batch, rest, along = bottom.shape[0], bottom.shape[2:], range(3, bottom.rank + 1)
    grouped = layer.reshape(bottom, (batch, group, channels // group, *rest))
    turned = layer.emit("Transpose", [grouped], (batch, channels // group, group, *rest), perm=[0, 2, 1, *along])
    return [layer.reshape(turned, bottom.shape)]


@layer_type("Upsample", bottoms=(1, 2))
def upsample(layer: Layer) -> list[Value]:
    """Each pixel `scale` times along both axes. YOLO's; SegNet's layer of the same name is refused."""
    settings, bottom = layer.parameters.upsample_param, layer.bottom
    segnets = ("upsample_h", "upsample_w", "scale_h", "scale_w", "pad_out_h", "pad_out_w")
    if len(layer.bottoms) > 1 or any(settings.HasField(name) for name in segnets):
        raise layer.error(
            "expected one bottom and a scale, found SegNet's form, which puts numbers back to the places of maxima and "
            "is not supported; cut the description before this layer"
        )
    scale = int(settings.scale)
    layer.expect_sizes("scale", [scale])
    if bottom.rank != 4:
        raise layer.error(f"expected a blob with 4 axes, found {layer.called(bottom)}")
    (height, width), outer = layer.sizes(bottom, 2), bottom.shape[:2]
    apart = layer.reshape(bottom, (*outer, height, 1, width, 1))
    repeats = layer.integers([1, 1, 1, scale, 1, scale])
    repeated = layer.emit("Expand", [apart, repeats], (*outer, height, scale, width, scale))
    return [layer.reshape(repeated, (*outer, height * scale, width * scale))]


#: Numbers of an interpolation matrix: 2048 pixels from as many; it is written into the converted network.
_MATRIX_AT_MOST = 2**22


@layer_type("Interp", bottoms=(1, 2))
def interp(layer: Layer) -> list[Value]:
    """Bilinear interpolation between pixels, corners upon corners; negative pads crop. DeepLab's and PSPNet's.

    Along each axis it is a product with a matrix, for which every runtime has a quick operator.
    """
    bottom = layer.bottom
    if bottom.rank != 4:
        raise layer.error(f"expected a blob with 4 axes, found {layer.called(bottom)}")
    cropped = _cropped(layer)
    (height, width), (rows, columns) = layer.sizes(cropped, 2), _interpolated_sizes(layer, cropped)
    layer.expect_sizes("interpolated size", [rows, columns])
    if max(height * rows, width * columns) > _MATRIX_AT_MOST:
        raise layer.error(
            f"expected sizes along an axis whose product is at most {_MATRIX_AT_MOST:,}, found {height} x {width} to "
            f"be made {rows} x {columns}"
        )
    value, outer = cropped, bottom.shape[:2]
    if columns != width:
        value = layer.emit(
            "MatMul", [value, layer.constant(_interpolation(width, columns).T)], (*outer, height, columns)
        )
    if rows != height:
        value = layer.emit("MatMul", [layer.constant(_interpolation(height, rows)), value], (*outer, rows, columns))
    return [value]


def _cropped(layer: Layer) -> Value:
    """The bottom without what negative pads cut off."""
    settings, bottom = layer.parameters.interp_param, layer.bottom
    begin, end = -int(settings.pad_beg), -int(settings.pad_end)
    height, width = layer.sizes(bottom, 2)
    if begin < 0 or end < 0 or begin + end >= min(height, width):
        raise layer.error(
            f"expected pad_beg and pad_end of 0 or below, which crop, and something left of {layer.called(bottom)}, "
            f"found {settings.pad_beg} and {settings.pad_end}"
        )
    if begin == end == 0:
        return bottom
    sizes = height - begin - end, width - begin - end
    starts, ends = [begin, begin], [height - end, width - end]
    inputs = [bottom, *(layer.integers(numbers) for numbers in (starts, ends, [2, 3]))]
    return layer.emit("Slice", inputs, (*bottom.shape[:2], *sizes))


def _interpolated_sizes(layer: Layer, cropped: Value) -> tuple[int, int]:
    """Height and width of the top; of several ways to state them, the fork's order decides."""
    settings = layer.parameters.interp_param
    height, width = layer.sizes(cropped, 2)
    stated = [name for name in ("shrink_factor", "zoom_factor", "height", "width") if settings.HasField(name)]
    if len(layer.bottoms) > 1:
        if stated or layer.bottoms[1].rank != 4:
            raise layer.error("expected the size in interp_param, or a second bottom with 4 axes that has it")
        return layer.size(layer.bottoms[1], 2), layer.size(layer.bottoms[1], 3)
    shrinks, zooms = "shrink_factor" in stated, "zoom_factor" in stated
    if "height" in stated and "width" in stated and shrinks == zooms:
        return int(settings.height), int(settings.width)
    if not shrinks and not zooms:
        raise layer.error("expected height and width, zoom_factor or shrink_factor in interp_param, found none")
    shrink, zoom = int(settings.shrink_factor), int(settings.zoom_factor)
    layer.expect_sizes("shrink_factor and zoom_factor", [shrink, zoom])
    return ((height - 1) // shrink) * zoom + 1, ((width - 1) // shrink) * zoom + 1


def _interpolation(size: int, wanted: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """The matrix, (wanted, size), that interpolates along an axis. The fork's positions are in single precision too."""
    step = np.float32(size - 1) / np.float32(wanted - 1) if wanted > 1 else np.float32(0)
    positions = step * np.arange(wanted, dtype=np.float32)
    before = positions.astype(np.int64)
    share = positions - before.astype(np.float32)
    matrix = np.zeros((wanted, size), np.float32)
    matrix[np.arange(wanted), before] = 1 - share
    matrix[np.arange(wanted), np.minimum(before + 1, size - 1)] += share
    return matrix

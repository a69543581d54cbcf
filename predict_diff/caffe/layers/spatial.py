"""Convolution and its transpose."""

from __future__ import annotations

from typing import Any

from ..graph import Layer, Value
from .registry import ANY_NUMBER, layer_type


@layer_type("Convolution", bottoms=ANY_NUMBER)
def convolution(layer: Layer) -> list[Value]:
    """Cross-correlation with zero padding, in groups; any number of spatial axes. Output sizes round down.

    Caffe: base_conv_layer. Weights are (outputs, inputs / group, kernel...). Several bottoms share the weights.
    """
    settings = layer.parameters.convolution_param
    geometry = Geometry(layer, settings)
    outputs, group = int(settings.num_output), int(settings.group)
    channels = layer.size(layer.bottoms[0], 1)
    geometry.expect_groups(channels, outputs, group)
    inputs = _weights(layer, (outputs, channels // group, *geometry.kernel), outputs, settings.bias_term)
    tops = []
    for bottom in layer.bottoms:
        if layer.size(bottom, 1) != channels:
            raise layer.error(f"bottoms differ in channels: {channels} and {layer.size(bottom, 1)}")
        sizes = tuple(
            (size + 2 * pad - (dilation * (kernel - 1) + 1)) // stride + 1
            for size, pad, dilation, kernel, stride in zip(
                layer.sizes(bottom, 2), geometry.pad, geometry.dilation, geometry.kernel, geometry.stride, strict=True
            )
        )
        if min(sizes) < 1:
            raise layer.error(f"the kernel {geometry.kernel} is larger than its padded input {bottom.shape[2:]}")
        shape = (bottom.shape[0], outputs, *sizes)
        tops.append(layer.emit("Conv", [bottom, *inputs], shape, **geometry.attributes(group)))
    return tops


@layer_type("Deconvolution", bottoms=ANY_NUMBER)
def deconvolution(layer: Layer) -> list[Value]:
    """The transpose of a convolution; output size ``stride (size - 1) + kernel - 2 pad``.

    Caffe: deconv_layer. Weights are (inputs, outputs / group, kernel...).
    """
    settings = layer.parameters.convolution_param
    geometry = Geometry(layer, settings)
    outputs, group = int(settings.num_output), int(settings.group)
    channels = layer.size(layer.bottoms[0], 1)
    geometry.expect_groups(channels, outputs, group)
    inputs = _weights(layer, (channels, outputs // group, *geometry.kernel), outputs, settings.bias_term)
    tops = []
    for bottom in layer.bottoms:
        sizes = tuple(
            stride * (size - 1) + dilation * (kernel - 1) + 1 - 2 * pad
            for size, pad, dilation, kernel, stride in zip(
                layer.sizes(bottom, 2), geometry.pad, geometry.dilation, geometry.kernel, geometry.stride, strict=True
            )
        )
        if min(sizes) < 1:
            raise layer.error(f"the padding {geometry.pad} leaves nothing of the output")
        shape = (bottom.shape[0], outputs, *sizes)
        tops.append(layer.emit("ConvTranspose", [bottom, *inputs], shape, **geometry.attributes(group)))
    return tops


class Geometry:
    """Kernel, stride, pad and dilation of a convolution, one number for each spatial axis."""

    def __init__(self, layer: Layer, settings: Any) -> None:
        self._layer = layer
        if layer.axis(settings.axis) != 1:
            raise layer.error(f"axis {settings.axis} is not supported; channels have to be axis 1")
        axes = layer.bottoms[0].rank - 2
        if axes < 1:
            raise layer.error(f"expected a blob with spatial axes, found one with {axes + 2} axes")
        self.kernel = self._sizes(settings, "kernel_size", ("kernel_h", "kernel_w"), axes, None)
        self.stride = self._sizes(settings, "stride", ("stride_h", "stride_w"), axes, 1)
        self.pad = self._sizes(settings, "pad", ("pad_h", "pad_w"), axes, 0)
        self.dilation = self._sizes(settings, "dilation", None, axes, 1)
        for name in ("kernel", "stride", "dilation"):
            if min(getattr(self, name)) < 1:
                raise layer.error(f"{name}: expected sizes of at least 1, found {getattr(self, name)}")

    def _sizes(
        self, settings: Any, name: str, pair: tuple[str, str] | None, axes: int, default: int | None
    ) -> tuple[int, ...]:
        """Caffe: one number for all axes, one for each, or the _h and _w fields for images."""
        if pair and (settings.HasField(pair[0]) or settings.HasField(pair[1])):
            if axes != 2 or getattr(settings, name):
                raise self._layer.error(f"{pair[0]} and {pair[1]} are for images, and exclude {name}")
            return int(getattr(settings, pair[0])), int(getattr(settings, pair[1]))
        values = [int(value) for value in getattr(settings, name)]
        if not values:
            if default is None:
                raise self._layer.error(f"{name} is missing")
            values = [default]
        if len(values) == 1:
            values *= axes
        if len(values) != axes:
            raise self._layer.error(f"{name}: expected 1 or {axes} values, found {len(values)}")
        return tuple(values)

    def expect_groups(self, channels: int, outputs: int, group: int) -> None:
        if outputs < 1:
            raise self._layer.error("num_output is missing or 0")
        if group < 1 or channels % group or outputs % group:
            raise self._layer.error(f"group {group} does not divide {channels} input and {outputs} output channels")

    def attributes(self, group: int) -> dict[str, Any]:
        return {
            "kernel_shape": self.kernel,
            "strides": self.stride,
            "pads": self.pad + self.pad,
            "dilations": self.dilation,
            "group": group,
        }


def _weights(layer: Layer, shape: tuple[int, ...], outputs: int, bias: bool) -> list[Value]:
    layer.expect_blobs(1 + bias)
    values = [layer.constant(layer.blob(0, shape, "weights"))]
    if bias:
        values.append(layer.constant(layer.blob(1, (outputs,), "a bias")))
    return values

"""Convolution and its transpose."""

from __future__ import annotations

from typing import Any

from ..graph import Value, sizes_text
from ..layer import Layer
from .registry import ANY_NUMBER, layer_type


@layer_type("Convolution", bottoms=ANY_NUMBER)
def convolution(layer: Layer) -> list[Value]:
    """Cross-correlation with zero padding, in groups; any number of spatial axes. Output sizes round down.

    Caffe: base_conv_layer. Weights are (outputs, inputs / group, kernel...). Several bottoms share the weights.
    """
    geometry = Geometry(layer)
    weights = (geometry.outputs, geometry.channels // geometry.group, *geometry.kernel)
    sizes = [
        (size + 2 * pad - (dilation * (kernel - 1) + 1)) // stride + 1
        for size, kernel, stride, pad, dilation in geometry.axes()
    ]
    if min(sizes) < 1:
        raise layer.error(
            f"expected a kernel no larger than its padded input, found {sizes_text(geometry.kernel)} over "
            f"{layer.called(layer.bottom)}"
        )
    return geometry.emit("Conv", weights, sizes)


@layer_type("Deconvolution", bottoms=ANY_NUMBER)
def deconvolution(layer: Layer) -> list[Value]:
    """The transpose of a convolution; output size ``stride (size - 1) + kernel - 2 pad``.

    Caffe: deconv_layer. Weights are (inputs, outputs / group, kernel...).
    """
    geometry = Geometry(layer)
    weights = (geometry.channels, geometry.outputs // geometry.group, *geometry.kernel)
    sizes = [
        stride * (size - 1) + dilation * (kernel - 1) + 1 - 2 * pad
        for size, kernel, stride, pad, dilation in geometry.axes()
    ]
    if min(sizes) < 1:
        raise layer.error(f"expected padding that leaves something of the output, found {sizes_text(geometry.pad)}")
    return geometry.emit("ConvTranspose", weights, sizes)


class Geometry:
    """A convolution's channels, and kernel, stride, pad and dilation with one number for each spatial axis."""

    def __init__(self, layer: Layer) -> None:
        self._layer = layer
        self._settings = settings = layer.parameters.convolution_param
        bottom = layer.bottom
        for other in layer.bottoms[1:]:
            if other.shape != bottom.shape:
                raise layer.error(
                    f"expected bottoms of one shape, found {layer.called(bottom)} and {layer.called(other)}"
                )
        if layer.axis(settings.axis) != 1:
            raise layer.error(f"expected channels along axis 1, found axis {settings.axis}, which is not supported")
        if bottom.rank < 3:
            raise layer.error(f"expected a blob with spatial axes, found {layer.called(bottom)}")
        self.channels = layer.size(bottom, 1)
        self.outputs, self.group = int(settings.num_output), int(settings.group)
        if self.outputs < 1:
            raise layer.error("expected num_output of at least 1, found none or 0")
        if self.group < 1 or self.channels % self.group or self.outputs % self.group:
            raise layer.error(
                f"expected a group that divides {self.channels} input and {self.outputs} output channels, found "
                f"{self.group}"
            )
        self.kernel = self._sizes("kernel_size", ("kernel_h", "kernel_w"), None)
        self.stride = self._sizes("stride", ("stride_h", "stride_w"), 1)
        self.pad = self._sizes("pad", ("pad_h", "pad_w"), 0)
        self.dilation = self._sizes("dilation", None, 1)
        for name, least in (("kernel", 1), ("stride", 1), ("pad", 0), ("dilation", 1)):
            layer.expect_sizes(name, getattr(self, name), least)

    def axes(self) -> list[tuple[int, int, int, int, int]]:
        """Size, kernel, stride, pad and dilation of each spatial axis."""
        sizes = self._layer.sizes(self._layer.bottom, 2)
        return list(zip(sizes, self.kernel, self.stride, self.pad, self.dilation, strict=True))

    def emit(self, operator: str, weights: tuple[int, ...], sizes: list[int]) -> list[Value]:
        """Add the operator for each bottom, with one set of weights."""
        layer, bias = self._layer, self._settings.bias_term
        layer.expect_blobs(1 + bias)
        inputs = [layer.constant(layer.blob(0, weights, "weights"))]
        if bias:
            inputs.append(layer.constant(layer.blob(1, (self.outputs,), "a bias")))
        attributes: dict[str, Any] = {
            "kernel_shape": self.kernel,
            "strides": self.stride,
            "pads": self.pad + self.pad,
            "dilations": self.dilation,
            "group": self.group,
        }
        return [
            layer.emit(operator, [bottom, *inputs], (bottom.shape[0], self.outputs, *sizes), **attributes)
            for bottom in layer.bottoms
        ]

    def _sizes(self, name: str, pair: tuple[str, str] | None, default: int | None) -> tuple[int, ...]:
        """Caffe: one number for all axes, one for each, or the _h and _w fields for images."""
        settings, axes = self._settings, self._layer.bottom.rank - 2
        values = [int(value) for value in getattr(settings, name)]
        if pair and (settings.HasField(pair[0]) or settings.HasField(pair[1])):
            if axes != 2 or values:
                raise self._layer.error(f"expected {name}, or {pair[0]} and {pair[1]} for an image, found another use")
            return int(getattr(settings, pair[0])), int(getattr(settings, pair[1]))
        if not values:
            if default is None:
                raise self._layer.error(f"expected {name}, found none")
            values = [default]
        if len(values) == 1:
            values *= axes
        if len(values) != axes:
            raise self._layer.error(f"{name}: expected 1 or {axes} values, found {len(values)}")
        return tuple(values)

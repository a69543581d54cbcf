"""Well-known layers of Caffe's forks that need no settings of their own."""

from __future__ import annotations

from ..graph import Value, sizes_text
from ..layer import Layer
from .registry import ANY_NUMBER, layer_type
from .spatial import convolution

# MobileNet's: a convolution with as many groups as channels, of which the fork has a faster version.
layer_type("DepthwiseConvolution", bottoms=ANY_NUMBER)(convolution)


@layer_type("ReLU6")
def relu6(layer: Layer) -> list[Value]:
    """min(max(x, 0), 6)."""
    return [layer.same("Clip", [layer.bottom, layer.constant(0), layer.constant(6)])]


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

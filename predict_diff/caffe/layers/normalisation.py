"""Normalisation: local response, batch statistics, mean and variance of a photo."""

from __future__ import annotations

import numpy as np

from .. import caffe_pb2
from ..graph import Value
from ..layer import Layer
from .pooling import PoolingWindow, pool
from .registry import layer_type


@layer_type("LRN")
def local_response_normalisation(layer: Layer) -> list[Value]:
    """x (k + alpha / n sum x^2)^-beta over n neighbouring channels, or over an n x n window of the plane.

    Caffe: lrn_layer. Within a channel, alpha is divided by n x n and k is ignored: it is 1.
    """
    settings = layer.parameters.lrn_param
    bottom, size = layer.bottom, int(settings.local_size)
    layer.expect_sizes("local_size", [size])
    if size % 2 == 0:
        raise layer.error(f"local_size: expected an odd number, found {size}")
    if bottom.rank != 4:
        raise layer.error(f"expected a blob with 4 axes, found {layer.called(bottom)}")
    if settings.norm_region == caffe_pb2.LRNParameter.ACROSS_CHANNELS:
        alpha, beta, k = float(settings.alpha), float(settings.beta), float(settings.k)
        if not (alpha > 0 and beta > 0):
            raise layer.error(f"expected alpha and beta above 0, which ONNX asks for, found {alpha:g} and {beta:g}")
        return [layer.same("LRN", [bottom], size=size, alpha=alpha, beta=beta, bias=k)]
    margin = (size - 1) // 2
    squares = layer.same("Mul", [bottom, bottom])
    means = pool(layer, squares, PoolingWindow(size, size, 1, 1, margin, margin), average=True)[0]
    scaled = layer.same("Mul", [means, layer.constant(settings.alpha)])
    divisor = layer.same("Pow", [layer.same("Add", [scaled, layer.constant(1)]), layer.constant(-settings.beta)])
    return [layer.same("Mul", [bottom, divisor])]


@layer_type("BatchNorm")
def batch_norm(layer: Layer) -> list[Value]:
    """(x - mean) / sqrt(variance + eps), channel by channel; scale and shift are a Scale layer's business.

    Caffe: batch_norm_layer. Blobs 0 and 1 are sums, to be divided by blob 2; if that is 0, both are 0.
    """
    settings = layer.parameters.batch_norm_param
    bottom = layer.bottom
    # Caffe: the description decides, and by its phase; the weights file has no say.
    if settings.HasField("use_global_stats") and not settings.use_global_stats:
        return [_batch_statistics(layer, bottom, float(settings.eps))]
    layer.expect_blobs(3)
    channels = (layer.size(bottom, 1),)
    mean, variance = layer.blob(0, channels, "means"), layer.blob(1, channels, "variances")
    count = float(layer.blob(2, (1,), "the scale factor")[0])
    with np.errstate(over="ignore", invalid="ignore"):
        factor = np.float32(0 if count == 0 else 1 / count)
        mean, variance = mean * factor, variance * factor
    if not (np.isfinite(mean).all() and np.isfinite(variance).all()):
        raise layer.error(f"expected finite statistics, found infinity after dividing them by blob 2, {count:g}")
    ones, zeros = np.ones(channels, np.float32), np.zeros(channels, np.float32)
    statistics = [layer.constant(array) for array in (ones, zeros, mean, variance)]
    return [layer.same("BatchNormalization", [bottom, *statistics], epsilon=float(settings.eps))]


def _batch_statistics(layer: Layer, bottom: Value, eps: float) -> Value:
    """Normalise by the statistics of the batch itself, as in training; the variance is the biased one."""
    layer.size(bottom, 1)
    axes = layer.integers([axis for axis in range(bottom.rank) if axis != 1])
    shape = tuple(size if axis == 1 else 1 for axis, size in enumerate(bottom.shape))
    centred = layer.same("Sub", [bottom, layer.emit("ReduceMean", [bottom, axes], shape)])
    variance = layer.emit("ReduceMean", [layer.same("Mul", [centred, centred]), axes], shape)
    deviation = layer.same("Sqrt", [layer.same("Add", [variance, layer.constant(eps)])])
    return layer.same("Div", [centred, deviation])


@layer_type("MVN")
def mean_variance_normalisation(layer: Layer) -> list[Value]:
    """(x - mean) / (standard deviation + eps) over each plane, or over all channels of a photo.

    Caffe: mvn_layer. The top has four axes, whatever the bottom has.
    """
    settings = layer.parameters.mvn_param
    bottom = layer.bottom
    if bottom.rank > 4:
        raise layer.error(f"expected a blob with up to 4 axes, found {layer.called(bottom)}")
    bottom = layer.reshape(bottom, (*bottom.shape, *[1] * (4 - bottom.rank)))
    first = 1 if settings.across_channels else 2
    axes, shape = layer.integers(range(first, 4)), (*bottom.shape[:first], *[1] * (4 - first))
    centred = layer.same("Sub", [bottom, layer.emit("ReduceMean", [bottom, axes], shape)])
    if not settings.normalize_variance:
        return [centred]
    variance = layer.emit("ReduceMean", [layer.same("Mul", [centred, centred]), axes], shape)
    deviation = layer.same("Add", [layer.same("Sqrt", [variance]), layer.constant(settings.eps)])
    held = layer.held(deviation)
    # Caffe: backwards, the deviation changes as variance / (2 deviation) does. That leaves eps out, so it is not quite
    # the derivative, but finite for a constant plane too. Its value is the deviation's.
    change = layer.same("Div", [variance, layer.same("Mul", [held, layer.constant(2)])])
    none = layer.same("Sub", [change, layer.held(change)])
    return [layer.same("Div", [centred, layer.same("Add", [held, none])])]

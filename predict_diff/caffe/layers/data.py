"""Layers that feed the network: what the converted network takes as input."""

from __future__ import annotations

from typing import TypeVar

from ...errors import ConversionError
from ..layer import Layer
from .registry import input_type

_T = TypeVar("_T")


@input_type("Input")
def input_(layer: Layer) -> list[tuple[int, ...]]:
    """Blobs that the user fills; one shape for all, or one each. Caffe: input_layer."""
    return _one_each(layer, [tuple(shape.dim) for shape in layer.parameters.input_param.shape], "shape")


@input_type("DummyData")
def dummy_data(layer: Layer) -> list[tuple[int, ...]]:
    """Blobs of a given shape, filled with noise or a constant, that stand in for data. Caffe: dummy_data_layer."""
    settings = layer.parameters.dummy_data_param
    if settings.shape:
        return _one_each(layer, [tuple(shape.dim) for shape in settings.shape], "shape")
    sizes = [_one_each(layer, list(getattr(settings, name)), name) for name in ("num", "channels", "height", "width")]
    return list(zip(*sizes, strict=True))


@input_type("MemoryData")
def memory_data(layer: Layer) -> list[tuple[int, ...]]:
    """Photos, and labels as a second top, handed over in memory. Caffe: memory_data_layer."""
    settings = layer.parameters.memory_data_param
    batch = settings.batch_size
    return _photos_and_labels(layer, (batch, settings.channels, settings.height, settings.width))


@input_type("ImageData")
def image_data(layer: Layer) -> list[tuple[int, ...]]:
    """Photos from a list of files, resized or cropped, and labels. Caffe: image_data_layer."""
    settings = layer.parameters.image_data_param
    # The crop stood among the settings of the layer itself in older descriptions.
    crop = layer.parameters.transform_param.crop_size or settings.crop_size
    height, width = (crop, crop) if crop else (settings.new_height, settings.new_width)
    if not height or not width:
        raise _unknown_size(layer)
    return _photos_and_labels(layer, (settings.batch_size, 3 if settings.is_color else 1, height, width))


@input_type("Data", "HDF5Data", "WindowData")
def stored_data(layer: Layer) -> list[tuple[int, ...]]:
    """Photos whose size only their database knows. Caffe: data_layer, hdf5_data_layer, window_data_layer."""
    raise _unknown_size(layer)


def _one_each(layer: Layer, values: list[_T], what: str) -> list[_T]:
    tops = len(layer.parameters.top)
    if len(values) == 1:
        return values * tops
    if len(values) != tops:
        raise layer.error(f"expected one {what}, or one for each of {tops} tops, found {len(values)}")
    return values


def _photos_and_labels(layer: Layer, photos: tuple[int, ...]) -> list[tuple[int, ...]]:
    tops = len(layer.parameters.top)
    if not 1 <= tops <= 2:
        raise layer.error(f"expected photos, and perhaps labels, as tops, found {tops} tops")
    return [photos, photos[:1]][:tops]


def _unknown_size(layer: Layer) -> ConversionError:
    top = layer.parameters.top[0] if layer.parameters.top else "data"
    return layer.error(
        f"expected a layer that says how large the network's input is, found one that reads it from files; convert "
        f"the network's deploy.prototxt, or write instead: layer {{ name: '{top}' type: 'Input' top: '{top}' "
        f"input_param {{ shape {{ dim: 1 dim: 3 dim: 224 dim: 224 }} }} }} with the sizes that the network takes"
    )

"""V0 descriptions (2013) -> V1: every setting of a layer in one message -> one message per kind of setting.

What each setting becomes is Caffe's rule (upgrade_proto.cpp).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, MutableSequence

from ..errors import ConversionError, closest
from . import caffe_pb2

V0_TYPES = {
    "accuracy": "ACCURACY",
    "bnll": "BNLL",
    "concat": "CONCAT",
    "conv": "CONVOLUTION",
    "data": "DATA",
    "dropout": "DROPOUT",
    "euclidean_loss": "EUCLIDEAN_LOSS",
    "flatten": "FLATTEN",
    "hdf5_data": "HDF5_DATA",
    "hdf5_output": "HDF5_OUTPUT",
    "im2col": "IM2COL",
    "images": "IMAGE_DATA",
    "infogain_loss": "INFOGAIN_LOSS",
    "innerproduct": "INNER_PRODUCT",
    "lrn": "LRN",
    "multinomial_logistic_loss": "MULTINOMIAL_LOGISTIC_LOSS",
    "pool": "POOLING",
    "relu": "RELU",
    "sigmoid": "SIGMOID",
    "softmax": "SOFTMAX",
    "softmax_loss": "SOFTMAX_LOSS",
    "split": "SPLIT",
    "tanh": "TANH",
    "window_data": "WINDOW_DATA",
}
"""The types of V0, less ``padding``, and the enumerated types of V1."""

_READERS = {
    "data": "data_param",
    "hdf5_data": "hdf5_data_param",
    "images": "image_data_param",
    "window_data": "window_data_param",
}
_WEIGHTED = {"conv": "convolution_param", "innerproduct": "inner_product_param"}
_SLIDING = {"conv": "convolution_param", "pool": "pooling_param"}

_TRANSFORMED = dict.fromkeys(V0_TYPES, "transform_param")

# V0 setting -> (V0 types that have it -> message of the V1 layer, name of the setting there).
_V0_SETTINGS: dict[str, tuple[Mapping[str, str], str]] = {
    "num_output": (_WEIGHTED, "num_output"),
    "biasterm": (_WEIGHTED, "bias_term"),
    "weight_filler": (_WEIGHTED, "weight_filler"),
    "bias_filler": (_WEIGHTED, "bias_filler"),
    "pad": (_SLIDING, "pad"),
    "kernelsize": (_SLIDING, "kernel_size"),
    "stride": (_SLIDING, "stride"),
    "group": ({"conv": "convolution_param"}, "group"),
    "pool": ({"pool": "pooling_param"}, "pool"),
    "dropout_ratio": ({"dropout": "dropout_param"}, "dropout_ratio"),
    "local_size": ({"lrn": "lrn_param"}, "local_size"),
    "alpha": ({"lrn": "lrn_param"}, "alpha"),
    "beta": ({"lrn": "lrn_param"}, "beta"),
    "k": ({"lrn": "lrn_param"}, "k"),
    "source": ({**_READERS, "infogain_loss": "infogain_loss_param"}, "source"),
    "batchsize": (_READERS, "batch_size"),
    "rand_skip": ({"data": "data_param", "images": "image_data_param"}, "rand_skip"),
    "shuffle_images": ({"images": "image_data_param"}, "shuffle"),
    "new_height": ({"images": "image_data_param"}, "new_height"),
    "new_width": ({"images": "image_data_param"}, "new_width"),
    "concat_dim": ({"concat": "concat_param"}, "concat_dim"),
    "det_fg_threshold": ({"window_data": "window_data_param"}, "fg_threshold"),
    "det_bg_threshold": ({"window_data": "window_data_param"}, "bg_threshold"),
    "det_fg_fraction": ({"window_data": "window_data_param"}, "fg_fraction"),
    "det_context_pad": ({"window_data": "window_data_param"}, "context_pad"),
    "det_crop_mode": ({"window_data": "window_data_param"}, "crop_mode"),
    "scale": (_TRANSFORMED, "scale"),
    "meanfile": (_TRANSFORMED, "mean_file"),
    "cropsize": (_TRANSFORMED, "crop_size"),
    "mirror": (_TRANSFORMED, "mirror"),
}

_logger = logging.getLogger(__name__)

_TEXT_AT_MOST = 1000  # characters; names are as long as the description likes


class UpgradeError(ConversionError):
    """A description that Caffe would refuse to upgrade.

    Attributes
    ----------
    layer : str
        Name of the layer at fault, as the description gives it; empty if there is none.
    """

    def __init__(self, reason: str, layer: str = "") -> None:
        text = f"layer {layer!r}: {reason}" if layer else reason
        super().__init__(text if len(text) <= _TEXT_AT_MOST else f"{text[:_TEXT_AT_MOST]}...")
        self.layer = layer


def v0_to_v1(net: caffe_pb2.NetParameter) -> caffe_pb2.NetParameter:
    """A V0 network in the V1 form, its ``padding`` layers folded into the layers behind; `net` is not changed.

    Raises
    ------
    UpgradeError
        If V1 layers are among the V0 layers, a type is unknown, or a ``padding`` layer cannot be folded.
    """
    folded = _fold_padding(net)
    upgraded = caffe_pb2.NetParameter()
    upgraded.CopyFrom(folded)
    del upgraded.layers[:]
    upgraded.layers.extend(_v0_layer(layer) for layer in folded.layers)
    return upgraded


def _fold_padding(net: caffe_pb2.NetParameter) -> caffe_pb2.NetParameter:
    """Move the pad of V0 ``padding`` layers into the layer behind. Caffe: UpgradeV0PaddingLayers."""
    folded = caffe_pb2.NetParameter()
    folded.CopyFrom(net)
    del folded.layers[:]
    source_of: dict[str, caffe_pb2.V1LayerParameter | None] = dict.fromkeys(net.input)
    for layer in net.layers:
        kind = layer.layer.type
        kept = None if kind == "padding" else folded.layers.add()
        if kept is not None:
            kept.CopyFrom(layer)
        for index, bottom in enumerate(layer.bottom):
            if bottom not in source_of:
                raise UpgradeError(f"expected a bottom that a layer above makes, found {bottom!r}", layer.layer.name)
            source = source_of[bottom]
            if source is None or source.layer.type != "padding":
                continue
            if kind not in _SLIDING or kept is None or len(layer.bottom) != 1:
                raise UpgradeError(
                    f"expected one conv or pool layer behind the padding layer {source.layer.name!r}, found type "
                    f"{kind!r} with {len(layer.bottom)} bottoms",
                    layer.layer.name,
                )
            if len(source.bottom) != 1 or len(source.top) != 1:
                raise UpgradeError("expected a padding layer with one bottom and one top", source.layer.name)
            kept.layer.pad = source.layer.pad
            kept.bottom[index] = source.bottom[0]
        source_of.update(dict.fromkeys(layer.top, layer))
    return folded


def _v0_layer(layer: caffe_pb2.V1LayerParameter) -> caffe_pb2.V1LayerParameter:
    """One V0 layer as V1. Caffe: UpgradeV0LayerParameter, which keeps of the outer message bottoms and tops only."""
    if not layer.HasField("layer"):
        raise UpgradeError(
            "expected V0 layers (`layers { layer { ... } }`) only, found a V1 layer among them", layer.name
        )
    settings = layer.layer
    upgraded = caffe_pb2.V1LayerParameter(bottom=layer.bottom, top=layer.top)
    if settings.HasField("name"):
        upgraded.name = settings.name
    if settings.HasField("type"):
        if settings.type not in V0_TYPES:
            raise UpgradeError(
                f"expected a V0 layer type, found {settings.type!r}{closest(settings.type, V0_TYPES)}", settings.name
            )
        upgraded.type = caffe_pb2.V1LayerParameter.LayerType.Value(V0_TYPES[settings.type])
    for field, value in settings.ListFields():
        if field.name in ("blobs", "blobs_lr", "weight_decay"):
            getattr(upgraded, field.name).extend(value)
        elif field.name == "hdf5_output_param":
            upgraded.hdf5_output_param.CopyFrom(value)
        elif field.name in _V0_SETTINGS:
            _place_v0_setting(upgraded, settings, field.name, value)
    return upgraded


def _place_v0_setting(
    upgraded: caffe_pb2.V1LayerParameter, settings: caffe_pb2.V0LayerParameter, name: str, value: object
) -> None:
    messages, new_name = _V0_SETTINGS[name]
    message = messages.get(settings.type)
    if message is None:
        # Caffe: reports the setting and goes on without it.
        _logger.warning("layer %r: a V0 layer of type %r has no %r: ignored", settings.name, settings.type, name)
        return
    target = getattr(upgraded, message)
    present = getattr(target, new_name)
    if isinstance(present, MutableSequence):  # Convolutions have had one pad, stride and size for each axis since V1.
        present.append(value)
    elif isinstance(value, caffe_pb2.FillerParameter):
        present.CopyFrom(value)
    else:
        setattr(target, new_name, value)

"""V0 and V1 descriptions -> current, and the layers that belong to a phase.

Three generations of descriptions exist. In V0 (2013) every setting of a layer stands in one message inside
a ``layers`` entry (`predict_diff.caffe.v0`); in V1 (2014) ``layers`` have an enumerated type and one message per kind
of setting; the current form has ``layer`` with the type as a string.
"""

from __future__ import annotations

from collections.abc import Sequence

from . import caffe_pb2
from .v0 import UpgradeError, v0_to_v1

TEST: int = caffe_pb2.TEST
TRAIN: int = caffe_pb2.TRAIN

V1_TYPES = {
    "NONE": "",
    "ABSVAL": "AbsVal",
    "ACCURACY": "Accuracy",
    "ARGMAX": "ArgMax",
    "BNLL": "BNLL",
    "CONCAT": "Concat",
    "CONTRASTIVE_LOSS": "ContrastiveLoss",
    "CONVOLUTION": "Convolution",
    "DATA": "Data",
    "DECONVOLUTION": "Deconvolution",
    "DROPOUT": "Dropout",
    "DUMMY_DATA": "DummyData",
    "ELTWISE": "Eltwise",
    "EUCLIDEAN_LOSS": "EuclideanLoss",
    "EXP": "Exp",
    "FLATTEN": "Flatten",
    "HDF5_DATA": "HDF5Data",
    "HDF5_OUTPUT": "HDF5Output",
    "HINGE_LOSS": "HingeLoss",
    "IM2COL": "Im2col",
    "IMAGE_DATA": "ImageData",
    "INFOGAIN_LOSS": "InfogainLoss",
    "INNER_PRODUCT": "InnerProduct",
    "LRN": "LRN",
    "MEMORY_DATA": "MemoryData",
    "MULTINOMIAL_LOGISTIC_LOSS": "MultinomialLogisticLoss",
    "MVN": "MVN",
    "POOLING": "Pooling",
    "POWER": "Power",
    "RELU": "ReLU",
    "SIGMOID": "Sigmoid",
    "SIGMOID_CROSS_ENTROPY_LOSS": "SigmoidCrossEntropyLoss",
    "SILENCE": "Silence",
    "SLICE": "Slice",
    "SOFTMAX": "Softmax",
    "SOFTMAX_LOSS": "SoftmaxWithLoss",
    "SPLIT": "Split",
    "TANH": "TanH",
    "THRESHOLD": "Threshold",
    "WINDOW_DATA": "WindowData",
}
"""The enumerated types of V1 and the names of the current form."""


def upgrade(net: caffe_pb2.NetParameter) -> caffe_pb2.NetParameter:
    """The same network in the current form.

    Parameters
    ----------
    net : NetParameter
        Of any generation; it is not changed.

    Returns
    -------
    NetParameter
        With ``layer`` only: no ``layers``, and an Input layer in front instead of ``input``, ``input_dim`` and
        ``input_shape``. As in Caffe, ``input`` without any size is dropped.

    Raises
    ------
    UpgradeError
        If the generations are mixed, a V0 type is unknown, or a ``padding`` layer or an input cannot be placed.
    """
    # Caffe: UpgradeNetAsNeeded. Left out is what concerns training only: where data layers keep their
    # transformation, and the learning rates of BatchNorm.
    upgraded = caffe_pb2.NetParameter()
    upgraded.CopyFrom(net)
    if any(layer.HasField("layer") for layer in upgraded.layers):
        upgraded = v0_to_v1(upgraded)
    if upgraded.layers:
        upgraded = _v1_to_current(upgraded)
    return _inputs_to_layer(upgraded)


def layer_name(layer: caffe_pb2.V1LayerParameter | caffe_pb2.LayerParameter) -> str:
    """The name of a layer of any generation."""
    if isinstance(layer, caffe_pb2.V1LayerParameter) and layer.HasField("layer"):
        return str(layer.layer.name)
    return str(layer.name)


def v1_type(number: int) -> str:
    """Current type name of an enumerated V1 type, empty if Caffe knows no such number."""
    value = caffe_pb2.V1LayerParameter.DESCRIPTOR.enum_types_by_name["LayerType"].values_by_number.get(number)
    return V1_TYPES[value.name] if value else ""


def for_phase(
    net: caffe_pb2.NetParameter, phase: int = TEST, level: int = 0, stages: Sequence[str] = ()
) -> caffe_pb2.NetParameter:
    """The layers that Caffe would run in one phase.

    Parameters
    ----------
    net : NetParameter
        In the current form; it is not changed.
    phase : int, default TEST
        ``TEST`` or ``TRAIN``; takes precedence over the phase in the description, as in ``caffe.Net``.
    level : int, default 0
        Compared with the rules' ``min_level`` and ``max_level``.
    stages : sequence of str
        Compared with the rules' ``stage`` and ``not_stage``, beside the stages in the description.

    Raises
    ------
    UpgradeError
        If a layer has both ``include`` and ``exclude`` rules.
    """
    for layer in net.layer:
        if layer.include and layer.exclude:
            raise UpgradeError("expected include rules or exclude rules, found both; keep one kind", layer.name)
    state = caffe_pb2.NetState(phase=phase, level=level, stage=[*net.state.stage, *stages])
    filtered = caffe_pb2.NetParameter()
    filtered.CopyFrom(net)
    del filtered.layer[:]
    filtered.layer.extend(layer for layer in net.layer if belongs(layer, state))
    return filtered


def belongs(layer: caffe_pb2.V1LayerParameter | caffe_pb2.LayerParameter, state: caffe_pb2.NetState) -> bool:
    """Whether a layer's rules admit it in a state. Caffe: Net::FilterNet."""
    if layer.include:
        return any(_meets(state, rule) for rule in layer.include)
    return not any(_meets(state, rule) for rule in layer.exclude)


def _meets(state: caffe_pb2.NetState, rule: caffe_pb2.NetStateRule) -> bool:
    """Caffe: Net::StateMeetsRule. Whatever the rule does not mention is met."""
    return (
        (not rule.HasField("phase") or rule.phase == state.phase)
        and (not rule.HasField("min_level") or state.level >= rule.min_level)
        and (not rule.HasField("max_level") or state.level <= rule.max_level)
        and set(rule.stage) <= set(state.stage)
        and not set(rule.not_stage) & set(state.stage)
    )


def _v1_to_current(net: caffe_pb2.NetParameter) -> caffe_pb2.NetParameter:
    if net.layer:
        raise UpgradeError("expected `layer` or `layers` entries, found both; write all as `layer`")
    upgraded = caffe_pb2.NetParameter()
    upgraded.CopyFrom(net)
    del upgraded.layers[:]
    upgraded.layer.extend(_v1_layer(layer) for layer in net.layers)
    return upgraded


def _v1_layer(layer: caffe_pb2.V1LayerParameter) -> caffe_pb2.LayerParameter:
    """One V1 layer in the current form. Caffe: UpgradeV1LayerParameter."""
    per_blob = {"param": "name", "blob_share_mode": "share_mode", "blobs_lr": "lr_mult", "weight_decay": "decay_mult"}
    settings = {field.name: value for field, value in layer.ListFields()}
    if "type" in settings:
        settings["type"] = v1_type(settings["type"])
    specifications: list[dict[str, object]] = []
    for old_name, new_name in per_blob.items():
        for index, entry in enumerate(settings.pop(old_name, ())):
            if index == len(specifications):
                specifications.append({})
            specifications[index][new_name] = entry
    # Everything else has the same name, and the same message, in both generations.
    return caffe_pb2.LayerParameter(param=specifications, **settings)


def _inputs_to_layer(net: caffe_pb2.NetParameter) -> caffe_pb2.NetParameter:
    """Caffe: UpgradeNetInput."""
    upgraded = caffe_pb2.NetParameter()
    upgraded.CopyFrom(net)
    for field in ("input", "input_dim", "input_shape"):
        upgraded.ClearField(field)
    if not net.input or not (net.input_shape or net.input_dim):
        return upgraded
    shapes = [shape.dim for shape in net.input_shape] or [
        net.input_dim[start : start + 4] for start in range(0, len(net.input_dim), 4)
    ]
    if len(shapes) < len(net.input) or any(len(shape) != 4 for shape in shapes if not net.input_shape):
        raise UpgradeError(
            f"expected one input_shape, or four input_dim, for each of the {len(net.input)} input entries, "
            f"found {len(net.input_shape)} input_shape and {len(net.input_dim)} input_dim",
            "input",
        )
    del upgraded.layer[:]
    inputs = upgraded.layer.add(name="input", type="Input", top=net.input)
    for shape in shapes[: len(net.input)]:
        inputs.input_param.shape.add(dim=shape)
    upgraded.layer.extend(net.layer)
    return upgraded

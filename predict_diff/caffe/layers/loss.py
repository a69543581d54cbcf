"""Layers that compare with labels, which a network has in training only, or write files."""

from __future__ import annotations

from collections.abc import Sequence

from ..graph import Value
from ..layer import Layer
from .registry import ANY_NUMBER, layer_type


@layer_type("SoftmaxWithLoss", "InfogainLoss", bottoms=(1, 3), reads=1)
def loss_of_probabilities(layer: Layer) -> Sequence[Value | None] | None:
    """Left out, but for a second top, which is the softmax of the first bottom.

    Caffe: softmax_loss_layer, infogain_loss_layer.
    """
    if len(layer.parameters.top) < 2:
        return None
    infogain = layer.parameters.type == "InfogainLoss"
    settings = layer.parameters.infogain_loss_param if infogain else layer.parameters.softmax_param
    return [None, layer.same("Softmax", [layer.bottom], axis=layer.axis(settings.axis))]


@layer_type(
    "Accuracy",
    "ContrastiveLoss",
    "EuclideanLoss",
    "HDF5Output",
    "HingeLoss",
    "MultinomialLogisticLoss",
    "SigmoidCrossEntropyLoss",
    bottoms=(0, ANY_NUMBER[1]),
    reads=0,
)
def left_out(layer: Layer) -> None:
    """Tells how good the network is, or writes its outputs down: no part of the network itself."""

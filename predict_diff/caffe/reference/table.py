"""The layer types that the reading knows."""

from __future__ import annotations

from . import arithmetic, convolution, forks, neurons, normalisation, pooling, shapes
from .base import LayerFunction

#: Layer type, as the description names it, to what it does.
TYPES: dict[str, LayerFunction] = {
    **arithmetic.TYPES,
    **convolution.TYPES,
    **forks.TYPES,
    **neurons.TYPES,
    **normalisation.TYPES,
    **pooling.TYPES,
    **shapes.TYPES,
}

#: Types whose tops the user fills.
FED = frozenset({"Data", "DummyData", "HDF5Data", "ImageData", "Input", "MemoryData", "WindowData"})

#: Types whose first top, the loss, is no part of a network, and whose second is the softmax of the first bottom.
LOSSES = frozenset({"InfogainLoss", "SoftmaxWithLoss"})

#: Types that measure or write down what a network does, and are no part of it.
LEFT_OUT = frozenset(
    {
        "Accuracy",
        "ContrastiveLoss",
        "EuclideanLoss",
        "HDF5Output",
        "HingeLoss",
        "MultinomialLogisticLoss",
        "SigmoidCrossEntropyLoss",
    }
)

"""A network's layers as weights see them: which constants are learnt, and which belong together."""

from __future__ import annotations

from dataclasses import dataclass

import onnx
from onnx import TensorProto

from ..network.inference import constants
from ..network.receptive_fields import STANDARD

_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)

#: Operators that begin a layer, and which of their inputs are learnt.
_LINEAR = {
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "Gemm": (0, 1, 2),
    "MatMul": (0, 1),
}

#: Operators that belong to the layer right before them, or are one by themselves.
_NORMALISING = {
    "BatchNormalization": (1, 2, 3, 4),
    "InstanceNormalization": (1, 2),
    "LayerNormalization": (1, 2),
    "GroupNormalization": (1, 2),
    "PRelu": (1,),
}

#: Only behind a layer do their constants belong to it, as a bias or a scale; elsewhere they are a fixed formula.
_AFFINE = ("Add", "Mul", "Sub", "Div")

#: Hand on what a layer made; exporters put them between it and its bias.
_PASSING = ("Identity", "Cast", "Dropout")

#: Between a stored tensor and the operator that uses it.
_STORED = ("Identity", "Cast", "Transpose", "Reshape", "Squeeze", "Unsqueeze")


@dataclass(frozen=True)
class Layer:
    """A linear operator, with the bias, scale and normalisation right behind it.

    Attributes
    ----------
    name : str
        Of the operator; of what it makes where it has no name.
    weights : tuple of str
        Names of the tensors, initialisers or outputs of Constant nodes, that are learnt.
    """

    name: str
    weights: tuple[str, ...]


def layers(model: onnx.ModelProto) -> list[Layer]:
    """The layers with weights, from the top: the last one of the network first.

    A tensor that several layers share belongs to the topmost. Constants that are no weights (bounds of a clip, sizes,
    a mean subtracted from the image) belong to none.
    """
    stored = {name: name for name, tensor in constants(model).items() if tensor.data_type in _FLOATS}
    found: list[tuple[str, list[str]]] = []
    owner: dict[str, int] = {}
    for node in model.graph.node:
        if node.domain not in STANDARD or not node.output:
            continue
        made = node.output[0]
        kind = node.op_type
        if kind in _STORED and node.input[0] in stored:
            stored[made] = stored[node.input[0]]
        elif kind in _PASSING and node.input[0] in owner:
            owner[made] = owner[node.input[0]]
        elif kind in _LINEAR or kind in _NORMALISING:
            learnt = [node.input[i] for i in (_LINEAR | _NORMALISING)[kind] if i < len(node.input)]
            weights = [stored[name] for name in learnt if name in stored]
            if kind in _NORMALISING and node.input[0] in owner:
                owner[made] = owner[node.input[0]]
                found[owner[made]][1].extend(weights)
            elif weights:
                owner[made] = len(found)
                found.append((node.name or made, weights))
        elif kind in _AFFINE and len(node.input) == 2:
            before = [name for name in node.input if name in owner]
            weights = [stored[name] for name in node.input if name in stored]
            if before and weights:
                owner[made] = owner[before[0]]
                found[owner[made]][1].extend(weights)
    return _from_the_top(found)


def _from_the_top(found: list[tuple[str, list[str]]]) -> list[Layer]:
    taken, names = set[str](), set[str]()
    ordered = []
    for name, weights in reversed(found):
        own = tuple(weight for weight in dict.fromkeys(weights) if weight not in taken)
        taken.update(own)
        if own:
            # Nodes may share a name; curves need one for each layer.
            unique = name if name not in names else f"{name} ({len(names)})"
            names.add(unique)
            ordered.append(Layer(unique, own))
    return ordered

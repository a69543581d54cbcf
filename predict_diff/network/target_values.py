"""Targets in a network's own graph: which of a blob's units are targets is an input, so that one graph does for all."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from ..errors import ConfigurationError
from ..targets import Target
from .graphs import Shape, opset, prune
from .network import Network
from .predictor import Predictor

_OUTPUT = "targets"

#: What a graph with targets depends on: the blob of each, and how many of the blob's axes it is a place on.
Arrangement = tuple[tuple[str, int], ...]


class TargetValues:
    """What computes targets, (n, U), of photos (n, C, H, W): in the network's own graph, where it has one.

    Parameters
    ----------
    network : Predictor
    targets : sequence of Target
        Checked already.
    """

    def __init__(self, network: Predictor, targets: Sequence[Target]) -> None:
        self._network, self._targets = network, tuple(targets)
        self._units = chosen_units(targets, network.blobs)
        self._session = None
        if isinstance(network, Network):
            self._session = network.extended(with_targets(network.load(), targets, network.blobs))

    def __call__(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        if isinstance(self._network, Network) and self._session is not None:
            return self._network.run_session(self._session, batch, whole=self._units)[0]
        blobs = list(dict.fromkeys(target.blob for target in self._targets))
        return _read(self._network.run(batch, blobs), self._targets)

    def for_targets(self, targets: Sequence[Target]) -> Self:
        """The same for other targets of the same arrangement, with the same session; both can be used by turns."""
        check_arrangement(self._targets, targets)
        other = copy.copy(self)
        other._targets, other._units = tuple(targets), chosen_units(targets, self._network.blobs)
        return other


def arrangement(targets: Sequence[Target]) -> Arrangement:
    """What a graph with these targets depends on: all but which units they are."""
    return tuple((target.blob, len(target.index)) for target in targets)


def check_arrangement(known: Sequence[Target], targets: Sequence[Target]) -> None:
    """ConfigurationError unless a graph that has some targets can have others."""
    if arrangement(known) != arrangement(targets):
        raise ConfigurationError(
            f"targets: expected units of the same blobs as {', '.join(map(str, known))}, found "
            f"{', '.join(map(str, targets))}; make another evaluator"
        )


def with_targets(model: onnx.ModelProto, targets: Sequence[Target], shapes: Mapping[str, Shape]) -> onnx.ModelProto:
    """A model whose one output holds the targets, (N, U) float32, in order.

    Means over feature maps and the choice of units happen in the graph, so that no blob has to leave the device.
    Which units they are, it takes as inputs: `chosen_units`.
    """
    extended = prune(model, list(dict.fromkeys(target.blob for target in targets)))
    graph = extended.graph
    del graph.output[:]
    parts: list[str] = []
    order: list[int] = []

    def integers(name: str, values: Sequence[int]) -> str:
        graph.initializer.append(numpy_helper.from_array(np.asarray(values, np.int64), name))
        return name

    for number, ((blob, axes), positions) in enumerate(_groups(targets).items()):
        stem, value, shape = f"{_OUTPUT}/{number}", blob, shapes[blob]
        if axes < len(shape):
            free = list(range(1 + axes, 1 + len(shape)))
            if opset(model) >= 18:
                inputs = [value, integers(f"{stem}/free", free)]
                graph.node.append(helper.make_node("ReduceMean", inputs, [f"{stem}/mean"], keepdims=0))
            else:
                graph.node.append(helper.make_node("ReduceMean", [value], [f"{stem}/mean"], keepdims=0, axes=free))
            value = f"{stem}/mean"
        graph.node.append(helper.make_node("Flatten", [value], [f"{stem}/flat"], axis=1))
        chosen = _input(number)
        graph.input.append(helper.make_tensor_value_info(chosen, TensorProto.INT64, [len(positions)]))
        graph.node.append(helper.make_node("Gather", [f"{stem}/flat", chosen], [f"{stem}/chosen"], axis=1))
        parts.append(f"{stem}/chosen")
        order.extend(positions)
    graph.node.append(helper.make_node("Concat", parts, [f"{_OUTPUT}/grouped"], axis=1))
    back = integers(f"{_OUTPUT}/order", [int(i) for i in np.argsort(order)])
    graph.node.append(helper.make_node("Gather", [f"{_OUTPUT}/grouped", back], [_OUTPUT], axis=1))
    graph.output.append(helper.make_tensor_value_info(_OUTPUT, TensorProto.FLOAT, ["N", len(targets)]))
    return extended


def chosen_units(targets: Sequence[Target], shapes: Mapping[str, Shape]) -> dict[str, NDArray[np.int64]]:
    """Which units the targets are, as inputs of a graph with targets."""
    return {
        _input(number): np.array(
            [np.ravel_multi_index(targets[i].index, shapes[blob][:axes]) for i in positions], np.int64
        )
        for number, ((blob, axes), positions) in enumerate(_groups(targets).items())
    }


def _groups(targets: Sequence[Target]) -> dict[tuple[str, int], list[int]]:
    """Numbers of the targets that are read off together."""
    groups: dict[tuple[str, int], list[int]] = {}
    for position, kind in enumerate(arrangement(targets)):
        groups.setdefault(kind, []).append(position)
    return groups


def _input(number: int) -> str:
    return f"{_OUTPUT}/{number}/units"


def _read(blobs: Mapping[str, NDArray[np.float32]], targets: Sequence[Target]) -> NDArray[np.float32]:
    """Targets, (n, U), out of whole blobs."""
    columns = [np.moveaxis(blobs[target.blob], 0, -1)[target.index] for target in targets]
    return np.stack([column.reshape(-1, column.shape[-1]).mean(axis=0) for column in columns], axis=1)

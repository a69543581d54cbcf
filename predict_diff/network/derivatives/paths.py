"""Which values of a graph a diff can reach."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import onnx
from onnx import TensorProto

from ..graphs import reads
from ..inference import ValueType

FLOATING_POINT = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16})

#: What these give depends on the sizes of their input, not on its values.
_SIZES_ONLY = frozenset({"Shape", "Size"})
#: Floating point, but constant between jumps. (Other such operators give integers or booleans.)
_STEPWISE = frozenset({"Ceil", "Floor", "Round", "Sign"})

#: Key in the metadata of a node whose output counts as constant, whatever it depends on.
HELD = "predict_diff.held"


def differentiable_values(
    nodes: Iterable[onnx.NodeProto], sources: Iterable[str], types: Mapping[str, ValueType]
) -> tuple[set[str], dict[str, onnx.NodeProto]]:
    """Follow the sources forward through a graph.

    Parameters
    ----------
    nodes : iterable of onnx.NodeProto
        In the order of computation.
    sources : iterable of str
        Values to start from.
    types : mapping of str to ValueType

    Returns
    -------
    reached : set of str
        Values whose derivative with respect to a source may differ from zero.
    stopped : dict of str to onnx.NodeProto
        Values that depend on a source, but through operators without a gradient only; with the last of those.
    """
    reached, stopped = set(sources), dict[str, onnx.NodeProto]()
    for node in nodes:
        if node.op_type in _SIZES_ONLY:
            continue
        names = set(reads(node))
        passes = not names.isdisjoint(reached)
        for output in filter(None, node.output):
            if passes and not _is_constant(node) and _may_be_floating(types.get(output)):
                reached.add(output)
            elif passes:
                stopped[output] = node
            elif earlier := next((stopped[name] for name in names if name in stopped), None):
                stopped[output] = earlier
    return reached, stopped


def _is_constant(node: onnx.NodeProto) -> bool:
    return node.op_type in _STEPWISE or any(entry.key == HELD for entry in node.metadata_props)


def _may_be_floating(known: ValueType | None) -> bool:
    return known is None or known.type is None or known.type in FLOATING_POINT

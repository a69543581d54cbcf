"""Operators that arrange, join or part values."""

from __future__ import annotations

from onnx import TensorProto

from .registry import Diffs, Step, derivative


@derivative("Identity", "Cast")
def identity(step: Step) -> Diffs:
    return [step.diff.cast(step.x.type)]


@derivative("Dropout")
def dropout(step: Step) -> Diffs:
    training = step.optional(2)
    if training is not None:
        mode = step.graph.constant_array(training)
        if mode is None or mode.any():
            raise step.error("expected a network exported for inference, found dropout as in training")
    return [step.diff]


@derivative("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def rearrangement(step: Step) -> Diffs:
    return [step.diff.reshape(step.x.sizes())]


@derivative("Transpose")
def transpose(step: Step) -> Diffs:
    order = step.attribute("perm", None)
    if order is None:
        return [step.graph.emit("Transpose", [step.diff])]
    return [step.graph.emit("Transpose", [step.diff], perm=sorted(range(len(order)), key=order.__getitem__))]


@derivative("Expand")
def expand(step: Step) -> Diffs:
    return [step.sum_to(step.diff, step.x)]


@derivative("Concat")
def concat(step: Step) -> Diffs:
    graph, operands = step.graph, step.operands
    axis = step.attribute("axis", 0)
    place = graph.integers([axis])
    sizes = [graph.emit("Gather", [operand.sizes(), place], axis=0) for operand in operands]
    parts = graph.emit("Concat", sizes, type=TensorProto.INT64, axis=0)
    return graph.emit_many("Split", [step.diff, parts], [operand.type for operand in operands], axis=axis)


@derivative("Split")
def split(step: Step) -> Diffs:
    parts = [
        diff or step.graph.zeros_like(output)
        for output, diff in zip(step.outputs, step.diffs, strict=True)
        if output is not None
    ]
    return [step.graph.emit("Concat", parts, axis=step.attribute("axis", 0))]

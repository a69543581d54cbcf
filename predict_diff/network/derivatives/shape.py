"""Operators that arrange, join or part values."""

from __future__ import annotations

from onnx import TensorProto

from .registry import Diffs, Step, derivative


@derivative("Identity", "Cast", "CastLike")
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


@derivative("DepthToSpace")
def depth_to_space(step: Step) -> Diffs:
    size = step.attribute("blocksize", 1)
    blocks = step.graph.emit("SpaceToDepth", [step.diff], blocksize=size)
    if step.attribute("mode", "DCR") == "DCR":
        return [blocks]
    # Pixels of a block came from neighbouring channels, and not from channels far apart as SpaceToDepth leaves them.
    apart = step.graph.emit("Concat", [step.graph.integers([0, size * size, -1]), step.x.sizes(start=2)], axis=0)
    together = step.graph.emit("Transpose", [blocks.reshape(apart)], perm=[0, 2, 1, 3, 4])
    return [together.reshape(step.x.sizes())]


@derivative("SpaceToDepth")
def space_to_depth(step: Step) -> Diffs:
    return [step.graph.emit("DepthToSpace", [step.diff], blocksize=step.attribute("blocksize", 1))]

"""How much of a network's input each of its values sees, and in which steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Any

import onnx
from onnx import helper

Shape = Sequence[int | str | None]

_WINDOWS = {"Conv", "MaxPool", "AveragePool", "LpPool"}
#: Domains of the operators of the standard.
STANDARD = ("", "ai.onnx")

#: More pixels, or parts of one, are not a network's, but a damaged file's.
_AT_MOST = 2**62

#: Of fixed numbers, or of sizes only: what they make has seen nothing of the input.
_BLIND = {"Constant", "ConstantOfShape", "Shape", "Size"}
#: Statistics over rows and columns: each number sees all of the image.
_NORMALISING = {"GroupNormalization", "InstanceNormalization", "LayerNormalization", "RMSNormalization"}
#: Move or drop rows and columns, but mix none.
_CUTTING = {"Concat", "Pad", "Slice", "Split"}
_REARRANGING = {"Flatten", "Gemm", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}


@dataclass(frozen=True)
class ReceptiveField:
    """What one number of a value sees of the input.

    Attributes
    ----------
    size : tuple of int
        Pixels along each axis of the input, padding included.
    stride : tuple of Fraction
        Pixels between what neighbours see; empty once the value has no such axes.
    whole : bool
        It sees all of the input.
    """

    size: tuple[int, ...]
    stride: tuple[Fraction, ...]
    whole: bool = False


def receptive_fields(
    model: onnx.ModelProto, shapes: Mapping[str, Shape], inputs: Iterable[str]
) -> dict[str, ReceptiveField | None]:
    """The receptive field of every value that depends on an input.

    Parameters
    ----------
    model : onnx.ModelProto
    shapes : mapping of str to sequence
        Of its values and weights, batch and channels first; sizes that are not known are no integers.
    inputs : iterable of str
        Names of the inputs.

    Returns
    -------
    dict of str to ReceptiveField or None
        None where it is not known.
    """
    sizes = {name: tuple(shapes[name][2:]) for name in inputs if name in shapes and len(shapes[name]) > 2}
    fields: dict[str, ReceptiveField | None] = {
        name: ReceptiveField((1,) * len(axes), (Fraction(1),) * len(axes)) for name, axes in sizes.items()
    }
    image = next(iter(sizes.values()), ())
    for node in model.graph.node:
        if node.op_type in _BLIND or not any(name in fields for name in node.input):
            continue
        for output in node.output:
            if output:
                fields[output] = _bounded(_field(node, output, fields, shapes, image))
    return fields


def _field(
    node: onnx.NodeProto,
    output: str,
    fields: Mapping[str, ReceptiveField | None],
    shapes: Mapping[str, Shape],
    image: Shape,
) -> ReceptiveField | None:
    seen = [fields[name] for name in node.input if name in fields]
    field = _widest(seen)
    if field is None or field.whole:
        return field
    if node.domain not in STANDARD:
        return None
    first = next(name for name in node.input if name in fields)
    before, after = shapes.get(first), shapes.get(output)
    if node.op_type in _WINDOWS:
        return _through_windows(node, field, shapes)
    if node.op_type == "ConvTranspose":
        return _through_transposed(node, field, shapes)
    if before is None or after is None:
        return None
    if node.op_type.startswith(("Global", "Reduce")):
        return field if _axes(before) == _axes(after) and _axes(before) else ReceptiveField(field.size, (), whole=True)
    if node.op_type in _NORMALISING:
        return ReceptiveField(field.size, (), whole=True) if field.stride else None
    if node.op_type in ("Resize", "Upsample"):
        return _through_resize(node, field, before, after)
    if node.op_type in _REARRANGING:
        return _rearranged(field, before, after, image) if _keeps_order(node) else None
    if node.op_type == "MatMul" and len(before) > 2:
        return None
    if node.op_type in _CUTTING or _axes(after) in {_axes(shapes.get(name, ())) for name in node.input}:
        return field
    return None


def _bounded(field: ReceptiveField | None) -> ReceptiveField | None:
    if field is None:
        return None
    parts = (number for step in field.stride for number in (step.numerator, step.denominator))
    return field if max((0, *field.size, *parts)) <= _AT_MOST else None


def _widest(fields: Sequence[ReceptiveField | None]) -> ReceptiveField | None:
    """What all of some values see together."""
    known = [field for field in fields if field is not None]
    if whole := next((field for field in known if field.whole), None):
        return whole
    if len(known) < len(fields) or len({(len(field.size), len(field.stride)) for field in known}) != 1:
        return None
    sizes = zip(*(field.size for field in known), strict=True)
    strides = zip(*(field.stride for field in known), strict=True)
    return ReceptiveField(tuple(map(max, sizes)), tuple(map(max, strides)))


def _through_windows(node: onnx.NodeProto, field: ReceptiveField, shapes: Mapping[str, Shape]) -> ReceptiveField | None:
    windows = _windows(node, field, shapes)
    if windows is None:
        return None
    return ReceptiveField(
        tuple(ceil(size + (kernel - 1) * step) for size, step, (kernel, _) in zip(*_both(field), windows, strict=True)),
        tuple(step * stride for step, (_, stride) in zip(field.stride, windows, strict=True)),
    )


def _through_transposed(
    node: onnx.NodeProto, field: ReceptiveField, shapes: Mapping[str, Shape]
) -> ReceptiveField | None:
    """Of a transposed convolution's kernel, each output meets one number in every `stride`."""
    windows = _windows(node, field, shapes)
    if windows is None:
        return None
    return ReceptiveField(
        tuple(
            ceil(size + (ceil(kernel / stride) - 1) * step)
            for size, step, (kernel, stride) in zip(*_both(field), windows, strict=True)
        ),
        tuple(step / stride for step, (_, stride) in zip(field.stride, windows, strict=True)),
    )


def _through_resize(node: onnx.NodeProto, field: ReceptiveField, before: Shape, after: Shape) -> ReceptiveField | None:
    scales = []
    for old, new in zip(_axes(before), _axes(after), strict=False):
        if not isinstance(old, int) or not isinstance(new, int) or not new:
            return None
        scales.append(Fraction(old, new))
    if len(scales) != len(field.stride):
        return None
    neighbours = {b"nearest": 0, b"cubic": 3}.get(_attribute(node, "mode", b"nearest"), 1)
    return ReceptiveField(
        tuple(ceil(size + neighbours * step) for size, step in zip(*_both(field), strict=True)),
        tuple(step * scale for step, scale in zip(field.stride, scales, strict=True)),
    )


def _rearranged(field: ReceptiveField, before: Shape, after: Shape, image: Shape) -> ReceptiveField | None:
    """Rows and columns that stay as they are, or that are merged with the channels."""
    axes = len(field.stride)
    if axes == 0 or (len(after) > axes and tuple(before[-axes:]) == tuple(after[-axes:])):
        return field
    sizes = _axes(before)
    if len(after) != 2 or len(sizes) != axes or not all(isinstance(size, int) for size in (*sizes, *image)):
        return None
    seen = [ceil(size + (int(count or 0) - 1) * step) for size, step, count in zip(*_both(field), sizes, strict=True)]
    whole = all(size >= int(full or 0) for size, full in zip(seen, image, strict=True))
    return ReceptiveField(tuple(seen), (), whole)


def _windows(node: onnx.NodeProto, field: ReceptiveField, shapes: Mapping[str, Shape]) -> list[tuple[int, int]] | None:
    """Extent, dilation included, and stride along each axis."""
    axes = len(field.stride)
    weights = shapes.get(node.input[1], ()) if len(node.input) > 1 else ()
    kernel = _attribute(node, "kernel_shape", list(weights[2:]))
    dilations = _attribute(node, "dilations", [1] * axes)
    strides = _attribute(node, "strides", [1] * axes)
    if not axes or not axes == len(kernel) == len(dilations) == len(strides):
        return None
    if not all(isinstance(size, int) for size in kernel) or min(strides) < 1:
        return None
    return [((size - 1) * dilation + 1, step) for size, dilation, step in zip(kernel, dilations, strides, strict=True)]


def _keeps_order(node: onnx.NodeProto) -> bool:
    """Whether rows and columns stay the last axes; of a Transpose only if no axis but those before them move."""
    if node.op_type != "Transpose":
        return True
    order = _attribute(node, "perm", [])
    return len(order) > 2 and list(order[-2:]) == [len(order) - 2, len(order) - 1]


def _both(field: ReceptiveField) -> tuple[tuple[int, ...], tuple[Fraction, ...]]:
    return field.size, field.stride


def _axes(shape: Shape) -> tuple[int | str | None, ...]:
    return tuple(shape[2:])


def _attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    return next((helper.get_attribute_value(entry) for entry in node.attribute if entry.name == name), default)

"""An inspection as text for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from .inspection import Inspection, LayerRow, Top

_WIDTH = 110
_FACT = 1000
_NAME, _TYPE, _TOP, _PARAMETERS, _COST, _FIELD, _STRIDE = 24, 15, 28, 13, 15, 8, 7


def inspection_table(inspection: Inspection) -> str:
    """At most 110 columns: what the file says of itself, a line for each top, totals.

    Shapes are those of one photo: the batch axis is left out.
    """
    lines = [f"{_printable(inspection.path)}: {inspection.kind}"]
    for key, value in inspection.facts.items():
        text = f"{key.replace('_', ' ')}: {str(value)[:_FACT]}"
        lines += textwrap.wrap(_printable(text), _WIDTH, initial_indent="  ", subsequent_indent="    ")
    stored = inspection.kind == "Caffe weights"
    titles = ("layer", "type", "blobs" if stored else "top", "parameters", "multiply-adds", "field", "stride")
    lines += ["", _line(*(titles[:4] if stored else titles))]
    for layer in inspection.layers:
        lines += _stored_lines(layer) if stored else _lines(layer)
    return "\n".join([*lines, "", _totals(inspection, stored)])


def _lines(layer: LayerRow) -> list[str]:
    lines = []
    for index, top in enumerate(layer.tops or [Top("", None)]):
        seen = top.receptive_field or "-"
        field = seen if isinstance(seen, str) else "x".join(map(str, _once(seen)))
        cells = (_top(top), *_counts(layer, index), field)
        names = (layer.name, layer.type) if index == 0 else ("", "")
        lines.append(_line(*names, *cells, "x".join(f"{step:g}" for step in _once(top.stride)) or "-"))
    return lines


def _counts(layer: LayerRow, index: int) -> tuple[str, str]:
    if index:
        return "", ""
    cost = "?" if layer.multiply_adds is None else f"{layer.multiply_adds:,}" if layer.multiply_adds else "-"
    return f"{layer.parameters:,}" if layer.parameters else "-", cost


def _stored_lines(layer: LayerRow) -> list[str]:
    shapes = [_sizes(top.shape) for top in layer.tops] or ["-"]
    first = _line(layer.name, layer.type, shapes[0], f"{layer.parameters:,}" if layer.parameters else "-")
    return [first, *(_line("", "", shape, "") for shape in shapes[1:])]


def _totals(inspection: Inspection, stored: bool) -> str:
    size = inspection.parameters * 4 / 1e6
    total = f"{len(inspection.layers):,} layers, {inspection.parameters:,} parameters ({size:,.1f} MB in float32)"
    if stored:
        return total
    cost = inspection.multiply_adds
    found = "not known, as sizes are open" if cost is None else f"{cost:,}"
    return f"{total}, multiply-adds for one photo: {found}"


def _top(top: Top) -> str:
    if not top.name:
        return "-"
    sizes = "?" if top.shape is None else _sizes(top.shape[1:]) if len(top.shape) > 1 else "1"
    return f"{_shortened(top.name, max(8, _TOP - len(sizes) - 2))} {sizes}"


def _sizes(shape: Sequence[int | str | None] | None) -> str:
    return "x".join(str(size) if isinstance(size, int) else "?" for size in shape or ()) or "1"


def _once(values: Sequence[float]) -> Sequence[float]:
    """One number where all axes have the same."""
    return values[:1] if len(set(values)) == 1 else values


def _line(name: str, kind: str, top: str, parameters: str, cost: str = "", field: str = "", stride: str = "") -> str:
    left = (
        f"{_shortened(name, _NAME - 1):<{_NAME}}{_shortened(kind, _TYPE - 1):<{_TYPE}}{_shortened(top, _TOP):<{_TOP}}"
    )
    return f"{left}{parameters:>{_PARAMETERS}}{cost:>{_COST}}{field:>{_FIELD}}{stride:>{_STRIDE}}".rstrip()


def _shortened(text: str, width: int) -> str:
    text = _printable(text)
    if len(text) <= width:
        return text
    head = (width - 3) // 2
    return f"{text[:head]}...{text[head + 3 - width :]}"


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)

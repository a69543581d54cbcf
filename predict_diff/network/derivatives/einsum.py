"""Einstein's sums of products, as ONNX's Einsum has them."""

from __future__ import annotations

from collections.abc import Sequence

from .graph import Value
from .registry import Diffs, Step, derivative

_ELLIPSIS = "..."


@derivative("Einsum")
def einsum(step: Step) -> Diffs:
    """The diff of an operand is the sum over products of the output's diff with all other operands."""
    terms, result = subscripts(step.attribute("equation", ""))
    if len(terms) != len(step.operands) or any(len(set(_letters(term))) < len(_letters(term)) for term in terms):
        raise step.error(f"expected a term for each operand and no letter twice in one, found {','.join(terms)}")
    return [
        _of_operand(step, terms, result, position) if wanted else None for position, wanted in enumerate(step.wanted)
    ]


def subscripts(equation: str) -> tuple[list[str], str]:
    """Terms of the operands, and of the output; where that is left out, letters that occur once, in alphabetic order.

    ONNX: Einsum.
    """
    left, arrow, result = equation.replace(" ", "").partition("->")
    if not arrow:
        letters = left.replace(_ELLIPSIS, "").replace(",", "")
        once = "".join(sorted(letter for letter in set(letters) if letters.count(letter) == 1))
        result = _ELLIPSIS * (_ELLIPSIS in left) + once
    return left.split(","), result


def _of_operand(step: Step, terms: Sequence[str], result: str, position: int) -> Value:
    graph, operand, own = step.graph, step.operands[position], terms[position]
    others = [(term, value) for i, (term, value) in enumerate(zip(terms, step.operands, strict=True)) if i != position]
    found = result + "".join(term for term, _ in others)
    # What only this operand has was summed, and its diff is the same all along.
    kept = "".join(letter for letter in _letters(own) if letter in found)
    open_axes = _ELLIPSIS in "".join(terms)
    if open_axes and kept != _letters(own):
        raise step.error(f"expected no '{_ELLIPSIS}' beside a sum over one operand, found {own} in {','.join(terms)}")
    # Axes in front that an operand does not have are summed afterwards.
    target = kept if not open_axes else own if _ELLIPSIS in own else _ELLIPSIS + own
    equation = f"{','.join([result, *(term for term, _ in others)])}->{target}"
    diff = graph.emit("Einsum", [step.diff, *(value for _, value in others)], equation=equation)
    if kept != own and not open_axes:
        lost = [axis for axis, letter in enumerate(own) if letter not in kept]
        diff = graph.emit("Expand", [graph.emit("Unsqueeze", [diff, graph.integers(lost)]), operand.sizes()])
    return diff.sum_to(operand, operand.shape if _same_sizes(step, terms) else None)


def _same_sizes(step: Step, terms: Sequence[str]) -> bool:
    """Whether it is known that each letter has the same size in all operands, so that none is repeated."""
    sizes = dict[str, int | str | None]()
    for term, operand in zip(terms, step.operands, strict=True):
        if _ELLIPSIS in term or len(operand.shape or ()) != len(term):
            return False
        if any(sizes.setdefault(letter, size) != size for letter, size in zip(term, operand.shape or (), strict=True)):
            return False
    return True


def _letters(term: str) -> str:
    return term.replace(_ELLIPSIS, "")

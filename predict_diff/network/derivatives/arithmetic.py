"""Arithmetic, element by element and with broadcasting."""

from __future__ import annotations

import math

from .graph import Value
from .registry import Diffs, Step, derivative


@derivative("Add")
def add(step: Step) -> Diffs:
    a, b = step.operands
    return [step.sum_to(step.diff, a), step.sum_to(step.diff, b)]


@derivative("Sub")
def subtract(step: Step) -> Diffs:
    a, b = step.operands
    return [step.sum_to(step.diff, a), step.sum_to(-step.diff, b)]


@derivative("Mul")
def multiply(step: Step) -> Diffs:
    a, b = step.operands
    return [step.sum_to(step.diff * b, a), step.sum_to(step.diff * a, b)]


@derivative("Div")
def divide(step: Step) -> Diffs:
    a, b = step.operands
    return [step.sum_to(step.diff / b, a), step.sum_to(-(step.diff * step.y / b), b)]


@derivative("Pow")
def power(step: Step) -> Diffs:
    x, exponent = step.operands
    p = exponent.cast(x.type)
    slope = p * x ** (p - 1)
    # Caffe: power_layer; a power of 0 is constant, even where x^-1 is not finite.
    slope = step.graph.emit("Not", [p.equals(0)]).gate(slope)
    return [step.sum_to(step.diff * slope, x), step.sum_to(step.diff * step.y * step.graph.emit("Log", [x]), exponent)]


@derivative("Sum")
def sum_of_all(step: Step) -> Diffs:
    return [step.sum_to(step.diff, operand) for operand in step.operands]


@derivative("Mean")
def mean_of_all(step: Step) -> Diffs:
    share = step.diff / len(step.operands)
    return [step.sum_to(share, operand) for operand in step.operands]


@derivative("Max", "Min")
def extreme_of_all(step: Step) -> Diffs:
    # Caffe: eltwise_layer. Of two equal bottoms the second wins; from the third on, a bottom has to be strictly
    # larger than the largest before it.
    first, *others = step.operands
    best, winners = first, []
    for position, operand in enumerate(others):
        ahead, behind = (best, operand) if position == 0 else (operand, best)
        strictly = ahead > behind if step.node.op_type == "Max" else ahead < behind
        winners.append(step.graph.emit("Not", [strictly]) if position == 0 else strictly)
        best = step.graph.emit(step.node.op_type, [best, operand])
    left, diffs = step.diff, list[Value]()
    for operand, wins in zip(reversed(others), reversed(winners), strict=True):
        diffs.append(step.sum_to(wins.gate(left), operand))
        left = step.graph.emit("Not", [wins]).gate(left)
    return [step.sum_to(left, first), *reversed(diffs)]


@derivative("Neg")
def negate(step: Step) -> Diffs:
    return [-step.diff]


@derivative("Exp")
def exponential(step: Step) -> Diffs:
    return [step.diff * step.y]


@derivative("Log")
def logarithm(step: Step) -> Diffs:
    return [step.diff / step.x]


@derivative("Abs")
def absolute(step: Step) -> Diffs:
    # Caffe: absval_layer; 0 at 0.
    return [step.diff * step.graph.emit("Sign", [step.x])]


@derivative("Sqrt")
def square_root(step: Step) -> Diffs:
    return [step.diff * 0.5 / step.y]


@derivative("Reciprocal")
def reciprocal(step: Step) -> Diffs:
    return [-(step.diff * step.y * step.y)]


@derivative("Erf")
def error_function(step: Step) -> Diffs:
    return [step.diff * step.graph.emit("Exp", [-(step.x * step.x)]) * (2 / math.sqrt(math.pi))]


@derivative("Where")
def where(step: Step) -> Diffs:
    condition, a, b = step.operands
    otherwise = step.graph.emit("Not", [condition])
    return [None, step.sum_to(condition.gate(step.diff), a), step.sum_to(otherwise.gate(step.diff), b)]

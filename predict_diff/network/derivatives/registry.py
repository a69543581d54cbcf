"""One operator being differentiated, and the table of rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import onnx
from onnx import helper

from ...errors import NetworkError
from .graph import Graph, Value

#: The diff of each input, None for one that has none; inputs left out at the end have none either.
Diffs = Sequence[Value | None]


@dataclass(frozen=True)
class Step:
    """An operator of the forward part, met on the way back.

    Attributes
    ----------
    graph : Graph
        What the rule adds its operators to.
    node : onnx.NodeProto
        The operator.
    inputs, outputs : list of Value or None
        Its values, as the forward part computes them; None where an optional one is left out.
    diffs : list of Value or None
        The diff that has arrived at each output: the derivative of what is explained with respect to it.
    wanted : list of bool
        The inputs whose diffs matter. A rule may return others; they are dropped.
    label : str
        How messages call the operator.
    """

    graph: Graph
    node: onnx.NodeProto
    inputs: list[Value | None]
    outputs: list[Value | None]
    diffs: list[Value | None]
    wanted: list[bool]
    label: str

    @property
    def operands(self) -> list[Value]:
        """The inputs that are there."""
        return [value for value in self.inputs if value is not None]

    @property
    def x(self) -> Value:
        """The first input."""
        return self.operands[0]

    @property
    def y(self) -> Value:
        """The first output."""
        return next(value for value in self.outputs if value is not None)

    @property
    def diff(self) -> Value:
        """The diff of the first output that has one: of the only one, for nearly every operator."""
        return next(value for value in self.diffs if value is not None)

    def optional(self, position: int) -> Value | None:
        """An input that may be left out."""
        return self.inputs[position] if position < len(self.inputs) else None

    @property
    def attributes(self) -> dict[str, Any]:
        """All that the node sets; texts as str."""
        found = {entry.name: helper.get_attribute_value(entry) for entry in self.node.attribute}
        return {
            name: value.decode(errors="replace") if isinstance(value, bytes) else value for name, value in found.items()
        }

    def attribute(self, name: str, default: Any) -> Any:
        return self.attributes.get(name, default)

    def sum_to(self, diff: Value, operand: Value) -> Value:
        """A diff in the shape of the output, summed over what was repeated of an operand."""
        return diff.sum_to(operand, self.y.shape)

    def only_first(self) -> None:
        """Raise a NetworkError if an input other than the first, such as the weights, depends on the photo."""
        if any(self.wanted[1:]):
            name = self.node.input[self.wanted.index(True, 1)]
            raise self.error(f"expected '{name}' not to depend on the network's input")

    def error(self, problem: str) -> NetworkError:
        return NetworkError(f"{self.label}: cannot be differentiated: {problem}")


Rule = Callable[[Step], Diffs]

#: The rule of each operator, by its name in the default ONNX domain.
RULES: dict[str, Rule] = {}


def derivative(*operators: str) -> Callable[[Rule], Rule]:
    """Make a function the rule of some operators."""

    def register(rule: Rule) -> Rule:
        for operator in operators:
            RULES[operator] = rule
        return rule

    return register

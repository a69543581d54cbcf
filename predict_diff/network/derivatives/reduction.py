"""Sums and means along axes."""

from __future__ import annotations

from .graph import Value
from .registry import Diffs, Step, derivative


@derivative("ReduceSum")
def reduce_sum(step: Step) -> Diffs:
    return [_repeat(step)]


@derivative("ReduceMean", "GlobalAveragePool")
def reduce_mean(step: Step) -> Diffs:
    averaged = step.graph.emit("Div", [step.x.count(), step.y.count()])
    return [_repeat(step) / averaged.cast(step.diff.type)]


def _repeat(step: Step) -> Value:
    """The diff in the shape of the input: repeated along the axes that were reduced."""
    graph, diff = step.graph, step.diff
    if not step.attribute("keepdims", 1):
        listed = step.attribute("axes", None)
        axes = step.optional(1) if listed is None else graph.integers(listed)
        # Without axes either all were reduced, and the diff is one number, or none.
        diff = diff if axes is None else graph.emit("Unsqueeze", [diff, axes])
    return graph.emit("Expand", [diff, step.x.sizes()])

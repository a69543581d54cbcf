"""How much of a network is worth evaluating on squares, and from where on recomputing everything is as cheap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import onnx

from .graphs import Shape, reads
from .inference import constants
from .locality import Square, Step, changed_squares, local_steps, same
from .multiply_adds import multiply_adds

#: What each number that an operator puts out costs beside its multiply-adds, in multiply-adds: about what they take
#: on a CPU. Convolutions do their own work at one per multiply-add.
_OF_A_NUMBER = {"LRN": 1000.0, "MaxPool": 50.0, "AveragePool": 50.0}
_OF_ANY_NUMBER = 10.0
#: The same, for cutting a region out of what is kept, pasting the square, and turning the layout twice.
_OF_A_PASTED_NUMBER = 200.0


@dataclass(frozen=True, eq=False)
class Frontier:
    """What is evaluated on squares.

    Attributes
    ----------
    steps : tuple of Step
        In the order of computation; none where nothing would be gained.
    squares : dict of str to tuple of Span
        What can change, for the image and all that these steps make.
    costs : dict of str to float
        What one position of each such blob costs, all channels together, in multiply-adds; of the image, nothing.
    gain : float
        By how much fewer multiply-adds, and what else costs time, a photo needs, on average over all windows.
    bound : float
        The same for multiply-adds alone, if every operator that can be was evaluated on squares.
    """

    steps: tuple[Step, ...]
    squares: dict[str, Square]
    costs: dict[str, float]
    gain: float
    bound: float


def find_frontier(model: onnx.ModelProto, shapes: Mapping[str, Shape], image: str, k: int) -> Frontier:
    """Choose what to evaluate on squares.

    Parameters
    ----------
    model : onnx.ModelProto
        All of whose operators are needed.
    shapes : mapping of str to tuple of int
        Of its values, batch axis left out.
    image : str
        Name of the input.
    k : int
        Side of a window, in pixels.
    """
    steps = local_steps(model, shapes, image)
    squares = changed_squares(steps, shapes, image, k)
    sized = {name: (None, *shape) for name, shape in shapes.items()}
    sized |= {name: tuple(tensor.dims) for name, tensor in constants(model).items()}
    counts = multiply_adds(model, sized)
    products = {node.output[0]: count or 0 for node, count in zip(model.graph.node, counts, strict=True)}
    costs = {node.output[0]: products[node.output[0]] + _of_numbers(node, shapes) for node in model.graph.node}
    everything = sum(costs.values())
    parts = {step.outputs[0]: _share(squares[step.outputs[0]], shapes[step.outputs[0]]) for step in steps}

    def cost(chosen: Sequence[Step]) -> float:
        saved = sum((1 - parts[step.outputs[0]]) * costs[step.outputs[0]] for step in chosen)
        return everything - saved + _OF_A_PASTED_NUMBER * _pasted(model, chosen, squares, shapes, image)

    best, smallest = list[Step](), everything
    for limit in sorted(set(parts.values())):
        chosen = _up_to(limit, steps, parts, image)
        if (total := cost(chosen)) < smallest:
            best, smallest = chosen, total
    multiplications = sum(products.values())
    reduced = multiplications - sum((1 - part) * products[name] for name, part in parts.items())
    taken = {name for step in best for name in step.outputs} | {image}
    per_position = dict.fromkeys(taken, 0.0)
    per_position |= {step.outputs[0]: costs[step.outputs[0]] / prod(shapes[step.outputs[0]][1:]) for step in best}
    return Frontier(
        tuple(best),
        {name: square for name, square in squares.items() if name in taken},
        per_position,
        everything / smallest if smallest else 1.0,
        multiplications / reduced if reduced else 1.0,
    )


def frontier_blobs(model: onnx.ModelProto, steps: Sequence[Step], image: str) -> list[str]:
    """What the rest of a network, and whoever uses its outputs, reads of what is made on squares."""
    made = {name for step in steps for name in step.outputs}
    nodes = [node for node in model.graph.node if made.isdisjoint(node.output)]
    read = [name for node in nodes for name in reads(node)] + [info.name for info in model.graph.output]
    return list(dict.fromkeys(name for name in read if name in made or name == image))


def _up_to(limit: float, steps: Sequence[Step], parts: Mapping[str, float], image: str) -> list[Step]:
    """The steps whose squares are no larger a part of their blobs, and so are those of all that they read."""
    made, chosen = {image}, list[Step]()
    for step in steps:
        if parts[step.outputs[0]] <= limit and made.issuperset(step.blobs):
            chosen.append(step)
            made.update(step.outputs)
    return chosen


def _share(square: Square, shape: Shape) -> float:
    """Part of a blob that is recomputed, on average over all places of the window."""
    return float(square[0].lengths.mean() * square[1].lengths.mean()) / prod(shape[1:])


def _pasted(
    model: onnx.ModelProto,
    steps: Sequence[Step],
    squares: Mapping[str, Square],
    shapes: Mapping[str, Shape],
    image: str,
) -> float:
    """How many numbers are cut and pasted for one photo, on average."""
    numbers = 0.0
    for step in steps:
        region = step.read(squares[step.outputs[0]])
        for blob in step.blobs:
            if not same(region, squares[blob]):
                numbers += shapes[blob][0] * float(region[0].lengths.mean() * region[1].lengths.mean())
    return numbers + sum(prod(shapes[blob]) for blob in frontier_blobs(model, steps, image))


def _of_numbers(node: onnx.NodeProto, shapes: Mapping[str, Shape]) -> float:
    numbers = sum(prod(shapes[name]) for name in node.output if name in shapes)
    return _OF_A_NUMBER.get(node.op_type, _OF_ANY_NUMBER) * numbers

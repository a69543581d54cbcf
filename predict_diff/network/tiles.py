"""The tile graph: a network's early layers, evaluated only on the squares that a window can change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from .cuts import Cut, Positions
from .graphs import Shape, prune, reads
from .inference import constants
from .locality import Square, Step, same
from .spans import whole

#: Start of the names of what the graph has beside the network's own values: one that these do not have.
_PREFIX = "predict_diff/tile"
#: Input: 0, 1, ..., S - 1, of shape (1, S, 1, 1).
SAMPLES = f"{_PREFIX}/samples"


@dataclass(frozen=True, eq=False)
class Shares:
    """By what the averages of a square are multiplied, because at the border fewer numbers count.

    Attributes
    ----------
    name : str
        Input of the tile graph.
    square : tuple of Span
        Rows and columns of the averages.
    factors : tuple of ndarray
        One for every row of the whole blob, and one for every column.
    """

    name: str
    square: Square
    factors: tuple[NDArray[np.float64], NDArray[np.float64]]

    def values(self, rows: Positions, columns: Positions, samples: int) -> NDArray[np.float32]:
        """(windows * S, 1, h, w): the factors for some places of the window, whose squares are equally large."""
        along = []
        for span, places, factors in zip(self.square, (rows, columns), self.factors, strict=True):
            along.append(factors[span.positions(places)])
        products = along[0][:, None, :, None] * along[1][:, None, None, :]
        return np.repeat(products.astype(np.float32), samples, axis=0)


@dataclass(frozen=True, eq=False)
class TileGraph:
    """A model that makes whole blobs from what is put into windows.

    Attributes
    ----------
    model : onnx.ModelProto
        Its inputs are the samples, (windows * S, C, k, k), under the name of the image, and those of `feeds` and
        `memory`. Its outputs are blobs with the channels last, (windows * S, H, W, C).
    cuts : tuple of Cut
    shares : tuple of Shares
    outputs : dict of str to str
        The blobs that are made whole, and what the model calls them.
    """

    model: onnx.ModelProto
    cuts: tuple[Cut, ...]
    shares: tuple[Shares, ...]
    outputs: dict[str, str]

    def numbers(self) -> int:
        """About how many numbers it takes in memory for one sample: each region, pasted, turned and computed upon."""
        sizes = (cut.shape[0] * cut.region[0].lengths.max() * cut.region[1].lengths.max() for cut in self.cuts)
        return int(3 * sum(sizes)) or 1

    def memory(self, values: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """Inputs that depend on the photo alone; `values` are its blobs, each (C, H, W)."""
        return {f"{cut.name}/memory": cut.memory(values[cut.blob]) for cut in self.cuts}

    def feeds(self, rows: Positions, columns: Positions, samples: int) -> dict[str, NDArray[np.generic]]:
        """Inputs that depend on where the windows lie, the squares of which are equally large."""
        feeds: dict[str, NDArray[np.generic]] = {SAMPLES: np.arange(samples).reshape(1, samples, 1, 1)}
        for cut in self.cuts:
            first, step = cut.pasted(rows, columns, samples)
            feeds[f"{cut.name}/kept"] = cut.kept(rows, columns)
            feeds[f"{cut.name}/first"], feeds[f"{cut.name}/step"] = first, step
            feeds[f"{cut.name}/sizes"] = np.array([-1, *first.shape[2:], cut.shape[0]])
        for share in self.shares:
            feeds[share.name] = share.values(rows, columns, samples)
        return feeds


def tile_graph(
    model: onnx.ModelProto,
    steps: Sequence[Step],
    squares: Mapping[str, Square],
    outputs: Sequence[str],
    shapes: Mapping[str, Shape],
    image: str,
) -> TileGraph:
    """Build the tile graph.

    Parameters
    ----------
    model : onnx.ModelProto
        Has the weights.
    steps : sequence of Step
        What is evaluated on squares, in the order of computation.
    squares : mapping of str to tuple of Span
        For the image and all that the steps make, what is recomputed: no less than what can change.
    outputs : sequence of str
        The blobs to make whole: outputs of the steps, or the image.
    shapes : mapping of str to tuple of int
        Of the blobs, batch axis left out.
    image : str
        Name of the input.
    """
    builder = _Builder(squares, shapes)
    for step in steps:
        builder.add(step)
    made = {blob: builder.whole(blob) for blob in outputs}
    graph = onnx.GraphProto(name=f"{model.graph.name} in tiles", node=builder.nodes, initializer=builder.tensors)
    used = {name for node in builder.nodes for name in node.input}
    for name, tensor in constants(model).items():
        if name in used:
            graph.initializer.add().CopyFrom(tensor)
            graph.initializer[-1].name = name
    k = [int(span.lengths[0]) for span in squares[image]]
    inputs: list[tuple[str, int, Sequence[str | int | None]]] = [
        (image, TensorProto.FLOAT, ["N", shapes[image][0], *k]),
        (SAMPLES, TensorProto.INT64, [1, "S", 1, 1]),
    ]
    for cut in builder.cuts:
        inputs += [
            (f"{cut.name}/memory", TensorProto.FLOAT, [None, cut.shape[0]]),
            (f"{cut.name}/kept", TensorProto.INT64, [None]),
            (f"{cut.name}/first", TensorProto.INT64, [None, 1, None, None]),
            (f"{cut.name}/step", TensorProto.INT64, [None, 1, None, None]),
            (f"{cut.name}/sizes", TensorProto.INT64, [4]),
        ]
    inputs += [(share.name, TensorProto.FLOAT, ["N", 1, None, None]) for share in builder.shares]
    graph.input.extend(helper.make_tensor_value_info(*entry) for entry in inputs)
    for blob, name in made.items():
        channels, height, width = shapes[blob]
        graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", height, width, channels]))
    tiles = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import, graph=graph)
    return TileGraph(tiles, tuple(builder.cuts), tuple(builder.shares), made)


def rest_graph(model: onnx.ModelProto, blobs: Sequence[str], shapes: Mapping[str, Shape]) -> onnx.ModelProto:
    """What a network computes from some blobs on.

    Its inputs are these, with the channels last, (N, H, W, C), and whatever else of the model's is needed for that.
    """
    rest = prune(model, [info.name for info in model.graph.output], {blob: shapes[blob] for blob in blobs})
    nodes = list(rest.graph.node)
    del rest.graph.node[:], rest.graph.input[:]
    # Older files list weights among the inputs: what could be fed is no constant to the runtime.
    weights = {tensor.name for tensor in rest.graph.initializer}
    read = {name for node in nodes for name in reads(node)} - weights - set(blobs)
    rest.graph.input.extend(info for info in model.graph.input if info.name in read)
    for blob in blobs:
        name, (channels, height, width) = channels_last(blob), shapes[blob]
        rest.graph.node.append(helper.make_node("Transpose", [name], [blob], perm=[0, 3, 1, 2]))
        rest.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", height, width, channels]))
    rest.graph.node.extend(nodes)
    return rest


def channels_last(blob: str) -> str:
    """What `rest_graph` calls a blob that it takes."""
    return f"{_PREFIX}/{blob}/whole"


class _Builder:
    """Takes steps one after another."""

    def __init__(self, squares: Mapping[str, Square], shapes: Mapping[str, Shape]) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []
        self.cuts: list[Cut] = []
        self.shares: list[Shares] = []
        self._squares, self._shapes = squares, shapes
        self._rows: dict[str, str] = {}

    def add(self, step: Step) -> None:
        """Evaluate one more operator, on a square."""
        square = self._squares[step.outputs[0]]
        region = step.read(square)
        taken = {blob: self._region(blob, region, step.padding) for blob in step.blobs}
        node = step.on_squares()
        node.input[:] = [taken.get(name, name) for name in node.input]
        self.nodes.append(node)
        factors = step.shares()
        if factors is not None:
            share = Shares(f"{_PREFIX}/shares/{len(self.shares)}", square, factors)
            self.shares.append(share)
            average, node.output[0] = node.output[0], f"{share.name}/of_all"
            self._node("Mul", [node.output[0], share.name], average)

    def whole(self, blob: str) -> str:
        """Make a whole blob of its square, with the channels last; returns its name."""
        rows, columns = (
            whole(size, len(span.starts))
            for size, span in zip(self._shapes[blob][1:], self._squares[blob], strict=True)
        )
        return self._cut(blob, (rows, columns), 0.0)

    def _region(self, blob: str, region: Square, padding: float) -> str:
        """A region of a blob; returns its name."""
        if same(self._squares[blob], region):
            return blob
        last = self._cut(blob, region, padding)
        name = f"{last}/channels_first"
        if not any(name in node.output for node in self.nodes):
            self._node("Transpose", [last], name, perm=[0, 3, 1, 2])
        return name

    def _cut(self, blob: str, region: Square, padding: float) -> str:
        """What the photo gives of a region, with the square pasted in, (N, h, w, C); returns its name.

        Channels last, positions are rows that are moved as a whole; ONNX Runtime merges the transpositions with its
        own changes of layout.
        """
        for cut in self.cuts:
            if cut.blob == blob and cut.padding == padding and same(cut.region, region):
                return cut.name
        channels, height, width = self._shapes[blob]
        name = f"{_PREFIX}/{len(self.cuts)}"
        self.cuts.append(Cut(name, blob, (channels, height, width), padding, self._squares[blob], region))
        self._node("Gather", [f"{name}/memory", f"{name}/kept"], f"{name}/before", axis=0)
        self._node("Concat", [f"{name}/before", self._as_rows(blob)], f"{name}/rows", axis=0)
        self._node("Mul", [f"{name}/step", SAMPLES], f"{name}/further")
        self._node("Add", [f"{name}/first", f"{name}/further"], f"{name}/positions")
        self._node("Gather", [f"{name}/rows", f"{name}/positions"], f"{name}/pasted", axis=0)
        self._node("Reshape", [f"{name}/pasted", f"{name}/sizes"], name)
        return name

    def _as_rows(self, blob: str) -> str:
        """The square of a blob as (N * h * w, C); returns its name."""
        if blob not in self._rows:
            stem = f"{_PREFIX}/of/{blob}"
            self.tensors.append(numpy_helper.from_array(np.array([-1, self._shapes[blob][0]]), f"{stem}/row"))
            self._node("Transpose", [blob], f"{stem}/channels_last", perm=[0, 2, 3, 1])
            self._node("Reshape", [f"{stem}/channels_last", f"{stem}/row"], f"{stem}/rows")
            self._rows[blob] = f"{stem}/rows"
        return self._rows[blob]

    def _node(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> None:
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))

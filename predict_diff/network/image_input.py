"""The one image that an ONNX file takes, in whatever order of axes and type, and what puts (C, H, W) there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from ..errors import NetworkError
from ..input_spec import Layout
from .graphs import opset

_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)
_INTEGERS = (
    TensorProto.UINT8,
    TensorProto.INT8,
    TensorProto.UINT16,
    TensorProto.INT16,
    TensorProto.INT32,
    TensorProto.INT64,
)
#: More channels than photos have: what has as few last may be in another order.
_FEW_CHANNELS = 4
#: What Round and Clip, as they are put in, need.
_ROUNDING_OPSET = 11

#: Number of axes of each layout, the batch's included.
_AXES: dict[Layout, int] = {"NCHW": 4, "NHWC": 4, "NHW": 3, "flat": 2, "flat NHWC": 2}

Sizes = tuple[int | None, ...]


@dataclass(frozen=True)
class ImageInput:
    """The input of a file.

    Attributes
    ----------
    name : str
    type : int
        One of ``onnx.TensorProto``'s.
    batch : int or None
        How many images it takes at once, if that is fixed.
    sizes : tuple of int or None
        Of the other axes, in the file's order; None where they are open.
    layout : str or None
        One of `InputSpec`'s; None for one row of numbers of which nothing tells the order. One channel has only one.
    """

    name: str
    type: int
    batch: int | None
    sizes: Sizes
    layout: Layout | None

    @property
    def shape(self) -> tuple[int | None, int | None, int | None]:
        """(C, H, W), None where the file leaves it open."""
        if self.layout == "NCHW":
            channels, height, width = self.sizes
        elif self.layout == "NHWC":
            height, width, channels = self.sizes
        elif self.layout == "NHW":
            channels, (height, width) = 1, self.sizes
        else:
            channels = height = width = None
        return channels, height, width

    @property
    def is_plain(self) -> bool:
        """Whether it takes (N, C, H, W), float32."""
        return self.layout == "NCHW" and self.type == TensorProto.FLOAT

    def check(self, shape: Sequence[int], name: str) -> None:
        """NetworkError unless an image of shape (C, H, W) fits, in one way only."""
        if any(size is not None and size != found for size, found in zip(self.shape, shape, strict=True)):
            expected = " x ".join(str(size or "any") for size in self.shape)
            turned = (shape[1], shape[2], shape[0]), (shape[2], shape[0], shape[1])
            hint = "; the image's axes seem to be in another order" if self.shape in turned else ""
            raise NetworkError(
                f"{name}: expected images of C x H x W = {expected}, found {' x '.join(map(str, shape))}{hint}; give "
                f"arrays of that shape, or photos and a spec that says how they become so"
            )
        if _AXES.get(self.layout or "flat") != 2:
            return
        length, numbers = self.sizes[0], int(np.prod(shape))
        if length is not None and length != numbers:
            raise NetworkError(
                f"{name}: expected images of {length} numbers, which the network takes in one row, found "
                f"{' x '.join(map(str, shape))} = {numbers}; give the spec the size and channels that it was trained on"
            )
        if self.layout is None and shape[0] > 1:
            raise NetworkError(
                f"{name}: expected to be told how {shape[0]} channels become the one row of numbers that the network "
                f'takes; give a spec with layout="flat" (C, H, W) or layout="flat NHWC" (H, W, C)'
            )

    def check_range(self, x: NDArray[np.float32], name: str) -> None:
        """NetworkError if a network of whole numbers would lose what is in an image to rounding, or to its range."""
        if self.type not in _INTEGERS:
            return
        limits = np.iinfo(helper.tensor_dtype_to_np_dtype(self.type))
        low, high = float(x.min()), float(x.max())
        # Half a step beyond is rounding; a photo from 0 to 1 would be black and white.
        outside = low < float(limits.min) - 0.5 or high > float(limits.max) + 0.5
        if outside or (high - low <= 1 and not np.array_equal(x, np.rint(x))):
            raise NetworkError(
                f"{name}: expected whole numbers from {limits.min} to {limits.max}, which the network takes, found "
                f"{low:g} to {high:g}; give them, or a spec whose white is {min(limits.max, 255)} and which subtracts "
                f"no mean"
            )


def find_input(model: onnx.ModelProto, name: str, layout: Layout | None = None) -> ImageInput:
    """The one image that a model takes.

    Parameters
    ----------
    model : onnx.ModelProto
    name : str
        What messages call it.
    layout : optional
        The user's word for it.

    Raises
    ------
    NetworkError
        If it takes several things or something else, or nothing says in which order its axes are.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    if len(inputs) != 1:
        found = ", ".join(value.name for value in inputs) or "none"
        raise NetworkError(
            f"{name}: expected a network with one input, the image, found {len(inputs)} ({found}); export it with the "
            f"others as constants, or give a function that calls it"
        )
    tensor, label = inputs[0].type.tensor_type, f"{name}: input '{inputs[0].name}'"
    if tensor.elem_type not in (*_FLOATS, *_INTEGERS):
        kind = TensorProto.DataType.Name(tensor.elem_type) if tensor.elem_type else "no tensor"
        raise NetworkError(f"{label}: expected numbers, found {kind}; give a function that calls the network")
    sizes = _sizes(tensor) if tensor.HasField("shape") else (None,) * _AXES[layout or "NCHW"]
    wanted = layout or _only_layout(sizes, label)
    if wanted is not None and len(sizes) != _AXES[wanted]:
        raise NetworkError(
            f"{label}: expected {_AXES[wanted]} axes for layout {wanted}, found sizes {_in_words(sizes)}; the layouts "
            f"are {', '.join(get_args(Layout))}"
        )
    return ImageInput(str(inputs[0].name), int(tensor.elem_type), sizes[0], sizes[1:], wanted)


def _only_layout(sizes: Sizes, label: str) -> Layout | None:
    """The layout that so many axes have, if nobody says it; None for one row of numbers."""
    if len(sizes) == 4 and _looks_last(sizes):
        raise NetworkError(
            f"{label}: expected (N, C, H, W), found sizes {_in_words(sizes)}, which look like (N, H, W, C); give a "
            f'spec with layout="NHWC", or "NCHW" if they are not'
        )
    if len(sizes) == 3 and sizes[0] not in (None, 1):
        raise NetworkError(
            f"{label}: expected an axis for the batch, found sizes {_in_words(sizes)}; if the first is that of grey "
            f'images, give a spec with layout="NHW"'
        )
    known: dict[int, Layout | None] = {4: "NCHW", 3: "NHW", 2: None}
    if len(sizes) not in known:
        raise NetworkError(f"{label}: expected images (N, C, H, W), found sizes {_in_words(sizes)}")
    return known[len(sizes)]


def _looks_last(sizes: Sizes) -> bool:
    first, last = sizes[1], sizes[3]
    return last is not None and last <= _FEW_CHANNELS and (first is None or first > _FEW_CHANNELS)


def take_images(model: onnx.ModelProto, given: ImageInput, shape: Sequence[int]) -> None:
    """Make a model take images (N, C, H, W), float32: in place.

    Sizes that were open are fixed. What integers are made of is rounded, and cut to their range.

    Parameters
    ----------
    model : onnx.ModelProto
    given : ImageInput
        As `find_input` found it, and `ImageInput.check` accepted `shape`.
    shape : sequence of int
        (C, H, W).

    Raises
    ------
    NetworkError
        If the file is too old for what is needed.
    """
    graph = model.graph
    # What was recorded of the values holds for open sizes; it is inferred anew.
    del graph.value_info[:]
    sizes: list[int | str] = [given.batch or "N", *shape]
    entry = next(value for value in graph.input if value.name == given.name)
    if given.is_plain:
        entry.CopyFrom(helper.make_tensor_value_info(given.name, TensorProto.FLOAT, sizes))
        return
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    stem = next(name for name in ("image", "image/x", *(f"image/{i}" for i in range(len(taken)))) if name not in taken)
    entry.CopyFrom(helper.make_tensor_value_info(stem, TensorProto.FLOAT, sizes))
    nodes = list[onnx.NodeProto]()
    last = stem

    def then(operator: str, *constants: tuple[str, NDArray[Any]], **attributes: Any) -> None:
        nonlocal last
        names = [last]
        for name, value in constants:
            names.append(f"{stem}/{name}")
            graph.initializer.append(numpy_helper.from_array(value, names[-1]))
        last = f"{stem}/{operator}{len(nodes)}"
        nodes.append(helper.make_node(operator, names, [last], **attributes))

    if given.layout in ("NHWC", "flat NHWC"):
        then("Transpose", perm=[0, 2, 3, 1])
    if given.layout == "NHW":
        # 0 keeps the batch's size.
        then("Reshape", ("rows and columns", np.array([0, *shape[1:]])))
    elif _AXES[given.layout or "flat"] == 2:
        then("Flatten", axis=1)
    if given.type in _INTEGERS:
        if opset(model) < _ROUNDING_OPSET:
            raise NetworkError(
                f"{graph.name}: expected opset {_ROUNDING_OPSET} or later for an input of whole numbers, found "
                f"{opset(model)}; convert the network with onnx.version_converter"
            )
        limits = np.iinfo(helper.tensor_dtype_to_np_dtype(given.type))
        then("Round")
        then("Clip", ("least", np.array(limits.min, np.float32)), ("largest", np.array(limits.max, np.float32)))
    if given.type != TensorProto.FLOAT:
        then("Cast", to=given.type)
    nodes[-1].output[0] = given.name
    nodes.extend(graph.node)
    del graph.node[:]
    graph.node.extend(nodes)


def _sizes(tensor: onnx.TypeProto.Tensor) -> Sizes:
    return tuple(dim.dim_value if dim.dim_value > 0 else None for dim in tensor.shape.dim)


def _in_words(sizes: Sizes) -> str:
    return " x ".join(str(size or "any") for size in sizes) or "of no axes"

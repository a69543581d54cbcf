"""ONNX files as other programs export them: all the classifier of small_network.py, behind other doors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from small_network import CLASSES, SIDE, small_model

Model = onnx.ModelProto


def node(operator: str, inputs: list[str], outputs: list[str], **attributes: object) -> onnx.NodeProto:
    return helper.make_node(operator, inputs, outputs, **attributes)


def constant(model: Model, name: str, values: list[int] | np.ndarray) -> str:
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(values), name))
    return name


def takes(model: Model, kind: int, sizes: list[int | str | None], nodes: list[onnx.NodeProto]) -> Model:
    """Another input, `given`, from which nodes make `data`."""
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("given", kind, sizes))
    rest = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *rest])
    return model


def gives(model: Model, *outputs: onnx.ValueInfoProto) -> Model:
    del model.graph.output[:]
    model.graph.output.extend(outputs)
    return model


def tensor(name: str, kind: int = TensorProto.FLOAT, sizes: list[int | str] | None = None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, sizes)


def pytorch() -> Model:
    """Scores, and an axis for the batch."""
    return gives(small_model(), tensor("fc", sizes=["batch", CLASSES]))


def keras() -> Model:
    """Channels last."""
    nodes = [node("Transpose", ["given"], ["data"], perm=[0, 3, 1, 2])]
    return takes(small_model(), TensorProto.FLOAT, ["unk__1", SIDE, SIDE, 3], nodes)


def flat() -> Model:
    """One row of numbers, (C, H, W)."""
    model = small_model()
    nodes = [node("Reshape", ["given", constant(model, "image sizes", [-1, 3, SIDE, SIDE])], ["data"])]
    return takes(model, TensorProto.FLOAT, [None, 3 * SIDE * SIDE], nodes)


def scikit_learn() -> Model:
    """A label, and a dictionary of probabilities for each image."""
    model = flat()
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    model.graph.node.append(node("ArgMax", ["prob"], ["label"], axis=1, keepdims=0))
    zipped = node("ZipMap", ["prob"], ["output_probability"], domain="ai.onnx.ml", classlabels_strings=list("abcd"))
    model.graph.node.append(zipped)
    pairs = helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, None))
    probabilities = helper.make_value_info("output_probability", helper.make_sequence_type_proto(pairs))
    return gives(model, tensor("label", TensorProto.INT64, ["N"]), probabilities)


def votes() -> Model:
    """Probabilities that no softmax makes, some of them 1e-6 beyond 1: scikit-learn's forests."""
    model = small_model()
    constant(model, "large", np.array(15, np.float32))
    constant(model, "beyond", np.array(1.000001, np.float32))
    scaled = node("Mul", ["fc", "large"], ["sharp"])
    model.graph.node[-1].CopyFrom(scaled)
    model.graph.node.append(node("Exp", ["sharp"], ["power"]))
    model.graph.node.append(node("ReduceL1", ["power"], ["sum"], axes=[1], keepdims=1))
    model.graph.node.append(node("Div", ["power", "sum"], ["share"]))
    model.graph.node.append(node("Mul", ["share", "beyond"], ["votes"]))
    model.opset_import[0].version = 17
    return gives(model, tensor("votes", sizes=["N", CLASSES]))


def half() -> Model:
    nodes = [node("Cast", ["given"], ["data"], to=TensorProto.FLOAT)]
    model = takes(small_model(), TensorProto.FLOAT16, ["N", 3, SIDE, SIDE], nodes)
    model.graph.node.append(node("Cast", ["prob"], ["half"], to=TensorProto.FLOAT16))
    return gives(model, tensor("half", TensorProto.FLOAT16, ["N", CLASSES]))


def double() -> Model:
    nodes = [node("Cast", ["given"], ["data"], to=TensorProto.FLOAT)]
    return takes(small_model(), TensorProto.DOUBLE, ["N", 3, SIDE, SIDE], nodes)


def whole_numbers() -> Model:
    nodes = [node("Cast", ["given"], ["data"], to=TensorProto.FLOAT)]
    return takes(small_model(), TensorProto.UINT8, ["N", 3, SIDE, SIDE], nodes)


def fixed_batch(size: int = 3) -> Model:
    model = small_model()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = size
    # What makes it insist: exporters write the batch's size into reshapes.
    flatten = next(entry for entry in model.graph.node if entry.op_type == "Flatten")
    constant(model, "sizes", [size, 5 * 7 * 7])
    flatten.CopyFrom(node("Reshape", ["pool", "sizes"], ["flat"]))
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = size
    return model


def open_size() -> Model:
    """Any height and width: the mean over the image in place of its pixels' inner product."""
    model = small_model()
    for axis, name in ((2, "height"), (3, "width")):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = name
    pool = next(entry for entry in model.graph.node if entry.op_type == "MaxPool")
    pool.CopyFrom(node("GlobalAveragePool", ["conv"], ["pool"]))
    weights = next(entry for entry in model.graph.initializer if entry.name == "w2")
    few = np.ascontiguousarray(10 * numpy_helper.to_array(weights)[:, :5])
    weights.CopyFrom(numpy_helper.from_array(few, "w2"))
    return model


def several_outputs() -> Model:
    """Scores and probabilities."""
    model = small_model()
    return gives(model, tensor("fc", sizes=["N", CLASSES]), tensor("prob", sizes=["N", CLASSES]))


def custom_operators() -> Model:
    model = small_model()
    model.opset_import.append(helper.make_opsetid("my.company", 1))
    model.graph.node[1].CopyFrom(node("Swishy", ["conv@conv"], ["conv"], domain="my.company"))
    return model


def two_inputs() -> Model:
    model = small_model()
    model.graph.input.append(tensor("age", sizes=["N", CLASSES]))
    model.graph.node.insert(5, node("Add", ["fc", "age"], ["aged"]))
    model.graph.node[6].input[0] = "aged"
    return model


def labels_only() -> Model:
    model = small_model()
    model.graph.node.append(node("ArgMax", ["prob"], ["label"], axis=1, keepdims=0))
    return gives(model, tensor("label", TensorProto.INT64, ["N"]))


def one_class() -> Model:
    model = small_model()
    constant(model, "first", [0])
    model.graph.node.append(node("Gather", ["prob", "first"], ["one"], axis=1))
    return gives(model, tensor("one", sizes=["N", 1]))


def saved(model: Model, folder: Path, name: str = "net.onnx") -> Path:
    onnx.save(model, folder / name)
    return folder / name


def outside(model: Model, folder: Path, change: Callable[[onnx.TensorProto], None] | None = None) -> Path:
    """A file whose weights lie beside it, in weights.bin; `change` is done to what it says of the largest."""
    path = folder / "net.onnx"
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=64)
    if change is not None:
        changed = onnx.load(path, load_external_data=False)
        change(next(entry for entry in changed.graph.initializer if entry.name == "w2"))
        path.write_bytes(changed.SerializeToString())
    return path


def place(tensor: onnx.TensorProto, **entries: object) -> None:
    """Say that a tensor lies somewhere else."""
    known = {entry.key: entry.value for entry in tensor.external_data} | {key: str(v) for key, v in entries.items()}
    del tensor.external_data[:]
    for key, value in known.items():
        tensor.external_data.add(key=key, value=value)

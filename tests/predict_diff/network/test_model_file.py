"""ONNX files written piece by piece."""

from __future__ import annotations

import io

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from predict_diff.network.model_file import write_model


def _model(sizes: list[int]) -> onnx.ModelProto:
    generator = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(generator.standard_normal(size).astype(np.float32), f"w/{i}")
        for i, size in enumerate(sizes)
    ]
    weights.append(numpy_helper.from_array(np.array([2, -1]), "sizes"))
    weights.append(helper.make_tensor("without raw data", onnx.TensorProto.FLOAT, [2], [1.0, 2.0]))
    info = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 4])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "a net", [info], [], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], producer_name="someone")
    model.metadata_props.add(key="licence", value="nobody's")
    return model


# Lengths of one, two, three and four bytes, and the ends of what fits.
SIZES = [1, 25, 26, 31, 32, 4000, 4096, (1 << 19) + 3, (1 << 20) + 1]


@pytest.mark.parametrize("sizes", [[], SIZES[:1], SIZES])
def test_the_bytes_parse_to_an_equal_model(sizes: list[int]) -> None:
    model, file = _model(sizes), io.BytesIO()
    write_model(model, file)
    assert onnx.ModelProto.FromString(file.getvalue()) == model
    assert len(file.getvalue()) == model.ByteSize()


def test_numbers_that_are_kept_apart_end_up_in_their_place() -> None:
    whole, bare, file = _model(SIZES), _model(SIZES), io.BytesIO()
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in whole.graph.initializer if "w/" in tensor.name}
    for tensor in bare.graph.initializer:
        if tensor.name in arrays:
            tensor.ClearField("raw_data")
    write_model(bare, file, {name: array.astype(">f4") for name, array in arrays.items()})
    assert onnx.ModelProto.FromString(file.getvalue()) == whole

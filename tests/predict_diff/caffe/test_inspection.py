"""Inspection against published facts and closed forms."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path

import h5py
import numpy as np
import onnx
import pytest
from caffe_networks import input_layer, layer_of, network, weights_of
from onnx import TensorProto, helper, numpy_helper

from predict_diff.caffe.caffe_pb2 import NetParameter
from predict_diff.caffe.converter import convert_apart, convert_read
from predict_diff.caffe.inspection import Inspection, inspect
from predict_diff.caffe.inspection_table import inspection_table
from predict_diff.caffe.reader import Description
from predict_diff.errors import ConversionError, NetworkError

MODELS = Path(__file__).parents[3] / "models"

#: Groups, output channels, input channels, kernel and output side of AlexNet's convolutions; then its matrices.
ALEXNET = [(1, 96, 3, 11, 55), (2, 256, 96, 5, 27), (1, 384, 256, 3, 13), (2, 384, 384, 3, 13), (2, 256, 384, 3, 13)]
ALEXNET_MATRICES = [(4096, 256 * 6 * 6), (4096, 4096), (1000, 4096)]


def top(found: Inspection, layer: str, index: int = 0):
    return next(row for row in found.layers if row.name == layer).tops[index]


@pytest.fixture(scope="module")
def alexnet() -> Inspection:
    return inspect(MODELS / "alexnet" / "deploy.prototxt")


def described(tmp_path: Path, text: str) -> Inspection:
    path = tmp_path / "net.prototxt"
    path.write_text(text)
    return inspect(path)


def test_alexnet_costs_what_its_sizes_say(alexnet: Inspection) -> None:
    convolutions = [outputs * inputs // group * kernel**2 * side**2 for group, outputs, inputs, kernel, side in ALEXNET]
    assert alexnet.multiply_adds == sum(convolutions) + sum(map(prod, ALEXNET_MATRICES)) == 724_406_816
    weights = [outputs * inputs // group * kernel**2 + outputs for group, outputs, inputs, kernel, _ in ALEXNET]
    matrices = [(inputs + 1) * outputs for outputs, inputs in ALEXNET_MATRICES]
    assert alexnet.parameters == sum(weights) + sum(matrices) == 60_965_224


@pytest.mark.parametrize(
    ("blob", "field", "stride"), [("conv1", 11, 4), ("pool1", 19, 8), ("conv5", 163, 16), ("pool5", 195, 32)]
)
def test_alexnet_has_the_published_receptive_fields(alexnet: Inspection, blob: str, field: int, stride: int) -> None:
    found = top(alexnet, blob)
    assert (found.receptive_field, found.stride) == ([field, field], [stride, stride])


def test_what_is_behind_a_fully_connected_layer_sees_all(alexnet: Inspection) -> None:
    assert {top(alexnet, layer).receptive_field for layer in ("fc6", "relu7", "fc8", "prob")} == {"all"}


@pytest.mark.parametrize(
    ("name", "parameters", "billions"), [("vgg16", 138_357_544, 15.47), ("googlenet", 6_998_552, 1.58)]
)
def test_vgg16_and_googlenet_have_the_published_sizes(name: str, parameters: int, billions: float) -> None:
    found = inspect(MODELS / name / "deploy.prototxt")
    assert found.parameters == parameters
    assert round((found.multiply_adds or 0) / 1e9, 2) == billions
    if name == "vgg16":
        assert (top(found, "pool5").receptive_field, top(found, "pool5").stride) == ([212, 212], [32, 32])


def test_every_layer_has_its_type_and_own_value_also_where_it_works_in_place(alexnet: Inspection) -> None:
    rows = {row.name: row for row in alexnet.layers}
    assert (rows["relu1"].type, rows["norm1"].type, rows["fc6"].type) == ("ReLU", "LRN", "InnerProduct")
    assert (rows["conv1"].tops[0].name, rows["relu1"].tops[0].name) == ("conv1@conv1", "conv1")
    assert rows["conv1"].tops[0].shape == ("N", 96, 55, 55)


def test_axes_dilation_and_transposed_convolutions(tmp_path: Path) -> None:
    found = described(
        tmp_path,
        input_layer("data", [1, 2, 40, 60])
        + 'layer { name: "a" type: "Convolution" bottom: "data" top: "a" convolution_param { num_output: 4 '
        "kernel_h: 3 kernel_w: 5 stride_h: 2 stride_w: 1 } }\n"
        'layer { name: "b" type: "Convolution" bottom: "a" top: "b" convolution_param { num_output: 4 '
        "kernel_size: 3 dilation: 2 } }\n"
        'layer { name: "c" type: "Deconvolution" bottom: "b" top: "c" convolution_param { num_output: 3 '
        "kernel_size: 4 stride: 2 } }\n",
    )
    assert (top(found, "a").receptive_field, top(found, "a").stride) == ([3, 5], [2, 1])
    assert (top(found, "b").receptive_field, top(found, "b").stride) == ([3 + 4 * 2, 5 + 4 * 1], [2, 1])
    # Of 4 numbers of the kernel, 2 meet each output.
    assert (top(found, "c").receptive_field, top(found, "c").stride) == ([11 + 2, 9 + 1], [1, 0.5])
    sizes = top(found, "b").shape
    assert found.layers[-1].multiply_adds == prod(sizes[1:]) * 3 * 16


def test_weights_that_layers_share_count_once(tmp_path: Path) -> None:
    shared = 'param { name: "w" } param { name: "b" } inner_product_param { num_output: 5 }'
    text = input_layer("data", [1, 7]) + "".join(
        f'layer {{ name: "{name}" type: "InnerProduct" bottom: "data" top: "{name}" {shared} }}\n' for name in "ab"
    )
    found = described(tmp_path, text)
    assert (found.parameters, found.multiply_adds) == (40, 70)


def test_fully_connected_layers_along_a_later_axis(tmp_path: Path) -> None:
    settings = "inner_product_param { num_output: 5 axis: 2 }"
    found = described(tmp_path, input_layer("data", [1, 3, 7]) + layer_of("InnerProduct", settings))
    assert found.multiply_adds == 3 * 7 * 5


def test_imagined_weights_take_no_memory_and_the_graph_is_that_of_real_ones() -> None:
    text = input_layer("data", [1, 3000]) + layer_of("InnerProduct", "inner_product_param { num_output: 2000 }")
    description = Description.from_text(text)
    model, arrays = convert_apart(description, None)
    assert model.ByteSize() < 3000
    assert {array.strides for array in arrays.values()} <= {(0, 0), (0,)}
    real = convert_read(description, weights_of({"layer": [np.zeros((2000, 3000)), np.zeros(2000)]}))
    assert model.graph.node == real.graph.node
    assert [tensor.dims for tensor in model.graph.initializer] == [tensor.dims for tensor in real.graph.initializer]


def test_impossible_imagined_weights_end_in_one_line(tmp_path: Path) -> None:
    text = input_layer("data", [1, 1 << 20]) + layer_of("InnerProduct", "inner_product_param { num_output: 100000 }")
    with pytest.raises(ConversionError, match=r"layer 'layer'.*expected weights of 1 to"):
        described(tmp_path, text)


def _net() -> str:
    return input_layer("data", [1, 3, 6, 6]) + layer_of(
        "Convolution", "convolution_param { num_output: 2 kernel_size: 3 }"
    )


def _stored() -> NetParameter:
    net = NetParameter()
    for name in ("layer", "fc9"):
        layer = net.layer.add(name=name, type="Convolution")
        for shape in ((2, 3, 3, 3), (2,)):
            blob = layer.blobs.add(data=[1.0] * prod(shape))
            blob.shape.dim.extend(shape)
    return net


def test_weights_files(tmp_path: Path) -> None:
    binary, hdf5 = tmp_path / "net.caffemodel", tmp_path / "net.caffemodel.h5"
    binary.write_bytes(_stored().SerializeToString())
    with h5py.File(hdf5, "w") as file:
        file["data/layer/0"] = np.ones((2, 3, 3, 3), np.float32)
        file["data/layer/1"] = np.ones(2, np.float32)
    found = inspect(binary)
    assert [(row.name, row.type, row.parameters) for row in found.layers] == [
        ("layer", "Convolution", 56),
        ("fc9", "Convolution", 56),
    ]
    assert [top.shape for top in found.layers[0].tops] == [(2, 3, 3, 3), (2,)]
    assert inspect(hdf5).parameters == 56
    assert "2x3x3x3" in inspection_table(found)


def test_a_description_with_its_weights_names_the_layers_that_were_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    description, weights = tmp_path / "net.prototxt", tmp_path / "net.caffemodel"
    description.write_text(_net())
    weights.write_bytes(_stored().SerializeToString())
    found = inspect(description, weights)
    assert (found.parameters, found.multiply_adds) == (56, 2 * 16 * 27)
    assert "weights of 1 layer(s) were not used" in caplog.text
    assert "fc9" in caplog.text
    with pytest.raises(ConversionError, match="expected a description"):
        inspect(weights, weights)


def test_a_converted_file_says_the_same_as_its_description(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(network(_net(), {"layer": [np.zeros((2, 3, 3, 3)), np.zeros(2)]}), path)
    found = inspect(path)
    assert found.layers == described(tmp_path, _net()).layers
    assert found.facts["weights_sha256"] == "0" * 64


def _other(batch: int | str = 1) -> onnx.ModelProto:
    weights = [
        numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "w"),
        numpy_helper.from_array(np.ones((5, 4 * 36), np.float32), "m"),
        numpy_helper.from_array(np.ones(5, np.float32), "b"),
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv", pads=[1] * 4),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Flatten", ["r"], ["f"]),
        helper.make_node("Gemm", ["f", "m", "b"], ["y"], transB=1),
    ]
    infos = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", [batch, 3, 6, 6]), ("y", [batch, 5]))
    ]
    graph = helper.make_graph(nodes, "other", infos[:1], infos[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


@pytest.mark.parametrize("batch", [1, 8, "N"])
def test_other_onnx_files_operator_by_operator(tmp_path: Path, batch: int | str) -> None:
    path = tmp_path / "other.onnx"
    onnx.save(_other(batch), path)
    found = inspect(path)
    assert [row.type for row in found.layers] == ["input", "Conv", "Relu", "Flatten", "Gemm"]
    assert found.parameters == 108 + 720 + 5
    assert found.multiply_adds == 36 * 108 + 720
    assert [row.tops[0].receptive_field for row in found.layers] == [[1, 1], [3, 3], [3, 3], "all", "all"]


@pytest.mark.parametrize("normalisation", ["InstanceNormalization", "LayerNormalization"])
def test_what_is_normalised_over_the_image_has_seen_all_of_it(tmp_path: Path, normalisation: str) -> None:
    path, model = tmp_path / "other.onnx", _other()
    size = [3] if normalisation == "InstanceNormalization" else [3, 6, 6]
    for name in ("scale", "shift"):
        model.graph.initializer.append(numpy_helper.from_array(np.ones(size, np.float32), name))
    axis = {} if len(size) == 1 else {"axis": 1}
    model.graph.node.insert(0, helper.make_node(normalisation, ["x", "scale", "shift"], ["normal"], **axis))
    model.graph.node[1].input[0] = "normal"
    onnx.save(model, path)
    fields = [row.tops[0].receptive_field for row in inspect(path).layers]
    assert fields == [[1, 1], "all", "all", "all", "all", "all"]


@pytest.mark.parametrize("text", ["[", "[1]", '{"layers": 1}', '{"layers": {"a": ["y"]}}', '{"layers": {"b": ["y"]}}'])
def test_metadata_that_no_conversion_has_written(tmp_path: Path, text: str) -> None:
    path, model = tmp_path / "net.onnx", _other()
    model.metadata_props.add(key="caffe", value=text)
    model.metadata_props.add(key="caffe_layers", value='{"a": 1, "b": ["ReLU", -1]}')
    onnx.save(model, path)
    with pytest.raises(NetworkError, match="expected JSON of a conversion in the metadata 'caffe'"):
        inspect(path)


@pytest.mark.parametrize("content", [b"", b"\x08\x07garbage", b"<html>", b"\x00" * 100, b"\x0a\x05abc"])
def test_files_that_are_none_of_these_end_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "what"
    path.write_bytes(content)
    with pytest.raises((ConversionError, NetworkError), match=r"what.*: expected"):
        inspect(path)


def _mutated(content: bytes, generator: np.random.Generator) -> bytes:
    found = bytearray(content)
    for _ in range(generator.integers(1, 4)):
        place = int(generator.integers(len(found)))
        match generator.integers(4):
            case 0:
                found[place] ^= 1 << int(generator.integers(8))
            case 1:
                found[place:place] = b"\xff" * 5
            case 2:
                del found[place : place + 2]
            case 3 if place:
                del found[place:]
    return bytes(found)


def test_damaged_onnx_files_are_shown_or_end_in_one_line(tmp_path: Path) -> None:
    converted = network(_net(), {"layer": [np.zeros((2, 3, 3, 3)), np.zeros(2)]})
    sources = [converted.SerializeToString(), _other("N").SerializeToString()]
    generator, path, refused = np.random.default_rng(1), tmp_path / "net.onnx", 0
    for index in range(600):
        path.write_bytes(_mutated(sources[index % 2], generator))
        try:
            found = inspect(path)
            assert max(map(len, inspection_table(found).splitlines())) <= 110
            assert json.loads(found.to_json())["path"] == str(path)
        except (ConversionError, NetworkError):
            refused += 1
    assert 100 < refused < 600


def test_strides_beyond_all_bounds_are_not_known(tmp_path: Path) -> None:
    text = input_layer("data", [1, 1, 1, 1]) + "".join(
        f'layer {{ name: "l{index + 1}" type: "Convolution" bottom: "{f"l{index}" if index else "data"}" '
        f'top: "l{index + 1}" convolution_param {{ num_output: 1 kernel_size: 1 stride: 32768 bias_term: false }} }}\n'
        for index in range(400)
    )
    found = described(tmp_path, text)
    assert top(found, "l2").stride == [2**30] * 2
    assert top(found, "l400").receptive_field is None
    assert inspection_table(found)


def test_the_table_fits_a_terminal_and_ends_with_totals(alexnet: Inspection) -> None:
    lines = inspection_table(alexnet).splitlines()
    assert max(map(len, lines)) <= 110
    assert "60,965,224 parameters" in lines[-1]
    assert "724,406,816" in lines[-1]


def test_json_has_it_all(alexnet: Inspection) -> None:
    found = json.loads(alexnet.to_json())
    assert found["totals"] == {"layers": 24, "parameters": 60_965_224, "multiply_adds": 724_406_816}
    assert found["layers"][1]["tops"] == [
        {"name": "conv1@conv1", "shape": ["N", 96, 55, 55], "receptive_field": [11, 11], "stride": [4, 4]}
    ]

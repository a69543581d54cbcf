"""The conversion of whole networks: names, inputs and outputs, errors, the paper's networks at full size."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path

import numpy as np
import onnx
import pytest
from caffe_networks import Array, declared, input_layer, layer_of, network, normal, run, value

from predict_diff.caffe.converter import convert
from predict_diff.errors import ConversionError
from predict_diff.network.network import Network
from reproduce.random_weights import write_random_weights

ROOT = Path(__file__).parents[3]

CONVOLUTION = (
    'layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" '
    "convolution_param { num_output: 4 kernel_size: 3 %s } }\n"
)
WEIGHTS = {"conv1": [normal(4, 3, 3, 3), normal(4)]}
DATA = input_layer("data", (2, 3, 6, 6))


def in_place(kind: str, name: str, blob: str, settings: str = "") -> str:
    return f'layer {{ name: "{name}" type: "{kind}" bottom: "{blob}" top: "{blob}" {settings} }}\n'


def names_of(model: onnx.ModelProto) -> dict[str, dict[str, list[str]]]:
    (text,) = (entry.value for entry in model.metadata_props if entry.key == "caffe")
    return dict(json.loads(text))


def refusal(text: str, weights: Mapping[str, Sequence[Array]] | None = None) -> str:
    with pytest.raises(ConversionError) as caught:
        network(text, (WEIGHTS if '"conv1"' in text else {}) if weights is None else weights)
    message = str(caught.value)
    assert "\n" not in message
    return message


# ---- Names


def test_a_blob_is_what_its_last_layer_left_and_earlier_values_have_the_layers_name() -> None:
    text = (
        DATA
        + CONVOLUTION % ""
        + in_place("ReLU", "relu1", "conv1")
        + in_place("Power", "shift1", "conv1", "power_param { shift: 1 }")
    )
    model = network(text, WEIGHTS)
    x = normal(2, 3, 6, 6)
    found = run(model, {"data": x}, ["conv1", "conv1@conv1", "relu1"])
    alone = value(network(DATA + CONVOLUTION % "", WEIGHTS), x)
    np.testing.assert_array_equal(found["conv1@conv1"], alone)
    np.testing.assert_array_equal(found["relu1"], np.maximum(alone, 0))
    np.testing.assert_array_equal(found["conv1"], np.maximum(alone, 0) + 1)
    layers = {"data": ["data"], "conv1": ["conv1@conv1"], "relu1": ["relu1"], "shift1": ["conv1"]}
    assert names_of(model) == {"blobs": ["data", "conv1"], "layers": layers}


def test_an_input_that_is_overwritten_keeps_another_name() -> None:
    model = network(DATA + in_place("ReLU", "relu", "data") + layer_of("Sigmoid"))
    assert [info.name for info in model.graph.input] == ["data@data"]
    x = normal(2, 3, 6, 6)
    found = run(model, {"data@data": x}, ["data", "y"])
    np.testing.assert_array_equal(found["data"], np.maximum(x, 0))


def test_layers_that_do_nothing_give_their_tops_a_value_of_their_own() -> None:
    text = DATA + layer_of("Dropout", tops=["dropped"])
    text += 'layer { name: "split" type: "Split" bottom: "dropped" top: "a" top: "b" }' + layer_of(
        "Sigmoid", bottoms=["a"]
    )
    model = network(text)
    onnx.checker.check_model(model, full_check=True)
    x = normal(2, 3, 6, 6)
    found = run(model, {"data": x}, ["dropped", "a", "b", "y"])
    for name in ("dropped", "a", "b"):
        np.testing.assert_array_equal(found[name], x)


def test_names_keep_their_slashes_hyphens_and_dots() -> None:
    name = "inception_3a/1x1-reduce.v2 (ä)"
    model = network(DATA + layer_of("Sigmoid", tops=[name]))
    assert [info.name for info in model.graph.output] == [name]


def test_names_like_those_that_the_converter_gives_do_not_collide() -> None:
    text = DATA + 'layer { name: "n" type: "MVN" bottom: "data" top: "n" }'
    text += 'layer { name: "m" type: "Sigmoid" bottom: "n" top: "n#0" }'
    text += 'layer { name: "o" type: "TanH" bottom: "n#0" top: "n/constant#0" }' + in_place("ReLU", "n@n", "n")
    model = network(text)
    onnx.checker.check_model(model, full_check=True)
    x = normal(2, 3, 6, 6)
    found = run(model, {"data": x}, ["n", "n#0", "n/constant#0"])
    normalised = (x - x.mean((2, 3), keepdims=True)) / x.std((2, 3), keepdims=True)
    np.testing.assert_allclose(found["n"], np.maximum(normalised, 0), atol=1e-5)
    np.testing.assert_allclose(found["n/constant#0"], np.tanh(1 / (1 + np.exp(-normalised))), atol=1e-5)


def test_layers_of_one_name_can_overwrite_a_blob_again_and_again() -> None:
    model = network(DATA + in_place("Power", "double", "data", "power_param { scale: 2 }") * 5)
    onnx.checker.check_model(model, full_check=True)
    assert len(set(declared(model))) == 6
    (name,) = (info.name for info in model.graph.input)
    x = normal(2, 3, 6, 6)
    np.testing.assert_array_equal(run(model, {name: x}, ["data"])["data"], 32 * x)


def test_outputs_are_the_blobs_that_no_layer_reads() -> None:
    text = (
        DATA
        + layer_of("Sigmoid", tops=["a"])
        + layer_of("TanH", tops=["b"])
        + layer_of("ReLU", bottoms=["a"], tops=["c"])
    )
    assert [info.name for info in network(text).graph.output] == ["b", "c"]
    silenced = text + 'layer { name: "s" type: "Silence" bottom: "b" }'
    assert [info.name for info in network(silenced).graph.output] == ["c"]


# ---- Inputs and weights


def test_several_inputs_have_an_open_batch_each_if_they_state_the_same() -> None:
    text = DATA + input_layer("info", (2, 3)) + input_layer("anchors", (9, 4))
    text += layer_of("Concat", "concat_param { axis: 0 }", ["info", "info"], ["a"])
    text += layer_of("Sigmoid", tops=["b"]) + layer_of("Sigmoid", bottoms=["anchors"], tops=["c"])
    shapes = declared(network(text))
    assert (shapes["data"], shapes["info"], shapes["anchors"]) == (("N", 3, 6, 6), ("N", 3), (9, 4))


def test_weights_of_layers_that_are_not_described_are_ignored() -> None:
    x = normal(2, 3, 6, 6)
    text = DATA + CONVOLUTION % ""
    others = {"loss": [], "fc8": [normal(5, 5)], **WEIGHTS}
    np.testing.assert_array_equal(value(network(text, others), x), value(network(text, WEIGHTS), x))


def test_blobs_of_2014_have_four_axes() -> None:
    old = {"conv1": [WEIGHTS["conv1"][0], WEIGHTS["conv1"][1].reshape(1, 1, 1, 4)]}
    text, x = DATA + CONVOLUTION % "", normal(2, 3, 6, 6)
    np.testing.assert_array_equal(value(network(text, old), x), value(network(text, WEIGHTS), x))


def test_shared_weights_may_be_stored_with_their_owner_only() -> None:
    shared = 'param { name: "w" } param { name: "b" } convolution_param { num_output: 4 kernel_size: 3 }'
    text = DATA + input_layer("other", (2, 3, 6, 6))
    text += f'layer {{ name: "conv1" type: "Convolution" bottom: "data" top: "a" {shared} }}'
    text += f'layer {{ name: "twin" type: "Convolution" bottom: "other" top: "b" {shared} }}'
    x = normal(2, 3, 6, 6)
    found = run(network(text, WEIGHTS), {"data": x, "other": x})
    np.testing.assert_array_equal(found["a"], found["b"])


def test_an_error_leaves_nothing_behind() -> None:
    text = DATA + CONVOLUTION % "" + in_place("ReLU", "relu1", "conv1")
    before = network(text, WEIGHTS).SerializeToString(deterministic=True)
    for _ in range(2):
        refusal(text + in_place("Relu", "relu2", "conv1"))
    assert network(text, WEIGHTS).SerializeToString(deterministic=True) == before


# ---- Errors


# What is wrong -> description, what the message says.
REFUSED = {
    "unsupported type": (
        DATA + CONVOLUTION % "" + in_place("Relu", "relu1", "conv1"),
        "net.prototxt:3: layer 'relu1': expected a supported type, found 'Relu' (did you mean 'ReLU'",
    ),
    "no type like it": (DATA + layer_of("Python"), "supported are AbsVal, Accuracy, ArgMax, "),
    "missing bottom": (
        DATA + layer_of("ReLU", bottoms=["dat"]),
        "net.prototxt:2: layer 'layer' (ReLU): expected bottom blobs that exist here, found 'dat' (did you mean 'data'",
    ),
    "own top as bottom": (DATA + layer_of("ReLU", bottoms=["y"]), "found 'y'; no layer makes it"),
    "cycle": (
        DATA
        + 'layer { name: "a" type: "ReLU" bottom: "b" top: "a" } layer { name: "b" type: "ReLU" bottom: "a" top: "b" }',
        "found 'b', which the later layer 'b' makes; put the layers in order",
    ),
    "bottom too many": (
        DATA + layer_of("ReLU", bottoms=["data", "data"]),
        "layer 'layer' (ReLU): expected 1 bottom blob(s), found 2",
    ),
    "bottom too few": (DATA + layer_of("Eltwise"), "expected 2 or more bottom blob(s), found 1"),
    "bottoms beyond two": (
        DATA + layer_of("Scale", bottoms=["data"] * 3),
        "expected 1 to 2 bottom blob(s), found 3",
    ),
    "top too many": (DATA + layer_of("ReLU", tops=["a", "b"]), "expected 1 top blob(s), found 2"),
    "blob made twice": (
        DATA + layer_of("ReLU") + layer_of("Sigmoid"),
        "(Sigmoid): expected a new name for its top, found 'y', which an earlier layer has made",
    ),
    "second bottom overwritten": (
        DATA + layer_of("ReLU") + layer_of("Eltwise", bottoms=["data", "y"]),
        "only a bottom in the same position may be overwritten",
    ),
    "input made twice": (DATA + DATA, "net.prototxt:1: layer 'data' (Input): input 'data': expected a new name"),
    "blob without a name": (
        DATA + layer_of("ReLU", bottoms=[""]),
        "expected a name for each bottom and top, found an empty one",
    ),
    "name of two lines": (
        DATA + layer_of("ReLU", tops=["a\\nb"]),
        r"expected names of up to 1024 printable characters, found 'a\nb'",
    ),
    "endless name": (DATA + layer_of("ReLU", tops=["a" * 2000]), "expected names of up to 1024 printable characters"),
    "no input": (CONVOLUTION % "", "expected bottom blobs that exist here, found 'data'; no layer makes it"),
    "nothing but input": (DATA, "net.prototxt: expected an Input layer, or input fields, that say how large"),
    "no output": (
        DATA + CONVOLUTION % "" + 'layer { name: "s" type: "Silence" bottom: "conv1" }',
        "expected layers that make an output, found none",
    ),
    "group that does not divide": (
        DATA + CONVOLUTION % "group: 2",
        "layer 'conv1' (Convolution): expected a group that divides 3 input and 4 output channels, found 2",
    ),
    "group of 0": (DATA + CONVOLUTION % "group: 0", "expected a group that divides"),
    "kernel larger than input": (
        DATA + CONVOLUTION % "dilation: 3",
        "expected a kernel no larger than its padded input, found 3 x 3 over blob 'data' of shape N x 3 x 6 x 6",
    ),
    "two kernels": (
        DATA + CONVOLUTION % "kernel_h: 2",
        "expected kernel_size, or kernel_h and kernel_w for an image, found another use",
    ),
    "stride of 0": (DATA + CONVOLUTION % "stride: 0", "stride: expected 1 to 32,768, found 0 x 0"),
    "endless pad": (
        DATA + CONVOLUTION % "pad: 4294967295",
        "pad: expected 0 to 32,768, found 4294967295 x 4294967295",
    ),
    "channels elsewhere": (
        DATA + CONVOLUTION % "axis: 2",
        "expected channels along axis 1, found axis 2, which is not supported",
    ),
    "axis behind the last": (
        DATA + layer_of("Softmax", "softmax_param { axis: 4 }"),
        "expected an axis of the 4 that its bottom has, found axis 4",
    ),
    "axis before the first": (DATA + layer_of("Softmax", "softmax_param { axis: -5 }"), "bottom has, found axis -5"),
    "weights for the batch": (
        DATA + layer_of("InnerProduct", "inner_product_param { num_output: 3 axis: 0 }"),
        "expected an axis of fixed size, found axis 0 of blob 'data' of shape N x 3 x 6 x 6, the batch",
    ),
    "endless tiles": (
        DATA + layer_of("Tile", "tile_param { tiles: 2147483647 }"),
        "expected blobs of at most 32 axes and 2,147,483,647 numbers, as in Caffe, found N x 6442450941 x 6 x 6",
    ),
    "endless pyramid": (
        DATA + layer_of("SPP", "spp_param { pyramid_height: 4294967295 }"),
        "layer 'layer' (SPP): expected a pad smaller than the kernel",
    ),
    "endless axes": (
        DATA + layer_of("Reshape", f"reshape_param {{ shape {{ {'dim: 1 ' * 40} dim: -1 }} }}"),
        "expected blobs of at most 32 axes",
    ),
    "sizes that overflow": (
        DATA + layer_of("Reshape", f"reshape_param {{ shape {{ {f'dim: {2**63 - 1} ' * 2} }} }}"),
        "expected a shape with as many numbers as blob 'data'",
    ),
    "even local_size": (
        DATA + layer_of("LRN", "lrn_param { local_size: 4 }"),
        "local_size: expected an odd number, found 4",
    ),
    "endless channels": (
        input_layer("data", (2, 2**31, 1, 1)) + layer_of("ReLU"),
        "input 'data': expected up to 8 sizes from 1 to 1048576, found [2, 2147483648, 1, 1]",
    ),
    "batch of 0": (
        input_layer("data", (0, 3)) + layer_of("ReLU"),
        "expected up to 8 sizes from 1 to 1048576, found [0, 3]",
    ),
    "endless photo": (
        input_layer("data", (1, 2**20, 2**20)) + layer_of("ReLU"),
        "expected blobs of at most 32 axes and 2,147,483,647 numbers",
    ),
    "input without axes": (input_layer("data", ()) + layer_of("ReLU"), "expected up to 8 sizes"),
    "shapes too few": (
        'layer { name: "i" type: "Input" top: "a" top: "b" top: "c" input_param { shape { } shape { } } }',
        "expected one shape, or one for each of 3 tops, found 2",
    ),
    "layers too many": (
        DATA + in_place("ReLU", "r", "data") * 20_000,
        "expected at most 20,000 layers, found more",
    ),
}


@pytest.mark.parametrize("problem", REFUSED)
def test_a_description_that_makes_no_sense_is_refused_with_place_and_advice(problem: str) -> None:
    text, expected = REFUSED[problem]
    assert expected in refusal(text)


KERNEL, BIAS = WEIGHTS["conv1"]
FOREIGN: dict[str, tuple[dict[str, list[Array]], str]] = {
    "no layer of the name": (
        {},
        "net.prototxt:2: layer 'conv1' (Convolution): expected weights of shape 4 x 3 x 3 x 3 as weight blob 0, but "
        "net.caffemodel has no layer of this name; give the weights that belong to this description",
    ),
    "a similar name": (
        {"relu1": [], "conv_1": [KERNEL], "data": [BIAS]},
        "net.caffemodel has no layer of this name (did you mean 'conv_1'?)",
    ),
    "a layer without blobs": ({"conv1": []}, "net.caffemodel has no blob(s) for this layer"),
    "a blob too few": (
        {"conv1": [KERNEL]},
        "expected a bias of shape 4 as weight blob 1, but net.caffemodel has 1 blob(s) for this layer",
    ),
    "a blob too many": (
        {"conv1": [KERNEL, BIAS, BIAS]},
        "expected 2 weight blob(s), found 3 in the weights file; description and weights do not belong together",
    ),
    "another kernel": (
        {"conv1": [normal(4, 3, 5, 5), BIAS]},
        "expected weights of shape 4 x 3 x 3 x 3, found 4 x 3 x 5 x 5 in the weights file",
    ),
    "another bias": (
        {"conv1": [KERNEL, normal(5)]},
        "expected a bias of shape 4, found 5 in the weights file",
    ),
    "another network": (
        {"fc8": [KERNEL], "fc7": [KERNEL]},
        "net.caffemodel: expected weights for the layers of net.prototxt (conv1, data), found only others (fc7, fc8); "
        "the files describe different networks",
    ),
    "a name of two lines": ({"a\nb": [KERNEL]}, r"found only others ('a\nb')"),
}


@pytest.mark.parametrize("problem", FOREIGN)
def test_weights_that_do_not_fit_are_refused_with_place_and_advice(problem: str) -> None:
    weights, expected = FOREIGN[problem]
    assert expected in refusal(DATA + CONVOLUTION % "", weights)


def test_a_network_of_weights_only_has_no_input() -> None:
    text = 'layer { name: "p" type: "Parameter" top: "p" parameter_param { shape { } } }'
    assert "expected an Input layer, or input fields" in refusal(text, {"p": [np.float32(1)]})


def test_a_second_layer_of_the_same_name_has_no_weights() -> None:
    text = DATA + CONVOLUTION % "" + (CONVOLUTION % "pad: 1").replace('top: "conv1"', 'top: "conv2"')
    assert "net.caffemodel is matched by name, and an earlier layer has the same name" in refusal(text)
    # A layer without weights may have any name.
    network(DATA + CONVOLUTION % "" + in_place("ReLU", "conv1", "conv1"), WEIGHTS)


def test_layers_by_the_thousand_are_converted() -> None:
    text = DATA + "".join(in_place("ReLU", f"relu{index}", "data") for index in range(3000))
    assert len(network(text).graph.node) == 3000
    many = "".join(f' bottom: "data{index}"' for index in range(1000))
    text = DATA + "".join(layer_of("ReLU", tops=[f"data{index}"]) for index in range(1000))
    assert declared(network(text + f'layer {{ name: "c" type: "Concat" {many} top: "c" }}'))["c"] == ("N", 3000, 6, 6)


# ---- Networks of full size


# Parameters, and blobs with their sizes, as published.
PUBLISHED = {
    "alexnet": (
        60_965_224,
        "conv1 96x55x55, norm1 96x55x55, pool1 96x27x27, conv2 256x27x27, pool2 256x13x13, conv3 384x13x13, "
        "conv4 384x13x13, conv5 256x13x13, pool5 256x6x6, fc6 4096, fc7 4096, fc8 1000, prob 1000",
    ),
    "googlenet": (
        6_998_552,
        "conv1/7x7_s2 64x112x112, pool1/3x3_s2 64x56x56, conv2/3x3 192x56x56, pool2/3x3_s2 192x28x28, "
        "inception_3a/output 256x28x28, inception_3b/output 480x28x28, pool3/3x3_s2 480x14x14, "
        "inception_4a/output 512x14x14, inception_4d/output 528x14x14, inception_4e/output 832x14x14, "
        "pool4/3x3_s2 832x7x7, inception_5b/output 1024x7x7, pool5/7x7_s1 1024x1x1, loss3/classifier 1000, prob 1000",
    ),
    "vgg16": (
        138_357_544,
        "conv1_2 64x224x224, pool1 64x112x112, pool2 128x56x56, pool3 256x28x28, conv4_3 512x28x28, pool4 512x14x14, "
        "conv5_3 512x14x14, pool5 512x7x7, fc6 4096, fc7 4096, fc8 1000, prob 1000",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_the_papers_networks_convert_from_files_of_2014_and_have_the_published_sizes(name: str, tmp_path: Path) -> None:
    description = ROOT / "models" / name / "deploy.prototxt"
    weights = write_random_weights(description, tmp_path / "random.caffemodel", seed=0)
    model = convert(description, weights)
    weights.unlink()
    parameters, blobs = PUBLISHED[name]
    shapes = {blob: tuple(map(int, sizes.split("x"))) for blob, sizes in map(str.split, blobs.split(", "))}
    stored = [tensor for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT]
    assert sum(prod(tensor.dims) for tensor in stored) == parameters
    assert {blob: declared(model)[blob][1:] for blob in shapes} == shapes
    network = Network(model, "cpu", threads=2)
    x = 50 * normal(*network.input_shape)
    last = list(shapes)[-3:]
    found = network.run(x, last)
    assert {blob: found[blob].shape for blob in last} == {blob: (1, *shapes[blob]) for blob in last}
    np.testing.assert_allclose(found["prob"].sum(), 1, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells how much memory a process had")
def test_conversion_needs_no_more_than_twice_the_memory_of_the_weights(tmp_path: Path) -> None:
    description = ROOT / "models" / "vgg16" / "deploy.prototxt"
    weights = write_random_weights(description, tmp_path / "random.caffemodel", seed=0)
    program = (
        "import pathlib, re, sys; from predict_diff.caffe.converter import convert; model = convert(*sys.argv[1:]); "
        "print(re.search(r'VmHWM:\\s+(\\d+) kB', pathlib.Path('/proc/self/status').read_text())[1])"
    )
    arguments = [sys.executable, "-c", program, str(description), str(weights)]
    peak = int(subprocess.run(arguments, check=True, capture_output=True, text=True, cwd=ROOT).stdout)
    size = weights.stat().st_size
    weights.unlink()
    assert 1024 * peak < 2 * size

"""Random weights in the form of 2014."""

from __future__ import annotations

from math import prod
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import skimage.data
import skimage.transform
from google.protobuf import text_format

from predict_diff.caffe.caffe_pb2 import NetParameter, V1LayerParameter
from predict_diff.caffe.converter import convert
from predict_diff.errors import ConfigurationError
from reproduce import networks
from reproduce.random_weights import weight_blobs, write_random_weights

SMALL = """
name: "small"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 30 dim: 30 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 8 kernel_size: 3 stride: 2 } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param { kernel_size: 3 stride: 2 } }
layer { name: "conv2" type: "Convolution" bottom: "pool1" top: "conv2"
  convolution_param { num_output: 6 kernel_size: 3 pad: 1 group: 2 } }
layer { name: "both" type: "Concat" bottom: "pool1" bottom: "conv2" top: "both" }
layer { name: "fc" type: "InnerProduct" bottom: "both" top: "fc" inner_product_param { num_output: 50 } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""


@pytest.fixture
def description(tmp_path: Path) -> Path:
    path = tmp_path / "deploy.prototxt"
    path.write_text(SMALL)
    return path


def parsed(path: Path) -> NetParameter:
    return NetParameter.FromString(path.read_bytes())


def test_the_file_has_the_form_of_2014(description: Path, tmp_path: Path) -> None:
    net = parsed(write_random_weights(description, tmp_path / "w.caffemodel", seed=1))
    assert not net.layer
    types = [V1LayerParameter.LayerType.Name(layer.type) for layer in net.layers]
    assert types == [
        *("DATA", "CONVOLUTION", "RELU", "POOLING", "CONVOLUTION", "CONCAT", "INNER_PRODUCT", "SOFTMAX_LOSS")
    ]
    shapes = {
        layer.name: [(b.num, b.channels, b.height, b.width) for b in layer.blobs] for layer in net.layers if layer.blobs
    }
    # 30 -> 14 by the convolution, which rounds down; -> 7 by the pooling, which rounds up.
    assert shapes == {
        "conv1": [(8, 3, 3, 3), (1, 1, 1, 8)],
        "conv2": [(6, 4, 3, 3), (1, 1, 1, 6)],
        "fc": [(1, 1, 50, 14 * 7 * 7), (1, 1, 1, 50)],
    }
    assert all(len(b.data) == prod((b.num, b.channels, b.height, b.width)) for x in net.layers for b in x.blobs)


def test_the_current_form_holds_the_same_numbers(description: Path, tmp_path: Path) -> None:
    old = parsed(write_random_weights(description, tmp_path / "old.caffemodel", seed=1))
    new = parsed(write_random_weights(description, tmp_path / "new.caffemodel", seed=1, legacy=False))
    assert not new.layers
    assert [layer.type for layer in new.layer][:2] == ["Input", "Convolution"]
    assert [tuple(b.shape.dim) for layer in new.layer for b in layer.blobs][-2:] == [(50, 686), (50,)]
    assert [list(b.data) for layer in new.layer for b in layer.blobs] == [
        list(b.data) for layer in old.layers for b in layer.blobs
    ]


def test_a_seed_gives_one_file_and_another_seed_another(description: Path, tmp_path: Path) -> None:
    first, again, other = (
        write_random_weights(description, tmp_path / f"{number}.caffemodel", seed).read_bytes()
        for number, seed in enumerate((1, 1, 2))
    )
    assert first == again
    assert first != other


# Numbers of parameters, from the literature on each network.
@pytest.mark.parametrize(
    ("name", "parameters"), [("alexnet", 60_965_224), ("googlenet", 6_998_552), ("vgg16", 138_357_544)]
)
def test_the_descriptions_of_the_papers_networks_have_their_number_of_parameters(name: str, parameters: int) -> None:
    described = networks.card(name)
    net = text_format.Parse(described.description.read_text(), NetParameter())
    counted = sum(prod(blob.shape) for _, blobs in weight_blobs(net) for blob in blobs)
    assert counted == parameters
    if name != "googlenet":  # whose file also holds the classifiers that only training uses
        assert 0 < described.weights.bytes - 4 * counted < 4096


def test_logits_of_a_photo_are_neither_flat_nor_saturated(tmp_path: Path) -> None:
    described = networks.card("googlenet")
    weights = write_random_weights(described.description, tmp_path / "w.caffemodel", seed=3)
    model = convert(described.description, weights)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    pixels = 255 * skimage.transform.resize(skimage.data.astronaut(), (224, 224))
    x = (pixels[..., ::-1] - (104, 117, 123)).transpose(2, 0, 1).astype(np.float32)
    logits = np.log(session.run(["prob"], {"data": x[None]})[0])
    assert 0.75 < logits.std() < 3


def test_a_layer_it_cannot_fill_is_named(tmp_path: Path) -> None:
    path = tmp_path / "deploy.prototxt"
    path.write_text(SMALL + 'layer { name: "scale9" type: "Scale" bottom: "fc" top: "fc" }')
    with pytest.raises(ConfigurationError, match=r"'scale9'.*'Scale'"):
        write_random_weights(path, tmp_path / "w.caffemodel", seed=1)
    assert [file.name for file in tmp_path.iterdir()] == ["deploy.prototxt"]

"""Layers of Caffe's forks, converted and read: against closed forms; their gradients, against differences."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from caffe_networks import declared, input_layer, layer_of, network, normal, run, single, value, weights_of
from google.protobuf import text_format
from numpy.typing import ArrayLike, NDArray

import predict_diff.caffe.reference as reading
from predict_diff.caffe.caffe_pb2 import LayerParameter, NetParameter
from predict_diff.caffe.check import check
from predict_diff.caffe.converter import convert_read
from predict_diff.caffe.reader import Description, read_description, read_weights
from predict_diff.errors import ConversionError
from predict_diff.network.gradient import gradient_model

Array = NDArray[Any]

X = normal(2, 6, 4, 5)
SCALES = np.linspace(0.5, 20, 6, dtype=np.float32)


def both(kind: str, settings: str, *bottoms: Array, weights: Sequence[ArrayLike] = ()) -> tuple[Array, Array]:
    """A layer as it is converted, and as it is read."""
    model = single(kind, [bottom.shape for bottom in bottoms], settings, weights)
    onnx.checker.check_model(model, full_check=True)
    found = run(model, {f"data{index or ''}": bottom for index, bottom in enumerate(bottoms)})["y"]
    assert tuple(len(bottoms[0]) if size == "N" else size for size in declared(model)["y"]) == found.shape
    layer = text_format.Parse(f'name: "layer" type: "{kind}" top: "y" {settings}', LayerParameter())
    (read,) = reading.apply(layer, list(bottoms), [np.asarray(blob) for blob in weights], {})
    assert read is not None
    return found, read


def expect(kind: str, settings: str, expected: ArrayLike, *bottoms: Array, weights: Sequence[ArrayLike] = ()) -> None:
    for found in both(kind, settings, *bottoms, weights=weights):
        assert found.shape == np.shape(expected)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def refusal(kind: str, settings: str, *shapes: Sequence[int], weights: Sequence[ArrayLike] = ()) -> str:
    with pytest.raises(ConversionError) as caught:
        single(kind, shapes or [X.shape], settings, weights)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def interpolated(x: Array, rows: int, columns: int) -> Array:
    """Pixel by pixel: corners fall upon corners, and between pixels the plane is bilinear."""
    y = np.empty((*x.shape[:2], rows, columns))
    for i, j in product(range(rows), range(columns)):
        h = i * (x.shape[2] - 1) / (rows - 1) if rows > 1 else 0.0
        w = j * (x.shape[3] - 1) / (columns - 1) if columns > 1 else 0.0
        y[:, :, i, j] = sum(
            x[:, :, row, column] * max(0, 1 - abs(h - row)) * max(0, 1 - abs(w - column))
            for row, column in product(range(x.shape[2]), range(x.shape[3]))
        )
    return y


@pytest.mark.parametrize(
    ("order", "axes"),
    [((0, 2, 3, 1), (0, 2, 3, 1)), ((0, 3), (0, 3, 1, 2)), ((), (0, 1, 2, 3)), ((2, 0), (2, 0, 1, 3))],
)
def test_permute_puts_the_axes_listed_first(order: Sequence[int], axes: Sequence[int]) -> None:
    listed = " ".join(f"order: {axis}" for axis in order)
    expect("Permute", f"permute_param {{ {listed} }}", X.transpose(axes), X)


@pytest.mark.parametrize("order", ["order: 1 order: 1", "order: 4"])
def test_permute_refuses_axes_that_are_not_there_or_there_twice(order: str) -> None:
    assert "each once" in refusal("Permute", f"permute_param {{ {order} }}")


@pytest.mark.parametrize("shape", [(2, 6), (2, 6, 5), (2, 6, 4, 5)])
@pytest.mark.parametrize("across", [True, False])
@pytest.mark.parametrize("shared", [True, False])
def test_normalize_makes_vectors_of_one_length(shape: tuple[int, ...], across: bool, shared: bool) -> None:
    x, scales = normal(*shape), SCALES[:1] if shared else SCALES
    settings = f"norm_param {{ across_spatial: {across} channel_shared: {shared} scale_filler {{ value: 20 }} }}"
    flat = x.reshape(2, -1) if across else x
    unit = (flat / np.linalg.norm(flat, axis=1, keepdims=True)).reshape(shape)
    expect("Normalize", settings, unit * scales.reshape(-1, *[1] * (x.ndim - 2)), x, weights=[scales])


def test_normalize_keeps_zeros_and_adds_eps_to_the_square_of_the_length() -> None:
    settings = "norm_param { across_spatial: false eps: 16 }"
    expect("Normalize", settings, np.full((1, 1, 1, 1), 2 * 3 / 5), np.full((1, 1, 1, 1), 3), weights=[[2]])
    expect("Normalize", "", np.zeros((1, 2, 1, 1)), np.zeros((1, 2, 1, 1)), weights=[[2]])


def test_normalize_needs_its_scales() -> None:
    assert "expected scales of shape 6" in refusal("Normalize", "norm_param { channel_shared: false }")
    assert "expected 1 weight blob(s), found 2" in refusal("Normalize", "", weights=[[1], [1]])


@pytest.mark.parametrize(("group", "order"), [(1, range(6)), (2, (0, 3, 1, 4, 2, 5)), (3, (0, 2, 4, 1, 3, 5))])
def test_channels_are_shuffled_like_a_deck_of_cards(group: int, order: Sequence[int]) -> None:
    expect("ShuffleChannel", f"shuffle_channel_param {{ group: {group} }}", X[:, list(order)], X)


@pytest.mark.parametrize("group", [0, 4])
def test_groups_have_to_divide_the_channels(group: int) -> None:
    assert "divides the channels" in refusal("ShuffleChannel", f"shuffle_channel_param {{ group: {group} }}")


@pytest.mark.parametrize(
    ("settings", "crop", "size"),
    [
        ("height: 9 width: 13", (0, 0), (9, 13)),
        ("height: 1 width: 1", (0, 0), (1, 1)),
        ("height: 4 width: 2", (0, 0), (4, 2)),
        ("zoom_factor: 3", (0, 0), (10, 13)),
        ("shrink_factor: 2", (0, 0), (2, 3)),
        ("shrink_factor: 2 zoom_factor: 4", (0, 0), (5, 9)),
        ("shrink_factor: 2 zoom_factor: 4 height: 3 width: 7", (0, 0), (3, 7)),
        ("zoom_factor: 2 height: 3 width: 7", (0, 0), (7, 9)),
        ("zoom_factor: 1", (0, 0), (4, 5)),
        ("height: 5 width: 6 pad_beg: -1 pad_end: -2", (1, 2), (5, 6)),
        ("zoom_factor: 3 pad_beg: -1", (1, 0), (7, 10)),
    ],
)
def test_interp_lays_corners_upon_corners(settings: str, crop: tuple[int, int], size: tuple[int, int]) -> None:
    x = X[:, :, crop[0] : 4 - crop[1], crop[0] : 5 - crop[1]]
    expect("Interp", f"interp_param {{ {settings} }}", interpolated(x, *size), X)


def test_interp_takes_its_size_from_a_second_bottom() -> None:
    expect("Interp", "", interpolated(X, 7, 3), X, normal(2, 1, 7, 3))
    assert "second bottom" in refusal("Interp", "interp_param { zoom_factor: 2 }", X.shape, (2, 1, 7, 3))


def test_interp_of_a_large_plane_stays_within_the_accuracy_of_single_precision() -> None:
    x = normal(1, 1, 256, 60)
    found, read = both("Interp", "interp_param { height: 713 width: 473 }", x)
    assert np.abs(found - read).max() < 1e-6 * np.abs(read).max()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("", "found none"),
        ("height: 3", "found none"),
        ("pad_beg: 1 zoom_factor: 2", "0 or below"),
        ("pad_beg: -2 pad_end: -2 zoom_factor: 2", "something left"),
        ("zoom_factor: 0", "shrink_factor and zoom_factor: expected 1"),
        ("height: -1 width: 3", "interpolated size: expected 1"),
        ("height: 30000 width: 30000 pad_end: -2147483648", "something left"),
    ],
)
def test_interp_refuses_sizes_that_make_no_sense(settings: str, message: str) -> None:
    assert message in refusal("Interp", f"interp_param {{ {settings} }}")


def test_interp_does_not_write_matrices_without_end() -> None:
    settings = "interp_param { height: 30000 width: 2 }"
    assert "product is at most 4,194,304" in refusal("Interp", settings, (1, 1, 200, 2))


def test_upsample_repeats_pixels() -> None:
    expect("Upsample", "upsample_param { scale: 3 }", np.kron(X, np.ones((1, 1, 3, 3))), X)
    expect("Upsample", "", X, X)
    assert "scale: expected 1" in refusal("Upsample", "upsample_param { scale: -1 }")


@pytest.mark.parametrize(
    ("settings", "shapes"),
    [("upsample_param { scale: 2 }", [X.shape, X.shape]), ("upsample_param { upsample_h: 8 upsample_w: 10 }", [])],
)
def test_segnets_upsample_is_refused(settings: str, shapes: list[tuple[int, ...]]) -> None:
    assert "found SegNet's form" in refusal("Upsample", settings, *shapes)


@pytest.mark.parametrize("stated", ["", "num_output: 6", "num_output: 6 group: 2"])
def test_convolution_depthwise_has_a_kernel_for_each_channel(stated: str) -> None:
    kernels = normal(6, 1, 3, 2, seed=1)
    settings = f"convolution_param {{ {stated} kernel_h: 3 kernel_w: 2 bias_term: false }}"
    windows = np.lib.stride_tricks.sliding_window_view(X, (3, 2), axis=(2, 3))
    expected = np.einsum("nchwij,cij->nchw", windows, kernels[:, 0])
    expect("ConvolutionDepthwise", settings, expected, X, weights=[kernels])


def test_convolution_depthwise_has_as_many_outputs_as_channels() -> None:
    assert "expected num_output 6" in refusal("ConvolutionDepthwise", "convolution_param { num_output: 12 }")


def test_relu6_has_no_slope_at_its_kinks() -> None:
    x = np.array([[-1, 0, 3, 6, 7]], np.float32)
    expect("ReLU6", "", [[0, 0, 3, 6, 6]], x)
    backward = gradient_model(single("ReLU6", [x.shape]), "y")
    gradient = run(backward, {"data": x, "upstream/y": np.ones_like(x)})["gradient/data"]
    np.testing.assert_array_equal(gradient, [[0, 0, 1, 0, 0]])


@pytest.mark.parametrize(
    ("kind", "settings", "weights"),
    [
        ("Permute", "permute_param { order: 0 order: 2 order: 3 order: 1 }", []),
        ("Normalize", "norm_param { across_spatial: false channel_shared: false }", [SCALES]),
        ("Normalize", "", [[2.0]]),
        ("ShuffleChannel", "shuffle_channel_param { group: 3 }", []),
        ("Interp", "interp_param { height: 9 width: 3 pad_beg: -1 }", []),
        ("Upsample", "upsample_param { scale: 2 }", []),
        ("ConvolutionDepthwise", "convolution_param { kernel_size: 3 pad: 1 bias_term: false }", [normal(6, 1, 3, 3)]),
    ],
)
def test_gradients_are_differences_of_the_reading(kind: str, settings: str, weights: list[ArrayLike]) -> None:
    model = single(kind, [X.shape], settings, weights)
    upstream, direction = normal(*value(model, X).shape, seed=1), normal(*X.shape, seed=2)
    gradient = run(gradient_model(model, "y"), {"data": X, "upstream/y": upstream})["gradient/data"]
    layer = text_format.Parse(f'name: "layer" type: "{kind}" top: "y" {settings}', LayerParameter())
    stored = [np.asarray(blob) for blob in weights]
    ahead, behind = (
        reading.apply(layer, [X.astype(np.float64) + step * direction], stored, {})[0] for step in (1e-4, -1e-4)
    )
    assert ahead is not None
    assert behind is not None
    slope = (upstream * (ahead - behind)).sum() / 2e-4
    np.testing.assert_allclose((gradient * direction).sum(), slope, rtol=1e-4)


def test_any_number_of_photos_can_stand_in_a_batch() -> None:
    for kind, settings in (("Interp", "interp_param { zoom_factor: 2 }"), ("Upsample", "upsample_param { scale: 2 }")):
        model = single(kind, [X.shape], settings)
        x = normal(5, *X.shape[1:])
        np.testing.assert_allclose(value(model, x)[3:4], value(model, x[3:4]), rtol=1e-6)


@pytest.mark.skipif(find_spec("cv2") is None, reason="opencv-python-headless is not installed")
@pytest.mark.parametrize(
    ("kind", "settings", "weights"),
    [
        ("Permute", "permute_param { order: 0 order: 2 order: 3 order: 1 }", []),
        ("Normalize", "norm_param { across_spatial: false channel_shared: false }", [SCALES]),
        ("Normalize", "norm_param { eps: 3 }", [[2.0]]),
        ("ShuffleChannel", "shuffle_channel_param { group: 3 }", []),
        ("Interp", "interp_param { height: 9 width: 3 }", []),
        ("Interp", "interp_param { zoom_factor: 2 }", []),
        (
            "ConvolutionDepthwise",
            "convolution_param { num_output: 6 group: 6 kernel_size: 3 bias_term: false }",
            [normal(6, 1, 3, 3)],
        ),
        ("ReLU6", "", []),
    ],
)
def test_opencv_computes_the_same(kind: str, settings: str, weights: list[ArrayLike], tmp_path: Path) -> None:
    stored = NetParameter()
    blobs = stored.layer.add(name="layer").blobs
    for array in map(np.asarray, weights):
        blobs.add(shape={"dim": array.shape}, data=array.ravel().tolist())
    (tmp_path / "net.caffemodel").write_bytes(stored.SerializeToString())
    (tmp_path / "net.prototxt").write_text(input_layer("data", X.shape) + layer_of(kind, settings))
    description, read = read_description(tmp_path / "net.prototxt"), read_weights(tmp_path / "net.caffemodel")
    report = check(convert_read(description, read), description, read)
    (opencv,) = (found for found in report.comparisons if found.implementation == "OpenCV")
    assert [row.passed for row in opencv.rows] == [True], opencv.verdict()


def layer(kind: str, name: str, bottoms: str, top: str, settings: str = "") -> str:
    return layer_of(kind, settings, bottoms.split(), [top]).replace('name: "layer"', f'name: "{name}"')


def convolved(name: str, bottom: str, outputs: int, settings: str = "kernel_size: 1", kind: str = "Convolution") -> str:
    return layer(kind, name, bottom, name, f"convolution_param {{ num_output: {outputs} {settings} }}")


SE_BLOCK = (
    input_layer("data", (2, 6, 8, 8))
    + convolved("conv", "data", 6, "kernel_size: 3 pad: 1")
    + layer("BatchNorm", "bn", "conv", "conv")
    + layer("Scale", "scale", "conv", "conv", "scale_param { bias_term: true }")
    + layer("Pooling", "squeeze", "conv", "squeeze", "pooling_param { pool: AVE global_pooling: true }")
    + convolved("down", "squeeze", 2)
    + layer("ReLU", "relu", "down", "down")
    + convolved("up", "down", 6)
    + layer("Sigmoid", "gate", "up", "gate")
    + layer("Axpy", "axpy", "gate conv data", "axpy")
)
MOBILE_BLOCK = (
    input_layer("data", (2, 6, 8, 8))
    + convolved("conv/dw", "data", 6, "kernel_size: 3 pad: 1 stride: 2 group: 6", "DepthwiseConvolution")
    + layer("ReLU6", "relu/dw", "conv/dw", "conv/dw")
    + convolved("conv/sep", "conv/dw", 6, "kernel_size: 1 group: 2")
    + layer("ShuffleChannel", "shuffle", "conv/sep", "shuffle", "shuffle_channel_param { group: 2 }")
    + convolved("conv2/dw", "shuffle", 6, "kernel_size: 3 pad: 1", "ConvolutionDepthwise")
    + layer("Normalize", "norm", "conv2/dw", "norm", "norm_param { across_spatial: false channel_shared: false }")
    + layer("Upsample", "larger", "norm", "larger", "upsample_param { scale: 2 }")
    + layer("Interp", "zoomed", "conv2/dw data", "zoomed")
    + layer("Concat", "joined", "larger zoomed", "joined")
    + layer("Permute", "permuted", "joined", "permuted", "permute_param { order: 0 order: 2 order: 3 order: 1 }")
    + layer("Flatten", "flat", "permuted", "flat")
)
WEIGHTS: dict[str, dict[str, list[ArrayLike]]] = {
    SE_BLOCK: {
        "conv": [normal(6, 6, 3, 3), normal(6)],
        "bn": [normal(6), np.abs(normal(6)) + 1, [2.0]],
        "scale": [normal(6), normal(6)],
        "down": [normal(2, 6, 1, 1), normal(2)],
        "up": [normal(6, 2, 1, 1), normal(6)],
    },
    MOBILE_BLOCK: {
        "conv/dw": [normal(6, 1, 3, 3), normal(6)],
        "conv/sep": [normal(6, 3, 1, 1), normal(6)],
        "conv2/dw": [normal(6, 1, 3, 3, seed=1), normal(6)],
        "norm": [SCALES],
    },
}


@pytest.mark.parametrize("text", [SE_BLOCK, MOBILE_BLOCK], ids=["se_resnet", "mobile_shuffle_ssd"])
def test_networks_of_forks_convert_and_pass_the_check(text: str) -> None:
    description, weights = Description.from_text(text), weights_of(WEIGHTS[text])
    report = check(convert_read(description, weights), description, weights, use_opencv=False)
    assert report.passed
    assert not report.comparisons[0].note
    assert len(report.comparisons[0].rows) >= len(description.net.layer) - 3


@pytest.mark.parametrize("text", [SE_BLOCK, MOBILE_BLOCK], ids=["se_resnet", "mobile_shuffle_ssd"])
def test_networks_of_forks_have_gradients(text: str) -> None:
    model, x, direction = network(text, WEIGHTS[text]), normal(2, 6, 8, 8), normal(2, 6, 8, 8, seed=1)
    output = model.graph.output[0].name
    upstream = normal(*value(model, x).shape, seed=2)
    gradient = run(gradient_model(model, output), {"data": x, f"upstream/{output}": upstream})["gradient/data"]
    net = Description.from_text(text).net
    stored = {name: [np.asarray(blob) for blob in blobs] for name, blobs in WEIGHTS[text].items()}
    ahead, behind = (
        reading.run(net, stored, {"data": x.astype(np.float64) + step * direction})[output] for step in (1e-6, -1e-6)
    )
    slope = (upstream * (ahead - behind)).sum() / 2e-6
    np.testing.assert_allclose((gradient * direction).sum(), slope, rtol=1e-3)

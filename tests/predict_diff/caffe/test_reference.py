"""The NumPy reading of Caffe's definitions, against arrays of the original Caffe and literal transcriptions."""

from __future__ import annotations

import ast
import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format
from numpy.typing import ArrayLike, NDArray
from scipy.signal import correlate

import predict_diff.caffe.reference as reading
from predict_diff.caffe.caffe_pb2 import LayerParameter
from predict_diff.caffe.layers import INPUT_TYPES, LAYER_TYPES
from predict_diff.caffe.reader import Description, read_description, read_weights
from predict_diff.errors import ConversionError

GOLDENS = Path(__file__).parents[2] / "goldens"
CASES = sorted(path.parent.relative_to(GOLDENS).as_posix() for path in GOLDENS.rglob("blobs.npz"))
FLT_MAX = float(np.finfo(np.float32).max)

Array = NDArray[Any]


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape)


def layer(kind: str, settings: str = "", tops: int = 1) -> Any:
    names = " ".join(f'top: "y{index}"' for index in range(tops))
    return text_format.Parse(f'name: "layer" type: "{kind}" {names} {settings}', LayerParameter())


def tops_of(
    kind: str, settings: str, *bottoms: ArrayLike, stored: tuple[ArrayLike, ...] = (), tops: int = 1
) -> list[Any]:
    arrays = [np.asarray(blob, np.float32) for blob in stored]
    return list(reading.apply(layer(kind, settings, tops), [np.asarray(bottom) for bottom in bottoms], arrays, {}))


def top_of(kind: str, settings: str, *bottoms: ArrayLike, stored: tuple[ArrayLike, ...] = ()) -> Array:
    (top,) = tops_of(kind, settings, *bottoms, stored=stored)
    return np.asarray(top)


def run(text: str, inputs: dict[str, Array], weights: dict[str, list[ArrayLike]] | None = None) -> dict[str, Array]:
    stored = {name: [np.asarray(blob, np.float32) for blob in blobs] for name, blobs in (weights or {}).items()}
    return reading.run(Description.from_text(text).net, stored, inputs)


class TestAgainstTheOriginal:
    @pytest.mark.parametrize("case", CASES)
    def test_every_blob_is_caffes(self, case: str) -> None:
        net = read_description(GOLDENS / case / "deploy.prototxt").net
        weights = read_weights(GOLDENS / case / "weights.caffemodel")
        expected = dict(np.load(GOLDENS / case / "blobs.npz"))
        inputs = dict(expected)
        if (GOLDENS / case / "input.npy").exists():
            inputs["data"] = np.load(GOLDENS / case / "input.npy")
        found = reading.run(net, {name: stored.blobs for name, stored in weights.layers.items()}, inputs)
        for name, blob in expected.items():
            assert found[name].shape == blob.shape, name
            largest = np.abs(blob).max()
            np.testing.assert_allclose(found[name], blob, rtol=0, atol=1e-5 * largest, err_msg=name)

    def test_it_shares_no_code_with_the_converter(self) -> None:
        folder = Path(reading.__file__).parent
        imported = set()
        for path in folder.glob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and node.level >= 2:
                    imported.add(node.module)
                assert not (isinstance(node, ast.Import) and any("predict_diff" in name.name for name in node.names))
        assert imported == {"errors", "caffe_pb2", "files"}

    def test_it_knows_every_type_that_the_converter_knows(self) -> None:
        assert set(LAYER_TYPES) <= set(reading.TYPES) | reading.LEFT_OUT
        assert set(INPUT_TYPES) <= reading.FED


class TestPooling:
    @pytest.mark.parametrize("seed", range(40))
    def test_equals_a_transcription_number_by_number(self, seed: int) -> None:
        generator = np.random.default_rng(seed)
        (height, width), (kernel_h, kernel_w) = generator.integers(4, 12, 2), generator.integers(1, 5, 2)
        stride_h, stride_w = generator.integers(1, 6, 2)
        pad_h, pad_w = generator.integers(0, kernel_h), generator.integers(0, kernel_w)
        kind, rounding = generator.choice(["MAX", "AVE"]), generator.choice(["CEIL", "FLOOR"])
        x = generator.standard_normal((2, 3, height, width))
        settings = (
            f"pooling_param {{ pool: {kind} round_mode: {rounding} kernel_h: {kernel_h} kernel_w: {kernel_w} stride_h: "
            f"{stride_h} stride_w: {stride_w} pad_h: {pad_h} pad_w: {pad_w} }}"
        )
        found = tops_of("Pooling", settings, x, tops=2 if kind == "MAX" else 1)
        rows = self.windows(height, kernel_h, stride_h, pad_h, rounding, pad_h or pad_w)
        columns = self.windows(width, kernel_w, stride_w, pad_w, rounding, pad_h or pad_w)
        assert found[0].shape == (2, 3, len(rows), len(columns))
        for n, c, (i, row), (j, column) in itertools.product(range(2), range(3), enumerate(rows), enumerate(columns)):
            met = [(h, w) for h in range(height) for w in range(width) if h in range(*row) and w in range(*column)]
            if kind == "AVE":
                counted = (min(row[1], height + pad_h) - row[0]) * (min(column[1], width + pad_w) - column[0])
                total = sum(x[n, c, h, w] for h, w in met)
                expected = total / counted if counted else math.nan
                np.testing.assert_allclose(found[0][n, c, i, j], expected, atol=1e-12)
                continue
            best, place = -FLT_MAX, -1
            for h, w in met:
                if x[n, c, h, w] > best:
                    best, place = x[n, c, h, w], h * width + w
            assert (found[0][n, c, i, j], found[1][n, c, i, j]) == (best, place)

    @staticmethod
    def windows(size: int, kernel: int, stride: int, pad: int, rounding: str, padded: bool) -> list[tuple[int, int]]:
        """First and last but one index of each window."""
        count = (math.ceil if rounding == "CEIL" else math.floor)((size + 2 * pad - kernel) / stride) + 1
        if padded and (count - 1) * stride >= size + pad:
            count -= 1
        return [(place * stride - pad, place * stride - pad + kernel) for place in range(count)]

    def test_a_window_that_starts_at_the_edge_averages_nothing_and_one_beyond_it_to_minus_zero(self) -> None:
        at_edge = top_of("Pooling", "pooling_param { pool: AVE kernel_size: 1 stride: 4 }", np.ones((1, 1, 8, 1)))
        assert at_edge.ravel()[:2].tolist() == [1, 1]
        assert np.isnan(at_edge.ravel()[2])
        beyond = top_of("Pooling", "pooling_param { pool: AVE kernel_size: 1 stride: 5 }", np.ones((1, 1, 9, 1)))
        assert beyond.ravel()[2] == 0
        assert np.signbit(beyond.ravel()[2])

    def test_a_pyramid_of_one_level_is_not_flattened(self) -> None:
        x = normal(2, 3, 5, 4)
        np.testing.assert_allclose(
            top_of("SPP", "spp_param { pyramid_height: 1 pool: AVE }", x), x.mean(axis=(2, 3), keepdims=True)
        )
        assert top_of("SPP", "spp_param { pyramid_height: 3 }", x).shape == (2, 3 * (1 + 4 + 16))


class TestConvolution:
    KERNEL, STRIDE, PAD, DILATION = (3, 2), (2, 1), (1, 2), (2, 3)
    SETTINGS = (
        "convolution_param {{ num_output: {outputs} group: 2 kernel_size: 3 kernel_size: 2 stride: 2 stride: 1 pad: 1 "
        "pad: 2 dilation: 2 dilation: 3 }}"
    )

    def test_equals_scipys_correlation(self) -> None:
        x, kernels, biases = normal(2, 4, 9, 8), normal(6, 2, 3, 2, seed=1).astype(np.float32), np.arange(6.0)
        found = top_of("Convolution", self.SETTINGS.format(outputs=6), x, stored=(kernels, biases))
        spread = np.zeros((6, 2, 5, 4))
        spread[:, :, ::2, ::3] = kernels
        padded = np.pad(x, [(0, 0), (0, 0), (1, 1), (2, 2)])
        for n, output in itertools.product(range(2), range(6)):
            group = padded[n, :2] if output < 3 else padded[n, 2:]
            expected = correlate(group, spread[output], "valid")[0, ::2, ::1] + output
            np.testing.assert_allclose(found[n, output], expected, atol=1e-12)

    def test_deconvolution_is_its_transpose(self) -> None:
        kernels = normal(6, 2, 3, 2, seed=1).astype(np.float32)
        x, y = normal(2, 4, 9, 9), normal(2, 6, 4, 10, seed=2)
        no_bias = " bias_term: false }}"
        there = self.SETTINGS.replace(" }}", no_bias).format(outputs=6)
        back = self.SETTINGS.replace(" }}", no_bias).format(outputs=4)
        forward = top_of("Convolution", there, x, stored=(kernels,))
        assert forward.shape == y.shape
        backward = top_of("Deconvolution", back, y, stored=(kernels,))
        np.testing.assert_allclose((forward * y).sum(), (backward * x).sum(), rtol=1e-12)

    def test_stated_by_axis_and_over_several_bottoms(self) -> None:
        geometry = "kernel_h: 1 kernel_w: 2 stride_h: 2 stride_w: 3 pad_w: 1"
        settings = f"convolution_param {{ num_output: 1 bias_term: false {geometry} }}"
        x = normal(1, 1, 5, 4)
        both = tops_of("Convolution", settings, x, 2 * x, stored=(np.array([1.0, -1.0]),), tops=2)
        padded = np.pad(x[0, 0, ::2], [(0, 0), (1, 1)])
        np.testing.assert_allclose(both[0][0, 0], (padded[:, :-1] - padded[:, 1:])[:, ::3])
        np.testing.assert_allclose(both[1], 2 * both[0])

    def test_depthwise_treats_channels_one_by_one(self) -> None:
        x, kernels = normal(2, 3, 6, 6), normal(3, 1, 3, 3, seed=1).astype(np.float32)
        settings = "convolution_param {{ num_output: {} group: {} kernel_size: 3 bias_term: false }}"
        found = top_of("DepthwiseConvolution", settings.format(3, 3), x, stored=(kernels,))
        for channel in range(3):
            alone = top_of("Convolution", settings.format(1, 1), x[:, [channel]], stored=(kernels[[channel]],))
            np.testing.assert_allclose(found[:, [channel]], alone)


class TestShapes:
    X = np.arange(120.0).reshape(2, 3, 4, 5)

    @pytest.mark.parametrize(
        ("settings", "shape"),
        [
            ("shape { dim: 0 dim: -1 }", (2, 60)),
            ("shape { dim: 0 dim: 0 dim: 2 dim: 10 }", (2, 3, 2, 10)),
            ("shape { dim: -1 } axis: 2", (2, 3, 20)),
            ("shape { dim: 2 dim: 2 } axis: 2 num_axes: 1", (2, 3, 2, 2, 5)),
            ("shape { dim: 1 } axis: -1 num_axes: 0", (2, 3, 4, 5, 1)),
            ("shape { } axis: 1 num_axes: 0", (2, 3, 4, 5)),
        ],
    )
    def test_reshape(self, settings: str, shape: tuple[int, ...]) -> None:
        np.testing.assert_array_equal(
            top_of("Reshape", f"reshape_param {{ {settings} }}", self.X), self.X.reshape(shape)
        )

    def test_flatten_both_ends_included(self) -> None:
        settings = "flatten_param { axis: 1 end_axis: -2 }"
        np.testing.assert_array_equal(top_of("Flatten", settings, self.X), self.X.reshape(2, 12, 5))

    def test_crop_with_one_offset_and_with_one_each(self) -> None:
        like = np.zeros((2, 9, 2, 2))
        np.testing.assert_array_equal(top_of("Crop", "crop_param { offset: 1 }", self.X, like), self.X[:, :, 1:3, 1:3])
        several = "crop_param { axis: -2 offset: 2 offset: 3 }"
        np.testing.assert_array_equal(top_of("Crop", several, self.X, like), self.X[:, :, 2:, 3:])
        np.testing.assert_array_equal(top_of("Crop", "", self.X, like), self.X[:, :, :2, :2])

    def test_tile_repeats_a_whole_axis(self) -> None:
        found = top_of("Tile", "tile_param { axis: 2 tiles: 3 }", self.X)
        np.testing.assert_array_equal(found, np.tile(self.X, (1, 1, 3, 1)))

    def test_split_and_silence(self) -> None:
        assert all(top is self.X for top in tops_of("Split", "", self.X, tops=3))
        assert tops_of("Silence", "", self.X, tops=0) == []


class TestArithmetic:
    def test_prelu_with_one_slope_for_all(self) -> None:
        x = normal(2, 3, 4)
        found = top_of("PReLU", "prelu_param { channel_shared: true }", x, stored=(0.5,))
        np.testing.assert_allclose(found, np.where(x > 0, x, 0.5 * x))

    def test_scale_by_a_second_bottom_has_its_bias_stored(self) -> None:
        x, factors = normal(2, 3, 4, 5), normal(3, 4, seed=1)
        biases = normal(3, 4, seed=2).astype(np.float32)
        found = top_of("Scale", "scale_param { bias_term: true }", x, factors, stored=(biases,))
        np.testing.assert_allclose(found, x * factors[None, :, :, None] + biases[None, :, :, None])

    def test_layers_of_forks(self) -> None:
        a, x, y = normal(2, 3), normal(2, 3, 4, 5, seed=1), normal(2, 3, 4, 5, seed=2)
        np.testing.assert_allclose(top_of("Axpy", "", a, x, y), a[:, :, None, None] * x + y)
        np.testing.assert_array_equal(top_of("ReLU6", "", np.array([-1.0, 3.0, 7.0])), [0, 3, 6])

    def test_a_large_inner_product_is_computed_piece_by_piece(self, monkeypatch: pytest.MonkeyPatch) -> None:
        x, matrix, biases = normal(2, 3, 4), normal(7, 12).astype(np.float32), normal(7, seed=1).astype(np.float32)
        whole = top_of("InnerProduct", "inner_product_param { num_output: 7 }", x, stored=(matrix, biases))
        np.testing.assert_allclose(whole, x.reshape(2, 12) @ matrix.T.astype(float) + biases)
        monkeypatch.setattr("predict_diff.caffe.reference.arithmetic._AT_ONCE", 30)
        for settings, stored in (("", matrix), ("transpose: true", matrix.T.copy())):
            pieces = top_of(
                "InnerProduct", f"inner_product_param {{ num_output: 7 {settings} }}", x, stored=(stored, biases)
            )
            np.testing.assert_allclose(pieces, whole, rtol=1e-12)

    def test_batch_statistics_that_were_never_counted_are_zero(self) -> None:
        x = normal(2, 3, 4)
        found = top_of("BatchNorm", "", x, stored=(np.ones(3), np.ones(3), [0.0]))
        np.testing.assert_allclose(found, x / np.sqrt(np.float32(1e-5)), rtol=1e-6)


DATA = "layer { name: 'data' type: 'Input' top: 'data' input_param { shape { dim: 2 dim: 3 } } }"


class TestWalk:
    def test_what_was_overwritten_has_the_layers_name_or_blob_at_layer(self) -> None:
        values = run(
            f"{DATA} layer {{ name: 'y' type: 'Power' bottom: 'data' top: 'y' power_param {{ shift: -1 }} }}"
            "layer { name: 'half' type: 'Power' bottom: 'y' top: 'y' power_param { scale: 0.5 } }"
            "layer { name: 'relu' type: 'ReLU' bottom: 'y' top: 'y' }",
            {"data": normal(2, 3)},
        )
        assert set(values) == {"data", "y", "y@y", "half"}
        np.testing.assert_allclose(values["y@y"], values["data"] - 1)
        np.testing.assert_allclose(values["half"], values["y@y"] / 2)
        np.testing.assert_allclose(values["y"], np.maximum(values["half"], 0))

    def test_legacy_shapes_of_weights(self) -> None:
        x, matrix = normal(2, 3), normal(4, 3)
        settings = "bottom: 'data' top: 'ip' inner_product_param { num_output: 4 }"
        text = f"{DATA} layer {{ name: 'ip' type: 'InnerProduct' {settings} }}"
        values = run(text, {"data": x}, {"ip": [matrix.reshape(1, 1, 4, 3), np.ones((1, 1, 1, 4))]})
        np.testing.assert_allclose(values["ip"], x @ matrix.T + 1, rtol=1e-6)

    @pytest.mark.parametrize(
        ("stored", "factor"), [({"b": 3.0}, 3), ({"a": 2.0}, 2), ({"a": 2.0, "b": 3.0}, 3), ({"b": 3.0, "a": 2.0}, 2)]
    )
    def test_shared_weights_are_what_the_last_of_the_files_layers_says(
        self, stored: dict[str, float], factor: float
    ) -> None:
        shared = "type: 'Scale' bottom: 'data' param { name: 'factor' } scale_param { axis: 0 num_axes: 0 }"
        text = f"{DATA} layer {{ name: 'a' top: 'a' {shared} }} layer {{ name: 'b' top: 'b' {shared} }}"
        x = normal(2, 3)
        values = run(text, {"data": x}, {name: [np.float32(value)] for name, value in stored.items()})
        np.testing.assert_allclose(values["a"], factor * x)
        np.testing.assert_allclose(values["b"], factor * x)

    def test_losses_leave_their_softmax_and_metrics_nothing(self) -> None:
        text = (
            f"{DATA} layer {{ name: 'l' type: 'SoftmaxWithLoss' bottom: 'data' bottom: 'label' top: 'l' top: 'p' }}"
            "layer { name: 'accuracy' type: 'Accuracy' bottom: 'p' bottom: 'label' top: 'accuracy' }"
        )
        values = run(text, {"data": normal(2, 3)})
        assert set(values) == {"data", "p"}
        np.testing.assert_allclose(values["p"].sum(axis=1), 1)

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            ("type: 'Sigmoidal' bottom: 'data' top: 'y'", "'Sigmoidal' (did you mean 'Sigmoid'"),
            ("type: 'Sigmoid' bottom: 'dat' top: 'y'", "expected a blob 'dat' to read, found none"),
            ("type: 'Scale' bottom: 'data' top: 'y'", "expected sizes and weights that fit together"),
            ("type: 'Reshape' bottom: 'data' top: 'y' reshape_param { shape { dim: 7 } }", "bottoms of [(2, 3)]"),
        ],
    )
    def test_what_cannot_be_computed_is_one_line(self, body: str, message: str) -> None:
        with pytest.raises(ConversionError) as caught:
            run(f"{DATA} layer {{ name: 'bad' {body} }}", {"data": normal(2, 3)})
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)

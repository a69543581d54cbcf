"""Single layers against their definitions, where the original's arrays (test_goldens) do not reach."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import numpy as np
import onnx
import pytest
from caffe_networks import Array, declared, input_layer, layer_of, network, normal, run, single, value

from predict_diff.errors import ConversionError, NetworkError
from predict_diff.network.gradient import gradient_model

X = normal(2, 3, 4, 5)


def valid(model: onnx.ModelProto) -> onnx.ModelProto:
    onnx.checker.check_model(model, full_check=True)
    return model


def gradient_of(model: onnx.ModelProto, x: Array) -> Array:
    """Of the sum of the blob y."""
    backward = gradient_model(model, "y")
    return run(backward, {"data": x, "upstream/y": np.ones_like(value(model, x))})["gradient/data"]


def pooled(
    x: Array, kernel: Sequence[int], stride: Sequence[int], pad: Sequence[int], average: bool
) -> tuple[Array, Array]:
    """Caffe's pooling, window by window: values, and the places of maxima in their plane."""
    sizes = []
    for axis in (0, 1):
        count = math.ceil((x.shape[2 + axis] + 2 * pad[axis] - kernel[axis]) / stride[axis]) + 1
        if any(pad) and (count - 1) * stride[axis] >= x.shape[2 + axis] + pad[axis]:
            count -= 1
        sizes.append(count)
    height, width = x.shape[2:]
    values = np.full((*x.shape[:2], *sizes), np.nan if average else -np.finfo(np.float32).max, np.float32)
    mask = np.full(values.shape, -1, np.float32)
    for row, column in product(*map(range, sizes)):
        tops = row * stride[0] - pad[0], column * stride[1] - pad[1]
        ends = min(tops[0] + kernel[0], height + pad[0]), min(tops[1] + kernel[1], width + pad[1])
        area = (ends[0] - tops[0]) * (ends[1] - tops[1])
        rows, columns = range(max(tops[0], 0), min(ends[0], height)), range(max(tops[1], 0), min(ends[1], width))
        if not average and (not rows or not columns):
            continue
        window = x[:, :, rows.start : rows.stop, columns.start : columns.stop]
        flat = window.reshape(*x.shape[:2], -1)
        if average:
            with np.errstate(invalid="ignore"):
                values[:, :, row, column] = flat.sum(-1) / area  # 0 / 0 where a window starts at the edge.
        else:
            values[:, :, row, column] = flat.max(-1)
            first = flat.argmax(-1)
            mask[:, :, row, column] = (
                (rows.start + first // len(columns)) * width + columns.start + first % len(columns)
            )
    return values, mask


@pytest.mark.parametrize("average", [False, True])
def test_pooling_of_any_geometry(average: bool) -> None:
    dice = np.random.default_rng(5)
    empty = 0
    for _ in range(60):
        kernel, stride = dice.integers(1, 4, 2), dice.integers(1, 6, 2)
        pad = [dice.integers(0, side) for side in kernel]
        x = normal(1, 2, *dice.integers(4, 9, 2), seed=int(dice.integers(1000)))
        settings = " ".join(
            f"{name}_h: {pair[0]} {name}_w: {pair[1]}"
            for name, pair in [("kernel", kernel), ("stride", stride), ("pad", pad)]
        )
        tops = ("y",) if average else ("y", "mask")
        model = valid(
            single(
                "Pooling", [x.shape], f"pooling_param {{ {settings} pool: {'AVE' if average else 'MAX'} }}", tops=tops
            )
        )
        found = run(model, {"data": x})
        values, mask = pooled(x, kernel, stride, pad, average)
        empty += int((mask == -1).any() if not average else np.isnan(values).any())
        np.testing.assert_allclose(found["y"], values, rtol=1e-6, atol=1e-6)
        if not average:
            np.testing.assert_array_equal(found["mask"], mask)
    assert empty > 5


@pytest.mark.parametrize(("pool", "levels"), [("AVE", 1), ("MAX", 1), ("AVE", 3), ("MAX", 2)])
def test_spatial_pyramid(pool: str, levels: int) -> None:
    x = normal(2, 3, 9, 10)
    parts = []
    for bins in (2**level for level in range(levels)):
        kernel = [math.ceil(size / bins) for size in (9, 10)]
        pad = [(side * bins - size + 1) // 2 for side, size in zip(kernel, (9, 10), strict=True)]
        parts.append(pooled(x, kernel, kernel, pad, pool == "AVE")[0])
    expected = parts[0] if levels == 1 else np.concatenate([part.reshape(2, -1) for part in parts], axis=1)
    model = valid(single("SPP", [x.shape], f"spp_param {{ pool: {pool} pyramid_height: {levels} }}"))
    np.testing.assert_allclose(value(model, x), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "settings",
    [
        "kernel_size: 3 stride_h: 2",
        "kernel_size: 3 kernel_h: 2 kernel_w: 2",
        "kernel_h: 2",
        "kernel_size: 3 pad: 3",
        "kernel_size: 0",
        "global_pooling: true kernel_size: 2",
        "global_pooling: true stride: 2",
        "global_pooling: true pad: 1",
        "kernel_size: 9",
        "kernel_size: 2 pool: STOCHASTIC",
    ],
)
def test_pooling_that_caffe_would_refuse_is_refused(settings: str) -> None:
    with pytest.raises(ConversionError, match=r"net.prototxt:2: layer 'layer' \(Pooling\): .*expected"):
        single("Pooling", [X.shape], f"pooling_param {{ {settings} }}")


@pytest.mark.parametrize(
    ("settings", "definition"),
    [
        ('type: "AbsVal"', np.abs),
        ('type: "BNLL"', lambda x: np.log1p(np.exp(x))),
        ('type: "TanH"', np.tanh),
        ('type: "ReLU6"', lambda x: np.clip(x, 0, 6)),
        ('type: "Swish"', lambda x: x / (1 + np.exp(-x))),
        ('type: "ELU" elu_param { alpha: 2 }', lambda x: np.where(x > 0, x, 2 * np.expm1(x))),
        ('type: "Exp" exp_param { base: 10 scale: 0.5 shift: -1 }', lambda x: 10 ** (0.5 * x - 1)),
        ('type: "Power" power_param { power: 2 scale: 3 shift: -1 }', lambda x: (3 * x - 1) ** 2),
        ('type: "Threshold" threshold_param { threshold: 1 }', lambda x: (x > 1).astype(float)),
        (
            'type: "Reduction" reduction_param { operation: ASUM axis: 1 coeff: 2 }',
            lambda x: 2 * np.abs(x).sum((1, 2, 3)),
        ),
        ('type: "Reduction" reduction_param { operation: MEAN axis: -1 }', lambda x: x.mean(-1)),
        ('type: "Tile" tile_param { axis: 1 tiles: 3 }', lambda x: np.concatenate([x] * 3, axis=1)),
        ('type: "Tile" tile_param { axis: 0 tiles: 2 }', lambda x: np.concatenate([x] * 2, axis=0)),
        ('type: "Tile" tile_param { axis: -1 tiles: 1 }', lambda x: x),
        ('type: "Flatten" flatten_param { axis: 1 end_axis: 0 }', lambda x: x[:, None]),
        ('type: "Flatten" flatten_param { axis: 0 end_axis: 1 }', lambda x: x.reshape(-1, 4, 5)),
    ],
)
def test_layers_without_weights(settings: str, definition: type[np.ufunc]) -> None:
    model = network(input_layer("data", (2, 3, 4, 5)) + f'layer {{ name: "layer" bottom: "data" top: "y" {settings} }}')
    for x in (4 * X, 4 * normal(5, 3, 4, 5)):
        np.testing.assert_allclose(value(valid(model), x), definition(np.float64(x)), rtol=1e-5, atol=1e-6)


def test_threshold_is_not_reached_by_the_threshold_itself() -> None:
    model = single("Threshold", [(1, 3)], "threshold_param { threshold: 0.5 }")
    np.testing.assert_array_equal(value(model, [[0.4, 0.5, 0.6]]), [[0, 0, 1]])


@pytest.mark.parametrize(
    ("settings", "constant"), [("power: 0", 1), ("power: 0 shift: 0 scale: 0", 1), ("power: 3 scale: 0 shift: 2", 8)]
)
def test_power_of_0_and_scale_of_0_do_not_look_at_the_input(settings: str, constant: float) -> None:
    model = valid(single("Power", [(1, 3)], f"power_param {{ {settings} }}"))
    x = np.array([[0, np.nan, np.inf], [1, 2, 3]], np.float32)
    np.testing.assert_array_equal(value(model, x), np.full((2, 3), constant))
    np.testing.assert_array_equal(gradient_of(model, x), np.zeros((2, 3)))


@pytest.mark.parametrize("settings", ["log_param { base: 1 }", "log_param { base: 0 }", "log_param { base: -2 }"])
def test_logarithms_need_a_base(settings: str) -> None:
    with pytest.raises(ConversionError, match="expected a base"):
        single("Log", [(1, 3)], settings)


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4, 5), (1, 3, 2, 2, 2)])
@pytest.mark.parametrize("shared", [False, True])
def test_prelu_has_a_slope_for_each_channel_or_one_for_all(shape: tuple[int, ...], shared: bool) -> None:
    slopes = np.float32(0.3) if shared else np.array([0.1, -0.5, 2], np.float32)
    settings = f"prelu_param {{ channel_shared: {str(shared).lower()} }}"
    x = normal(*shape)
    spread = slopes.reshape(-1, *[1] * (len(shape) - 2))
    expected = np.maximum(x, 0) + spread * np.minimum(x, 0)
    model = valid(single("PReLU", [shape], settings, [slopes]))
    np.testing.assert_allclose(value(model, x), expected, rtol=1e-6)
    np.testing.assert_allclose(gradient_of(model, x), np.where(x > 0, 1, np.broadcast_to(spread, shape)), rtol=1e-6)


@pytest.mark.parametrize(
    ("bottom", "sizes", "where", "top"),
    [
        ((2, 8), [0, 2, 2, 2], "", (2, 2, 2, 2)),
        ((2, 8), [0, 4, -1], "", (2, 4, 2)),
        ((2, 8), [-1], "", (16,)),
        ((2, 8), [-1, 4], "", (4, 4)),
        ((2, 8), [2, 2, 4], "", (2, 2, 4)),
        ((2, 8), [0, 0, 1, 1], "num_axes: 2", (2, 8, 1, 1)),
        ((2, 8, 1, 1), [0, 0], "", (2, 8)),
        ((2, 8), [2, 2, 2], "axis: 1", (2, 2, 2, 2)),
        ((2, 8), [1], "axis: 1 num_axes: 0", (2, 1, 8)),
        ((2, 8), [1], "axis: -1 num_axes: 0", (2, 8, 1)),
        ((2, 8), [1, 1], "axis: -2 num_axes: 0", (2, 1, 1, 8)),
        ((2, 8), [4, -1], "axis: -2", (2, 4, 2)),
        ((2, 3, 4), [0, 12], "axis: 0 num_axes: 3", (2, 12)),
        ((2, 3, 4), [-1, 0], "axis: 1 num_axes: 2", (2, 3, 4)),
        ((2, 3, 4), [6], "axis: 1 num_axes: 1", None),
        ((2, 8), [-1, -1], "", None),
        ((2, 8), [3, -1], "", None),
        ((2, 8), [-3, 4], "", None),
        ((2, 8), [16, 2], "", None),
        ((2, 8), [2, 8], "axis: 3", None),
        ((2, 8), [2, 8], "axis: -4", None),
        ((2, 8), [2, 8], "axis: 1 num_axes: 2", None),
    ],
)
def test_reshape(bottom: tuple[int, ...], sizes: list[int], where: str, top: tuple[int, ...] | None) -> None:
    shape = " ".join(f"dim: {size}" for size in sizes)
    settings = f"reshape_param {{ {where} shape {{ {shape} }} }}"
    if top is None:
        with pytest.raises(ConversionError, match=r"layer 'layer' \(Reshape\): expected"):
            single("Reshape", [bottom], settings)
        return
    x = normal(*bottom)
    np.testing.assert_array_equal(value(valid(single("Reshape", [bottom], settings)), x), x.reshape(top))


@pytest.mark.parametrize(
    ("sizes", "top"),
    [
        ("dim: 2 dim: 12", ("N", 12)),
        ("dim: 2 dim: -1", ("N", 12)),
        ("dim: 2 dim: 3 dim: 4", ("N", 3, 4)),
        ("dim: 1 dim: 2 dim: 4 dim: -1", (1, "N", 4, 3)),
    ],
)
def test_reshape_to_a_stated_batch_takes_other_batches_too(sizes: str, top: tuple[int | str, ...]) -> None:
    model = valid(single("Reshape", [(2, 3, 4)], f"reshape_param {{ shape {{ {sizes} }} }}"))
    assert declared(model)["y"] == top
    x = normal(5, 3, 4)
    np.testing.assert_array_equal(value(model, x), x.reshape([5 if size == "N" else size for size in top]))


def test_reshape_that_mixes_photos_needs_the_batch_to_be_open() -> None:
    with pytest.raises(ConversionError, match=r"found 12 x 2; write 0 where the batch is"):
        single("Reshape", [(2, 3, 4)], "reshape_param { shape { dim: 12 dim: 2 } }")


@pytest.mark.parametrize(
    ("settings", "cut"),
    [
        ("", np.s_[:, :, :2, :3]),
        ("offset: 1", np.s_[:, :, 1:3, 1:4]),
        ("axis: 2 offset: 1 offset: 2", np.s_[:, :, 1:3, 2:5]),
        ("axis: -1 offset: 2", np.s_[:, :, :, 2:5]),
        ("axis: 1 offset: 1 offset: 0 offset: 1", np.s_[:, 1:3, 0:2, 1:4]),
    ],
)
def test_crop_takes_the_size_of_its_second_bottom(settings: str, cut: tuple[slice, ...]) -> None:
    text = input_layer("data", X.shape) + input_layer("other", (2, 2, 2, 3))
    text += layer_of("Crop", f"crop_param {{ {settings} }}", ["data", "other"])
    model = valid(network(text))
    assert [info.name for info in model.graph.input] == ["data"]  # Of the other, only the size counts.
    np.testing.assert_array_equal(value(model, X), X[cut])
    expected = np.zeros_like(X)
    expected[cut] = 1
    np.testing.assert_array_equal(gradient_of(model, X), expected)


@pytest.mark.parametrize(
    "settings",
    ["offset: 3", "axis: 2 offset: 1 offset: 3", "offset: 1 offset: 1 offset: 1", "axis: 0 offset: 1", "axis: 4"],
)
def test_crops_beyond_the_blob_are_refused(settings: str) -> None:
    text = input_layer("data", X.shape) + input_layer("other", (2, 3, 2, 3))
    with pytest.raises(ConversionError, match=r"layer 'layer' \(Crop\): .*expected"):
        network(text + layer_of("Crop", f"crop_param {{ {settings} }}", ["data", "other"]))


def test_the_batch_can_be_cut_at_points() -> None:
    model = valid(
        single("Slice", [(4, 3)], "slice_param { axis: 0 slice_point: 1 slice_point: 2 }", tops=["a", "b", "y"])
    )
    x = normal(6, 3)
    found = run(model, {"data": x})
    for name, part in (("a", x[:1]), ("b", x[1:2]), ("y", x[2:])):
        np.testing.assert_array_equal(found[name], part)


@pytest.mark.parametrize(
    ("settings", "tops"),
    [
        ("axis: 1 slice_point: 2", ["a", "b", "c"]),
        ("axis: 1 slice_point: 2 slice_point: 2", ["a", "b", "c"]),
        ("axis: 1 slice_point: 2 slice_point: 3", ["a", "b", "c"]),
        ("axis: 1", ["a", "b"]),
        ("axis: 1 slice_dim: 1", ["a", "b", "c"]),
        ("slice_dim: 4294967295", ["a"]),
        ("axis: 0 slice_point: 2", ["a", "b"]),
        ("axis: 0", ["a", "b", "c"]),
    ],
)
def test_slices_that_do_not_fit_are_refused(settings: str, tops: list[str]) -> None:
    with pytest.raises(ConversionError, match=r"layer 'layer' \(Slice\): .*expected"):
        single("Slice", [(2, 3, 4)], f"slice_param {{ {settings} }}", tops=tops)


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 2), (4, 3, 2, 2), (4, 3, 2, 2, 2)])
@pytest.mark.parametrize(("count", "values"), [(1, False), (3, False), (1, True), (3, True)])
def test_argmax_puts_the_highest_index_of_equal_numbers_first(shape: tuple[int, ...], count: int, values: bool) -> None:
    x = np.random.default_rng(1).integers(0, 3, shape).astype(np.float32)
    found = value(
        valid(single("ArgMax", [shape], f"argmax_param {{ top_k: {count} out_max_val: {str(values).lower()} }}")), x
    )
    flat = x.reshape(4, -1)
    places = np.array([sorted(range(len(row)), key=lambda place: (-row[place], -place))[:count] for row in flat])
    rows = [places, np.take_along_axis(flat, places, 1)][: 1 + values]
    np.testing.assert_array_equal(found, np.stack(rows, 1).reshape(4, 1 + values, count, *[1] * (len(shape) - 3)))


@pytest.mark.parametrize("axis", [1, 2, -1])
@pytest.mark.parametrize("values", [False, True])
def test_argmax_along_an_axis(axis: int, values: bool) -> None:
    x = np.random.default_rng(2).integers(0, 3, (2, 3, 4, 5)).astype(np.float32)
    settings = f"argmax_param {{ axis: {axis} top_k: 2 out_max_val: {str(values).lower()} }}"
    found = value(valid(single("ArgMax", [x.shape], settings)), x)
    size = x.shape[axis]
    # Equal numbers are told apart by their index, which is far smaller than their distance.
    ranks = np.moveaxis(np.moveaxis(x, axis, -1) + np.arange(size) / (2 * size), -1, axis)
    places = np.flip(np.argsort(ranks, axis=axis), axis).take(range(2), axis)
    np.testing.assert_array_equal(found, np.take_along_axis(x, places, axis) if values else places)


@pytest.mark.parametrize(
    ("kind", "weights"), [("ArgMax", []), ("Threshold", []), ("Embed", [np.ones((9, 2)), np.ones(2)])]
)
def test_layers_without_a_gradient_say_so(kind: str, weights: list[Array]) -> None:
    settings = "embed_param { input_dim: 9 num_output: 2 }" if kind == "Embed" else ""
    with pytest.raises(NetworkError, match="has no gradient"):
        gradient_model(single(kind, [(2, 3)], settings, weights), "y")


@pytest.mark.parametrize("top_k", [0, 4])
def test_argmax_needs_as_many_numbers_as_it_shall_find(top_k: int) -> None:
    with pytest.raises(ConversionError, match="top_k: expected 1 to 3"):
        single("ArgMax", [(2, 3)], f"argmax_param {{ top_k: {top_k} }}")


@pytest.mark.parametrize("bias", [False, True])
def test_embed_reads_rows_of_a_table(bias: bool) -> None:
    table, shift = normal(7, 3), normal(3, seed=1)
    settings = f"embed_param {{ input_dim: 7 num_output: 3 bias_term: {str(bias).lower()} }}"
    model = valid(single("Embed", [(2, 4)], settings, [table, shift][: 1 + bias]))
    index = np.array([[0, 6, 3, 3], [1, 2, 5, 4]])
    np.testing.assert_array_equal(value(model, index), table[index] + (shift if bias else 0))


def test_a_parameter_may_be_an_output_and_one_number() -> None:
    text = input_layer("data", (2, 3)) + layer_of("Sigmoid")
    text += 'layer { name: "p" type: "Parameter" top: "p" parameter_param { shape { } } }'
    found = run(valid(network(text, {"p": [2.5]})), {"data": normal(2, 3)})
    assert found["p"].shape == ()
    assert found["p"] == 2.5


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4), (2, 3, 4, 5)])
@pytest.mark.parametrize("across", [False, True])
def test_mvn_gives_four_axes(shape: tuple[int, ...], across: bool) -> None:
    x = normal(*shape) + 3
    full = np.float64(x).reshape(*shape, *[1] * (4 - len(shape)))
    axes = (1, 2, 3) if across else (2, 3)
    expected = (full - full.mean(axes, keepdims=True)) / (full.std(axes, keepdims=True) + 0.01)
    model = valid(single("MVN", [shape], f"mvn_param {{ across_channels: {str(across).lower()} eps: 0.01 }}"))
    np.testing.assert_allclose(value(model, x), expected, atol=1e-5)


def test_mvn_of_a_constant_plane_has_a_finite_gradient() -> None:
    model = single("MVN", [(1, 1, 2, 2)], "mvn_param { eps: 0.5 }")
    x = np.full((1, 1, 2, 2), 3, np.float32)
    np.testing.assert_array_equal(value(model, x), np.zeros_like(x))
    backward = gradient_model(model, "y")
    diff = np.array([[[[1, 0], [0, 0]]]], np.float32)
    found = run(backward, {"data": x, "upstream/y": diff})["gradient/data"]
    np.testing.assert_allclose(found, (diff - 0.25) / 0.5)


def test_batch_norm_whose_factor_is_0_has_mean_and_variance_0() -> None:
    model = single("BatchNorm", [X.shape], "batch_norm_param { eps: 0.25 }", [np.ones(3), np.ones(3), np.zeros(1)])
    np.testing.assert_allclose(value(valid(model), X), X / 0.5, rtol=1e-6)


def test_eltwise_ignores_coefficients_of_max_and_refuses_those_of_prod() -> None:
    settings = "eltwise_param { operation: %s coeff: 2 coeff: 3 }"
    other = normal(*X.shape, seed=1)
    np.testing.assert_array_equal(
        value(single("Eltwise", [X.shape] * 2, settings % "MAX"), X, other), np.maximum(X, other)
    )
    with pytest.raises(ConversionError, match="expected coeff with SUM only"):
        single("Eltwise", [X.shape] * 2, settings % "PROD")


def test_scale_and_bias_take_their_operand_from_a_second_bottom() -> None:
    factor, shift = normal(2, 3, seed=1), normal(3, seed=2)
    model = valid(single("Scale", [X.shape, (2, 3)], "scale_param { axis: 0 }"))
    np.testing.assert_allclose(value(model, X, factor), X * factor[:, :, None, None])
    model = valid(single("Scale", [X.shape, (3,)], "scale_param { bias_term: true }", [shift]))
    expected = X * factor[0, :, None, None] + shift[:, None, None]
    np.testing.assert_allclose(value(model, X, factor[0]), expected, atol=1e-6)


def test_a_second_bottom_of_another_size_is_refused() -> None:
    found = "of blob 'data' of shape N x 3 x 4 x 5 from axis 1 on, found blob 'data1' of shape 7"
    with pytest.raises(ConversionError, match=found):
        single("Bias", [X.shape, (7,)])


def test_one_convolution_over_several_bottoms_shares_its_weights() -> None:
    weights, other = normal(2, 3, 1, 1), normal(*X.shape, seed=1)
    settings = "convolution_param { num_output: 2 kernel_size: 1 bias_term: false }"
    model = valid(single("Convolution", [X.shape] * 2, settings, [weights], tops=["a", "b"]))
    found = run(model, {"data": X, "data1": other})
    for name, x in (("a", X), ("b", other)):
        np.testing.assert_allclose(found[name], np.einsum("nchw,oc->nohw", x, weights[:, :, 0, 0]), atol=1e-5)
    assert sum(tensor.data_type == onnx.TensorProto.FLOAT for tensor in model.graph.initializer) == 1
    with pytest.raises(ConversionError, match="expected bottoms of one shape"):
        single("Convolution", [X.shape, (2, 3, 5, 5)], settings, [weights], tops=["a", "b"])


def test_depthwise_convolution_is_a_convolution_in_groups() -> None:
    weights = normal(3, 1, 3, 3)
    settings = "convolution_param { num_output: 3 kernel_size: 3 group: 3 bias_term: false }"
    fork, stock = (
        value(single(kind, [X.shape], settings, [weights]), X) for kind in ("DepthwiseConvolution", "Convolution")
    )
    np.testing.assert_array_equal(fork, stock)


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 1, 1)])
def test_axpy_scales_channels_and_adds(shape: tuple[int, ...]) -> None:
    factor, y = normal(*shape, seed=1), normal(*X.shape, seed=2)
    model = valid(single("Axpy", [shape, X.shape, X.shape]))
    np.testing.assert_allclose(value(model, factor, X, y), factor.reshape(2, 3, 1, 1) * X + y, rtol=1e-5)


@pytest.mark.parametrize(
    ("kind", "settings", "shape"),
    [
        ("MemoryData", "memory_data_param { batch_size: 2 channels: 3 height: 4 width: 5 }", (3, 4, 5)),
        ("ImageData", "image_data_param { batch_size: 2 new_height: 4 new_width: 5 }", (3, 4, 5)),
        ("ImageData", "transform_param { crop_size: 4 } image_data_param { batch_size: 2 is_color: false }", (1, 4, 4)),
        ("DummyData", "dummy_data_param { num: 2 channels: 3 height: 4 width: 5 }", (3, 4, 5)),
        ("DummyData", "dummy_data_param { shape { dim: 2 dim: 7 } }", (7,)),
        ("Input", "input_param { shape { dim: 2 dim: 7 } }", (7,)),
    ],
)
def test_layers_that_know_the_size_of_their_data_become_inputs(
    kind: str, settings: str, shape: tuple[int, ...]
) -> None:
    text = f'layer {{ name: "d" type: "{kind}" top: "data" top: "label" {settings} }}'
    model = valid(network(text + layer_of("Sigmoid") + 'layer { name: "s" type: "Silence" bottom: "label" }'))
    assert {info.name: declared(model)[info.name] for info in model.graph.input} == {"data": ("N", *shape)}


@pytest.mark.parametrize("kind", ["Data", "HDF5Data", "WindowData", "ImageData"])
def test_layers_that_do_not_know_the_size_of_their_data_are_refused_with_advice(kind: str) -> None:
    with pytest.raises(ConversionError, match=r"net.prototxt:1: layer 'd' .* convert the network's deploy.prototxt"):
        network(f'layer {{ name: "d" type: "{kind}" top: "data" top: "label" }}' + layer_of("Sigmoid"))


LOSSES = [
    "Accuracy",
    "EuclideanLoss",
    "HingeLoss",
    "MultinomialLogisticLoss",
    "SigmoidCrossEntropyLoss",
    "SoftmaxWithLoss",
]


@pytest.mark.parametrize("kind", [*LOSSES, "InfogainLoss", "ContrastiveLoss", "HDF5Output"])
@pytest.mark.parametrize("labelled", [False, True])
def test_losses_are_left_out_and_labels_with_them(kind: str, labelled: bool) -> None:
    text = input_layer("data", (2, 3)) + (input_layer("label", (2,)) if labelled else "")
    text += layer_of("Sigmoid") + f'layer {{ name: "loss" type: "{kind}" bottom: "y" bottom: "label" top: "loss" }}'
    model = valid(network(text))
    assert [info.name for info in model.graph.input] == ["data"]
    assert [info.name for info in model.graph.output] == ["y"]


@pytest.mark.parametrize("kind", ["SoftmaxWithLoss", "InfogainLoss"])
def test_a_loss_puts_its_probabilities_out_as_a_second_top(kind: str) -> None:
    text = input_layer("data", (2, 3)) + layer_of(kind, bottoms=["data", "label"], tops=["loss", "y"])
    found = value(valid(network(text)), X[:, :, 0, 0])
    exponentials = np.exp(X[:, :, 0, 0])
    np.testing.assert_allclose(found, exponentials / exponentials.sum(1, keepdims=True), rtol=1e-5)

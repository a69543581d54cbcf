"""Average pooling windows that meet nothing of the image, down to the sign of zero, against Caffe's loop."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import onnx
import pytest
from caffe_networks import normal, run, single, value
from numpy.typing import NDArray

from predict_diff.network.gradient import gradient_model


def averaged(x: NDArray[Any], kernel: tuple[int, int], stride: tuple[int, int]) -> NDArray[np.float32]:
    """Caffe: pooling_layer, AVE, without padding, for one plane; in the order and precision of its loop."""
    height, width = x.shape
    rows, columns = (
        math.ceil((size - side) / step) + 1 for size, side, step in zip(x.shape, kernel, stride, strict=True)
    )
    y = np.zeros((rows, columns), np.float32)
    for ph, pw in product(range(rows), range(columns)):
        hstart, wstart = ph * stride[0], pw * stride[1]
        hend, wend = min(hstart + kernel[0], height), min(wstart + kernel[1], width)
        pool_size = (hend - hstart) * (wend - wstart)
        for h, w in product(range(hstart, min(hend, height)), range(wstart, min(wend, width))):
            y[ph, pw] += x[h, w]
        with np.errstate(invalid="ignore"):
            y[ph, pw] /= np.float32(pool_size)
    return y


def pooling(size: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int]) -> onnx.ModelProto:
    sides = f"kernel_h: {kernel[0]} kernel_w: {kernel[1]} stride_h: {stride[0]} stride_w: {stride[1]}"
    return single("Pooling", [(1, 1, *size)], f"pooling_param {{ pool: AVE {sides} }}")


# Along an axis: none is empty, the last starts right behind the image, one pixel beyond it, further beyond.
AXES = [(7, 2, 2), (6, 3, 3), (8, 1, 4), (6, 2, 3), (9, 1, 5), (7, 1, 4), (9, 2, 6), (5, 1, 7), (3, 2, 5), (4, 3, 7)]


@pytest.mark.parametrize("rows", AXES)
@pytest.mark.parametrize("columns", AXES)
def test_an_empty_window_is_0_divided_by_what_caffe_takes_for_its_area(
    rows: tuple[int, int, int], columns: tuple[int, int, int]
) -> None:
    size, kernel, stride = zip(rows, columns, strict=True)
    x = np.abs(normal(*size)) + 1
    found, expected = value(pooling(size, kernel, stride), x[None, None])[0, 0], averaged(x, kernel, stride)
    np.testing.assert_allclose(found, expected, rtol=1e-6)  # NaN where NaN is expected.
    zeros = expected == 0
    np.testing.assert_array_equal(np.signbit(found[zeros]), np.signbit(expected[zeros]))


def test_the_axes_tried_have_all_kinds_of_empty_windows() -> None:
    ends = {-(-(size - kernel) // stride) * stride - size for size, kernel, stride in AXES}
    assert {0, 1, 2} <= ends
    assert min(ends) < 0


def test_empty_windows_have_no_part_in_the_gradient() -> None:
    model = pooling((9, 8), (1, 1), (5, 4))
    gradient = run(gradient_model(model, "y"), {"data": normal(1, 1, 9, 8), "upstream/y": np.ones((1, 1, 3, 3))})
    expected = np.zeros((1, 1, 9, 8))
    expected[:, :, ::5, ::4] = 1
    np.testing.assert_array_equal(gradient["gradient/data"], expected)

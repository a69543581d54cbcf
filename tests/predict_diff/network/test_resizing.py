"""Interpolation sends back what it took: its gradient is its transpose."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from gradient_cases import gradient, network, normal, run

from predict_diff.errors import NetworkError
from predict_diff.network.gradient import gradient_model

MODES = [
    (mode, place)
    for mode in ("nearest", "linear", "cubic")
    for place in ("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel")
]


@pytest.mark.parametrize("opset", [13, 19])
@pytest.mark.parametrize(("mode", "place"), MODES)
def test_gradient_is_the_transpose(mode: str, place: str, opset: int) -> None:
    given = [{"scales": np.float32([1, 1, *pair])} for pair in ((2, 2), (0.5, 1.7), (1, 1.3))]
    given += [{"sizes": np.array([2, 3, *pair])} for pair in ((9, 12), (4, 3), (5, 7), (1, 14))]
    for weights in given:
        arguments = "x, , scales" if "scales" in weights else "x, , , sizes"
        body = f'y = Resize<mode="{mode}", coordinate_transformation_mode="{place}">({arguments})'
        model = network(body, "float[N,3,5,7] x", weights=weights, opset=opset)
        x, v = normal(2, 3, 5, 7), normal(2, 3, 5, 7, seed=1)
        moved = run(model, {"x": v})["y"].astype(np.float64)
        upstream = normal(*moved.shape, seed=2)
        found = gradient(model, x, upstream).astype(np.float64)
        assert abs((upstream * moved).sum() - (found * v).sum()) < 1e-6 * np.linalg.norm(found) * np.linalg.norm(v)


def test_pixels_that_were_repeated_receive_the_sum() -> None:
    model = network('y = Resize<mode="nearest">(x, , s)', "float[N,1,2,2] x", weights={"s": np.float32([1, 1, 2, 3])})
    upstream = normal(1, 1, 4, 6)
    expected = upstream.reshape(1, 1, 2, 2, 2, 3).sum((3, 5))
    np.testing.assert_allclose(gradient(model, normal(1, 1, 2, 2), upstream), expected, atol=1e-6)


@pytest.mark.parametrize(("axes", "antialias"), list(itertools.product(([2, 3], [3, 2], [-1, -2]), (0, 1))))
def test_axes_may_be_named_in_any_order(axes: list[int], antialias: int) -> None:
    size = {2: 3, 3: 9}
    weights = {"sizes": [size[axis % 4] for axis in axes]}
    body = f'y = Resize<mode="linear", antialias={antialias}, axes={axes}>(x, , , sizes)'.replace("'", "")
    model = network(body, "float[N,2,5,6] x", weights=weights)
    named = network(
        f'y = Resize<mode="linear", antialias={antialias}>(x, , , sizes)',
        "float[2,2,5,6] x",
        weights={"sizes": [2, 2, 3, 9]},
    )
    x, upstream = normal(2, 2, 5, 6), normal(2, 2, 3, 9)
    np.testing.assert_array_equal(gradient(model, x, upstream), gradient(named, x, upstream))


def test_other_axes_keep_their_size() -> None:
    model = network('y = Resize<mode="nearest", axes=[3]>(x, , s)', "float[N,1,2,2] x", weights={"s": np.float32([3])})
    upstream = normal(1, 1, 2, 6)
    expected = upstream.reshape(1, 1, 2, 2, 3).sum(4)
    np.testing.assert_allclose(gradient(model, normal(1, 1, 2, 2), upstream), expected, atol=1e-6)


def test_sizes_may_be_computed() -> None:
    body = """
        pool = AveragePool<kernel_shape=[2,2], strides=[2,2]>(x)
        sizes = Shape(x)
        back = Resize<mode="linear">(pool, , , sizes)
        y = Mul(back, x)
    """
    model = network(body, "float[N,2,4,6] x")
    x, v, upstream = normal(1, 2, 4, 6), normal(1, 2, 4, 6, seed=1), normal(1, 2, 4, 6, seed=2)
    # Quadratic in x: central differences are exact.
    ahead, behind = (run(model, {"x": x + sign * v})["y"].astype(np.float64) for sign in (1, -1))
    assert (gradient(model, x, upstream) * v).sum() == pytest.approx(((ahead - behind) / 2 * upstream).sum(), rel=1e-5)


@pytest.mark.parametrize(
    ("body", "weights", "message"),
    [
        (
            'y = Resize<coordinate_transformation_mode="tf_crop_and_resize">(x, roi, s)',
            {"roi": np.zeros(8, np.float32), "s": np.float32([1, 1, 2, 2])},
            "tf_crop_and_resize",
        ),
        (
            'y = Resize<keep_aspect_ratio_policy="not_larger", axes=[2,3]>(x, , , s)',
            {"s": [9, 9]},
            "keep_aspect_ratio_policy",
        ),
        ("y = Resize(x, , s)", {"s": np.float32([1, 2, 2, 2])}, "only rows and columns"),
    ],
)
def test_other_forms_say_what_was_expected(body: str, weights: dict, message: str) -> None:
    with pytest.raises(NetworkError, match=f"operator Resize of .y.: cannot be differentiated: .*{message}"):
        gradient_model(network(body, "float[N,2,3,4] x", weights=weights), "y")

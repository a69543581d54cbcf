"""Normalisation by the photo's own statistics, against differences of its definition in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from gradient_cases import Array, gradient, network, normal, run

from predict_diff.errors import NetworkError
from predict_diff.network.gradient import gradient_model

PHOTO = (4, 3, 5)
INPUTS = "float[N,4,3,5] x"
EPSILON = 0.01


def standardised(x: Array, axes: tuple[int, ...], centre: bool = True) -> Array:
    """Of mean 0 and variance 1 along some axes; without the mean, of mean square 1."""
    centred = x - x.mean(axes, keepdims=True) if centre else x
    return centred / np.sqrt((centred**2).mean(axes, keepdims=True) + EPSILON)


def layer(x: Array, axes: tuple[int, ...], scale: Array, shift: Array, centre: bool = True) -> Array:
    return standardised(x, axes, centre) * scale + shift


def groups(x: Array, number: int, scale: Array, shift: Array) -> Array:
    """Normalised in groups of channels; scale and shift for each channel."""
    normal = standardised(x.reshape(len(x), number, -1), (2,)).reshape(x.shape)
    return normal * scale[:, None, None] + shift[:, None, None]


def differences(function: Callable[[Array], Array], x: Array, upstream: Array) -> Array:
    """Gradient of <upstream, function(x)>, by central differences in float64."""
    moves = 1e-6 * np.eye(x.size).reshape(x.size, *x.shape)
    sides = [[(function(x + sign * move) * upstream).sum() for move in moves] for sign in (1, -1)]
    return ((np.array(sides[0]) - sides[1]) / 2e-6).reshape(x.shape)


# The operator, its weights, the oldest opset that has it, and its definition.
LAST, LATER, CHANNELS = (normal(*shape) for shape in ((5,), (3, 5), (4,)))
CASES = {
    "LayerNormalization": (
        "LayerNormalization<epsilon=0.01>(x, s, b)",
        {"s": LAST, "b": LAST + 1},
        17,
        lambda x: layer(x, (-1,), LAST, LAST + 1),
    ),
    "LayerNormalization over several axes": (
        "LayerNormalization<axis=2, epsilon=0.01>(x, s, b)",
        {"s": LATER, "b": LATER + 1},
        17,
        lambda x: layer(x, (-2, -1), LATER, LATER + 1),
    ),
    "LayerNormalization without shift, scale repeated": (
        "LayerNormalization<axis=-3, epsilon=0.01>(x, s)",
        {"s": LAST},
        17,
        lambda x: layer(x, (-3, -2, -1), LAST, np.zeros(5)),
    ),
    "RMSNormalization": (
        "RMSNormalization<axis=-2, epsilon=0.01>(x, s)",
        {"s": LATER},
        23,
        lambda x: layer(x, (-2, -1), LATER, np.zeros(5), centre=False),
    ),
    "InstanceNormalization": (
        "InstanceNormalization<epsilon=0.01>(x, s, b)",
        {"s": CHANNELS, "b": CHANNELS + 1},
        13,
        lambda x: groups(x, 4, CHANNELS, CHANNELS + 1),
    ),
    "GroupNormalization": (
        "GroupNormalization<num_groups=2, epsilon=0.01>(x, s, b)",
        {"s": CHANNELS, "b": CHANNELS + 1},
        21,
        lambda x: groups(x, 2, CHANNELS, CHANNELS + 1),
    ),
    "GroupNormalization, one group": (
        "GroupNormalization<num_groups=1, epsilon=0.01>(x, s, b)",
        {"s": CHANNELS, "b": CHANNELS + 1},
        21,
        lambda x: groups(x, 1, CHANNELS, CHANNELS + 1),
    ),
}


@pytest.mark.parametrize("newest", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_rule_agrees_with_differences_of_the_definition(name: str, newest: bool) -> None:
    body, weights, oldest, definition = CASES[name]
    model = network(f"y = {body}", INPUTS, weights=weights, opset=23 if newest else oldest)
    x, upstream = normal(2, *PHOTO) + 0.5, normal(2, *PHOTO, seed=1)
    np.testing.assert_allclose(run(model, {"x": x})["y"], definition(x.astype(np.float64)), atol=1e-5)
    expected = differences(definition, x.astype(np.float64), upstream)
    np.testing.assert_allclose(gradient(model, x, upstream), expected, atol=5e-6)


def test_scale_and_shift_of_a_layer_may_depend_on_the_photo() -> None:
    body = """
        means = ReduceMean<keepdims=0>(x, axes)
        scale = Exp(means)
        y = LayerNormalization<epsilon=0.01>(x, scale, means)
    """
    model = network(body, "float[1,4,3,5] x", weights={"axes": [0, 1, 2]})

    def definition(x: Array) -> Array:
        means = x.mean((0, 1, 2))
        return layer(x, (-1,), np.exp(means), means)

    x, upstream = normal(1, *PHOTO), normal(1, *PHOTO, seed=1)
    expected = differences(definition, x.astype(float), upstream)
    np.testing.assert_allclose(gradient(model, x, upstream), expected, atol=5e-6)


@pytest.mark.parametrize("blobs", [["mean"], ["inverse"], ["y", "mean", "inverse"]])
def test_statistics_that_a_layer_puts_out_have_gradients(blobs: list[str]) -> None:
    body = "y, mean, inverse = LayerNormalization<epsilon=0.01>(x, s)"
    model = network(body, INPUTS, "y, mean, inverse", {"s": LAST})
    x, diffs = (
        normal(2, *PHOTO),
        {"y": normal(2, *PHOTO, seed=1), "mean": normal(2, 4, 3, 1), "inverse": normal(2, 4, 3, 1)},
    )
    definitions: dict[str, Callable[[Array], Array]] = {
        "y": lambda x: layer(x, (-1,), LAST, np.zeros(5)),
        "mean": lambda x: x.mean(-1, keepdims=True),
        "inverse": lambda x: 1 / np.sqrt(x.var(-1, keepdims=True) + EPSILON),
    }
    feeds = {"x": x} | {f"upstream/{blob}": diffs[blob] for blob in blobs}
    expected = sum(differences(definitions[blob], x.astype(float), diffs[blob]) for blob in blobs)
    np.testing.assert_allclose(run(gradient_model(model, blobs), feeds)["gradient/x"], expected, atol=5e-6)


def test_numbers_far_from_zero_keep_their_digits() -> None:
    model = network("y = LayerNormalization<epsilon=0.01>(x, s)", INPUTS, weights={"s": LAST})
    far, upstream = np.round(normal(2, *PHOTO), 2) + np.float32(1024), normal(2, *PHOTO, seed=1)
    expected = differences(lambda x: layer(x, (-1,), LAST, np.zeros(5)), far.astype(float) - 1024, upstream)
    np.testing.assert_allclose(gradient(model, far, upstream), expected, atol=2e-3)


@pytest.mark.parametrize(("kind", "tolerance"), [("float16", 2e-2), ("double", 1e-8)])
@pytest.mark.parametrize("operator", ["LayerNormalization", "InstanceNormalization"])
def test_networks_of_other_precisions_have_gradients_of_theirs(operator: str, kind: str, tolerance: float) -> None:
    dtype = np.dtype(kind)
    scale, shift = (LAST, LAST + 1) if operator.startswith("Layer") else (CHANNELS, CHANNELS + 1)
    weights = {"s": scale.astype(dtype), "b": shift.astype(dtype)}
    model = network(f"y = {operator}<epsilon=0.01>(x, s, b)", INPUTS.replace("float", kind), weights=weights)
    x, upstream = normal(2, *PHOTO).astype(dtype), normal(2, *PHOTO, seed=1).astype(dtype)
    found = gradient(model, x, upstream)
    assert found.dtype == dtype
    expected = differences(
        lambda x: layer(x, (-1,), scale, shift) if operator.startswith("Layer") else groups(x, 4, scale, shift),
        x.astype(np.float64),
        upstream.astype(np.float64),
    )
    np.testing.assert_allclose(found, expected, atol=tolerance)


def test_what_shifts_and_stretches_all_numbers_changes_nothing() -> None:
    model = network("y = LayerNormalization<epsilon=0.0>(x, s)", INPUTS, weights={"s": LAST})
    x = normal(2, *PHOTO)
    found = gradient(model, x, normal(2, *PHOTO, seed=1)).astype(np.float64)
    np.testing.assert_allclose(found.sum(-1), 0, atol=1e-5)
    np.testing.assert_allclose((found * x).sum(-1), 0, atol=1e-5)


def test_factors_of_an_instance_that_depend_on_the_photo_are_refused() -> None:
    body = "m = ReduceMean<keepdims=0>(x, axes)\n y = InstanceNormalization(x, m, b)"
    model = network(body, INPUTS, weights={"axes": [0, 2, 3], "b": CHANNELS})
    with pytest.raises(NetworkError, match=r"InstanceNormalization of 'y'.*expected 'm' not to depend"):
        gradient_model(model, "y")

"""A function as a sampler: anybody's generative model, and what it may do wrong."""

from __future__ import annotations

import doctest
import json
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from predict_diff.errors import SamplerError
from predict_diff.samplers import FunctionSampler, function
from predict_diff.windows import WindowGrid

K = 4


def noisy_copies(
    x: NDArray[np.float32], windows: NDArray[np.int64], count: int, generators: Sequence[np.random.Generator]
) -> NDArray[np.float64]:
    """Each window's own pixels, with noise."""
    patches = [
        x[:, row : row + K, column : column + K] + generator.normal(size=(count, len(x), K, K))
        for (row, column), generator in zip(windows, generators, strict=True)
    ]
    return np.stack(patches)


@pytest.fixture
def windows() -> NDArray[np.int64]:
    return WindowGrid(21, 18, K, stride=3).positions


def test_it_gives_what_the_function_gives_as_float32(photo: NDArray[np.float32], windows: NDArray[np.int64]) -> None:
    samples = FunctionSampler(K, noisy_copies, "copies").sample(photo, windows, 300, seed=1)
    assert samples.dtype == np.float32
    assert samples.shape == (len(windows), 300, 2, K, K)
    own = np.stack([photo[:, r : r + K, c : c + K] for r, c in windows])
    noise = samples - own[:, None]
    assert abs(noise.mean()) < 5 / np.sqrt(noise.size)
    assert abs(noise.std() - 1) < 5 / np.sqrt(2 * noise.size) + 1e-5


def test_samples_do_not_depend_on_how_windows_are_grouped(
    photo: NDArray[np.float32], windows: NDArray[np.int64]
) -> None:
    sampler = FunctionSampler(K, noisy_copies, "copies")
    whole = sampler.sample(photo, windows, 3, seed=2)
    order = np.random.default_rng(0).permutation(len(windows))
    np.testing.assert_array_equal(sampler.sample(photo, windows[order], 3, seed=2), whole[order])
    alone = [sampler.sample(photo, window[None], 3, seed=2)[0] for window in windows]
    np.testing.assert_array_equal(alone, whole)


def test_seed_and_name_choose_the_random_numbers(photo: NDArray[np.float32], windows: NDArray[np.int64]) -> None:
    first = FunctionSampler(K, noisy_copies, "copies").sample(photo, windows, 2, seed=0)
    assert not np.isin(FunctionSampler(K, noisy_copies, "copies").sample(photo, windows, 2, seed=1), first).any()
    assert not np.isin(FunctionSampler(K, noisy_copies, "others").sample(photo, windows, 2, seed=0), first).any()


def test_no_windows_need_no_function(photo: NDArray[np.float32]) -> None:
    sampler = FunctionSampler(K, lambda *_: pytest.fail("called"), "none")
    assert sampler.sample(photo, np.empty((0, 2), np.int64), 3, seed=0).shape == (0, 3, 2, K, K)


def test_its_description_is_json_and_has_the_name() -> None:
    described = FunctionSampler(K, noisy_copies, "vae, epoch 20").describe()
    assert described == {"kind": "function", "k": K, "name": "vae, epoch 20"}
    assert json.loads(json.dumps(described)) == described


def test_the_example_in_the_documentation_runs() -> None:
    results = doctest.testmod(function)
    assert results.attempted >= 8
    assert results.failed == 0


def draw_changing_the_photo(x, windows, count, generators):
    patches = noisy_copies(x, windows, count, generators)
    x[0, 0, 0] += 1
    return patches


def draw_changing_the_windows(x, windows, count, generators):
    patches = noisy_copies(x, windows, count, generators)
    windows += 1
    return patches


def draw_failing(x, windows, count, generators):
    raise RuntimeError("out of\nmemory")


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (
            lambda *a: noisy_copies(*a)[:, :1],
            r"patches of shape \(n, S, C, k, k\) = \(2, 3, 2, 4, 4\).*\(2, 1, 2, 4, 4\)",
        ),
        (lambda *a: None, r"found NoneType of shape \(\)"),
        (lambda *a: [[1.0], [1.0, 2.0]], "found list, of which NumPy can make no array"),
        (lambda *a: noisy_copies(*a) * np.nan, "found NaN or infinity"),
        (lambda *a: noisy_copies(*a) + 1e39, "found NaN or infinity"),
        (lambda *a: noisy_copies(*a).astype(np.uint8), "floating point numbers.*found uint8"),
        (lambda *a: noisy_copies(*a).astype(complex), "floating point numbers.*found complex128"),
        (draw_changing_the_photo, "leave the photo as they were given, found them changed"),
        (draw_changing_the_windows, "leave the windows as they were given, found them changed"),
        (draw_failing, "the function failed: RuntimeError: out of memory"),
    ],
)
def test_a_function_that_gives_or_does_something_else_is_refused_in_one_line(
    draw: function.DrawFunction, message: str, photo: NDArray[np.float32]
) -> None:
    before = photo.copy()
    with (
        np.errstate(invalid="ignore"),
        pytest.raises(SamplerError, match=f"mine: .*{message}") as caught,
    ):
        FunctionSampler(K, draw, "mine").sample(photo, np.array([[0, 0], [3, 5]]), 3, seed=0)
    assert "\n" not in str(caught.value)
    np.testing.assert_array_equal(photo, before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, noisy_copies, "mine"), "k: expected.*found 0"),
        ((K, "vae.pt", "mine"), "function: expected one, found str"),
        ((K, noisy_copies, " "), "name: expected what the function's samples depend on"),
        ((K, noisy_copies, None), "name: expected.*found None"),
    ],
)
def test_impossible_settings_are_refused(arguments: tuple, message: str) -> None:
    with pytest.raises(SamplerError, match=message):
        FunctionSampler(*arguments)

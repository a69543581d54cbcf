"""Fills: what classical occlusion puts into a window, the same for every sample unless it is noise."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from predict_diff.errors import PredictDiffError, SamplerError
from predict_diff.samplers import BlurFill, ConstantFill, InpaintingFill, MeanFill, NoiseFill, Sampler
from predict_diff.windows import WindowGrid

K = 4
FILLS: list[Callable[[], Sampler]] = [
    lambda: ConstantFill(K, 7.0),
    lambda: MeanFill(K),
    lambda: BlurFill(K, 2.0),
    lambda: NoiseFill(K),
    lambda: InpaintingFill(K, 8),
]


@pytest.fixture
def windows() -> NDArray[np.int64]:
    return WindowGrid(21, 18, K, stride=3).positions


def one_by_one(patch_of: Callable[[int, int], NDArray], windows: NDArray[np.int64]) -> NDArray:
    return np.stack([patch_of(row, column) for row, column in windows])


@pytest.mark.parametrize("fill", FILLS)
class TestEveryFill:
    def test_gives_patches_of_the_samplers_shape(
        self, fill: Callable[[], Sampler], photo: NDArray[np.float32], windows: NDArray[np.int64]
    ) -> None:
        samples = fill().sample(photo, windows, 3, seed=0)
        assert samples.shape == (len(windows), 3, 2, K, K)
        assert samples.dtype == np.float32
        assert fill().sample(photo, windows[:0], 3, seed=0).shape == (0, 3, 2, K, K)

    def test_gives_the_same_for_any_grouping_of_windows(
        self, fill: Callable[[], Sampler], photo: NDArray[np.float32], windows: NDArray[np.int64]
    ) -> None:
        whole = fill().sample(photo, windows, 2, seed=3)
        order = np.random.default_rng(0).permutation(len(windows))
        np.testing.assert_array_equal(fill().sample(photo, windows[order], 2, seed=3), whole[order])
        alone = [fill().sample(photo, window[None], 2, seed=3)[0] for window in windows]
        np.testing.assert_array_equal(alone, whole)

    def test_says_in_json_what_its_samples_depend_on(
        self, fill: Callable[[], Sampler], photo: NDArray[np.float32], windows: NDArray[np.int64]
    ) -> None:
        sampler = fill()
        described = sampler.describe()
        assert json.loads(json.dumps(described)) == described
        sampler.sample(photo, windows[:1], 1, seed=0)
        assert sampler.describe() == described
        others = [other().describe() for other in FILLS if other is not fill]
        assert described not in others

    def test_refuses_windows_outside_the_photo_and_photos_that_are_not_finite(
        self, fill: Callable[[], Sampler], photo: NDArray[np.float32]
    ) -> None:
        with pytest.raises(SamplerError, match="4 x 4 pixels inside the photo"):
            fill().sample(photo, np.array([[0, 15]]), 1, seed=0)
        with pytest.raises(SamplerError, match="finite numbers"):
            fill().sample(photo * np.nan, np.array([[0, 0]]), 1, seed=0)


@pytest.mark.parametrize("fill", [fill for fill in FILLS if not isinstance(fill(), NoiseFill)])
def test_where_nothing_is_random_all_samples_and_seeds_are_alike(
    fill: Callable[[], Sampler], photo: NDArray[np.float32], windows: NDArray[np.int64]
) -> None:
    samples = fill().sample(photo, windows, 3, seed=0)
    assert (samples == samples[:, :1]).all()
    np.testing.assert_array_equal(samples, fill().sample(photo, windows, 3, seed=1))


def test_a_constant_is_one_number_or_one_for_each_channel(photo: NDArray[np.float32]) -> None:
    windows = np.array([[3, 5]])
    assert (ConstantFill(K, -1.5).sample(photo, windows, 1, 0) == -1.5).all()
    samples = ConstantFill(K, [1, 2]).sample(photo, windows, 1, 0)
    assert (samples[:, :, 0] == 1).all()
    assert (samples[:, :, 1] == 2).all()


def test_the_mean_is_that_of_each_channel(photo: NDArray[np.float32], windows: NDArray[np.int64]) -> None:
    samples = MeanFill(K).sample(photo, windows, 1, 0)
    for channel in range(2):
        np.testing.assert_allclose(samples[:, :, channel], photo[channel].astype(float).mean(), rtol=1e-6)


def test_blur_is_a_convolution_with_a_gaussian(windows: NDArray[np.int64]) -> None:
    # Of a single bright pixel far from the border, it is the Gaussian itself, normalised over its samples.
    photo = np.zeros((1, 21, 18), np.float32)
    photo[0, 10, 9] = 1
    rows, columns = (np.exp(-0.5 * ((np.arange(size) - at) / 1.5) ** 2) for size, at in ((21, 10), (18, 9)))
    expected = np.outer(rows / rows.sum(), columns / columns.sum())
    samples = BlurFill(K, 1.5).sample(photo, windows, 1, 0)
    # The kernel is cut off at 4 standard deviations.
    np.testing.assert_allclose(
        samples[:, 0, 0], one_by_one(lambda r, c: expected[r : r + K, c : c + K], windows), atol=1e-4
    )


def test_blur_leaves_an_even_photo_as_it_is(windows: NDArray[np.int64]) -> None:
    samples = BlurFill(K, 5).sample(np.full((3, 21, 18), 12.5, np.float32), windows, 1, 0)
    np.testing.assert_allclose(samples, 12.5, rtol=1e-6)


@pytest.mark.parametrize("sigma", [None, 3.0])
def test_noise_has_the_photos_mean_and_the_stated_deviation(photo: NDArray[np.float32], sigma: float | None) -> None:
    windows = WindowGrid(21, 18, K).positions
    samples = NoiseFill(K, sigma).sample(photo, windows, 20, seed=5).astype(float)
    for channel in range(2):
        numbers = samples[:, :, channel].ravel()
        deviation = photo[channel].astype(float).std() if sigma is None else sigma
        # Five standard errors.
        assert abs(numbers.mean() - photo[channel].astype(float).mean()) < 5 * deviation / np.sqrt(numbers.size)
        assert abs(numbers.std() / deviation - 1) < 5 / np.sqrt(2 * numbers.size)


def test_noise_differs_between_samples_windows_pixels_and_seeds(photo: NDArray[np.float32]) -> None:
    windows = np.array([[0, 0], [0, 1]])
    samples = NoiseFill(K).sample(photo, windows, 2, seed=0)
    assert len(np.unique(samples)) == samples.size
    assert not np.isin(NoiseFill(K).sample(photo, windows, 2, seed=1), samples).any()


def test_inpainting_continues_a_plane_exactly(windows: NDArray[np.int64]) -> None:
    # A plane's biharmonic operator vanishes. Flush with the border the operator is cut off, so only those inside.
    rows, columns = np.mgrid[:21, :18]
    plane = np.stack([2.0 * rows - columns, 5 + 0.5 * columns]).astype(np.float32)
    inside = windows[((windows >= 2) & (windows <= np.array([21, 18]) - K - 2)).all(axis=1)]
    assert len(inside)
    samples = InpaintingFill(K).sample(plane, inside, 1, 0)[:, 0]
    expected = one_by_one(lambda r, c: plane[:, r : r + K, c : c + K], inside)
    np.testing.assert_allclose(samples, expected, atol=1e-5)


def test_inpainting_does_not_look_into_the_window(photo: NDArray[np.float32]) -> None:
    changed = photo.copy()
    changed[:, 6:10, 7:11] = 1e6
    windows = np.array([[6, 7]])
    samples = InpaintingFill(K).sample(photo, windows, 1, 0)
    np.testing.assert_array_equal(samples, InpaintingFill(K).sample(changed, windows, 1, 0))


def test_inpainting_stays_within_the_surrounds_range(photo: NDArray[np.float32], windows: NDArray[np.int64]) -> None:
    samples = InpaintingFill(K).sample(photo, windows, 1, 0)[:, 0]
    assert (samples.min(axis=(0, 2, 3)) >= photo.min(axis=(1, 2))).all()
    assert (samples.max(axis=(0, 2, 3)) <= photo.max(axis=(1, 2))).all()


def test_inpainting_of_a_photo_smaller_than_the_default_surround_takes_what_there_is() -> None:
    photo = np.ones((1, 6, 6), np.float32)
    samples = InpaintingFill(K).sample(photo, np.array([[0, 0], [2, 1]]), 1, 0)
    np.testing.assert_allclose(samples, 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConstantFill(0), "k: expected the side of a window.*found 0"),
        (lambda: MeanFill(2.5), "k: expected.*found 2.5"),
        (lambda: ConstantFill(K, np.nan), "value: expected a finite number.*found nan"),
        (lambda: ConstantFill(K, 1e39), "value: expected a finite number.*found 1e.39"),
        (lambda: ConstantFill(K, "grey"), "value: expected a finite number.*found 'grey'"),
        (lambda: ConstantFill(K, []), "value: expected a finite number"),
        (lambda: BlurFill(K, 0), "sigma: expected a positive number, found 0"),
        (lambda: NoiseFill(K, -1), "sigma: expected a positive number, found -1"),
        (lambda: InpaintingFill(K, K), "l: expected a whole number of pixels larger than k = 4, found 4"),
    ],
)
def test_impossible_settings_are_refused(make: Callable[[], Sampler], message: str) -> None:
    with pytest.raises(SamplerError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_a_constant_of_other_channels_than_the_photos_is_refused(photo: NDArray[np.float32]) -> None:
    with pytest.raises(SamplerError, match=r"value: expected one number, or 2, one for each channel.*found 3"):
        ConstantFill(K, [1, 2, 3]).sample(photo, np.array([[0, 0]]), 1, 0)


def test_a_surround_that_does_not_fit_the_photo_is_refused(photo: NDArray[np.float32]) -> None:
    with pytest.raises(PredictDiffError, match="l: expected at most 18"):
        InpaintingFill(K, 19).sample(photo, np.array([[0, 0]]), 1, 0)

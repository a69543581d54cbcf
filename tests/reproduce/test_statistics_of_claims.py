"""The statistics that stand for claims, and verdicts: against closed forms, cases made by hand, and literal loops."""

import math
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from predict_diff.errors import ConfigurationError, ImageError, ResultError, SamplerError
from predict_diff.measures import hoyer, overlap
from predict_diff.windows import WindowGrid
from reproduce.verifying.interval import Interval, decide, interval, spread
from reproduce.verifying.overlaps import edges, random_overlap, shifted_overlaps
from reproduce.verifying.statistics import (
    box_average,
    hoyer_of_exponential,
    share_on_predictable,
    surprise,
    unexplained,
)

whole_maps = arrays(np.float64, array_shapes(min_dims=2, max_dims=2, max_side=8), elements=st.integers(-5, 5))


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def block(shape, rows, columns):
    mask = np.zeros(shape, bool)
    mask[rows, columns] = True
    return mask


# Overlap


def test_shifts_keep_the_clustering_and_never_stay():
    a = block((2, 3), 1, 2)
    assert set(shifted_overlaps(a, a, 200, seed=0)) == {0.0}
    assert set(shifted_overlaps(~a, ~a, 200, seed=0)) == {4 / 5}


def test_shifts_take_all_offsets_equally_often():
    a, b = noise(5, 7) > 0.8, noise(5, 7, seed=1) > 0
    every = [overlap(np.roll(a, shift, (0, 1)), b) for shift in product(range(5), range(7)) if shift != (0, 0)]
    found = shifted_overlaps(a, b, 4000, seed=3)
    assert set(found) == set(every)
    assert found.mean() == pytest.approx(np.mean(every), abs=5 * np.std(every) / math.sqrt(4000))
    assert np.array_equal(found, shifted_overlaps(a, b, 4000, seed=3))
    assert not np.array_equal(found, shifted_overlaps(a, b, 4000, seed=4))


def test_of_clustered_masks_shifts_vary_more_than_pixels_at_random():
    a, b = block((40, 40), slice(5, 15), slice(5, 15)), block((40, 40), slice(20, 35), slice(0, 20))
    chance = random_overlap(b, int(a.sum()))
    shifts = shifted_overlaps(a, b, 1000, seed=0)
    assert shifts.std() > 3 * chance.deviation
    assert shifts.mean() == pytest.approx(chance.mean, abs=5 * shifts.std() / math.sqrt(1000))


@pytest.mark.parametrize(("marked", "pixels"), [(7, 3), (12, 12), (1, 1), (12, 1), (0, 5)])
def test_random_overlap_is_that_of_all_ways_to_place_the_pixels(marked, pixels):
    b = (np.arange(12) < marked).reshape(3, 4)
    every = [b.ravel()[list(places)].mean() for places in combinations(range(12), pixels)]
    assert random_overlap(b, pixels) == pytest.approx((np.mean(every), np.std(every)))


def test_random_overlap_of_a_single_pixel_is_certain():
    assert random_overlap(np.ones((1, 1), bool), 1) == (1, 0)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (np.ones((2, 3), bool), np.ones((3, 2), bool)),
        (np.ones((2, 3)), np.ones((2, 3), bool)),
        (np.zeros((2, 3), bool), np.ones((2, 3), bool)),
        (np.ones(3, bool), np.ones(3, bool)),
    ],
    ids=["shapes", "numbers", "empty", "flat"],
)
def test_masks_that_cannot_be_compared_are_refused(a, b):
    with pytest.raises(ResultError, match="mask: expected"):
        shifted_overlaps(a, b, 10, seed=0)


def test_impossible_nulls_are_refused():
    mask = np.ones((2, 3), bool)
    with pytest.raises(ConfigurationError, match="shifts: expected at least one, found 0"):
        shifted_overlaps(mask, mask, 0, seed=0)
    with pytest.raises(ConfigurationError, match="seed: expected"):
        shifted_overlaps(mask, mask, 1, seed=-1)
    with pytest.raises(ResultError, match="expected at least two pixels"):
        shifted_overlaps(mask[:1, :1], mask[:1, :1], 1, seed=0)
    for pixels in (0, 7):
        with pytest.raises(ConfigurationError, match=f"pixels: expected 1 to 6, the size of the mask, found {pixels}"):
            random_overlap(mask, pixels)


# Outlines


def step(contrast):
    """Dark on the left, bright on the right, and halfway in column 20."""
    levels = 0.5 + contrast / 2 * np.sign(np.arange(41) - 20)
    return np.broadcast_to(levels[:, None], (41, 41, 3))


def test_the_edge_of_a_step_is_3_pixels_wide():
    mask = edges(step(0.5))
    assert mask.dtype == bool
    inner = mask[5:-5]
    assert (inner == inner[0]).all()
    assert np.flatnonzero(inner[0]).tolist() == [19, 20, 21]


@pytest.mark.parametrize(("contrast", "found"), [(0.11, False), (0.14, True)])
def test_an_edge_begins_at_an_eighth_of_the_range(contrast, found):
    # Closed form: 8 c / (2 sqrt(2 pi)) = 0.2 at c = 0.125; the slope of this step over 2 pixels is some percent less.
    assert edges(step(contrast)).any() == found


def test_neither_an_even_photo_nor_its_frame_nor_fine_texture_has_edges():
    assert not edges(np.full((30, 40, 3), 0.7)).any()
    rows, columns = np.indices((40, 40))
    texture = 0.5 + 0.3 * (-1.0) ** (rows + columns)
    assert not edges(np.repeat(texture[..., None], 3, axis=2))[8:-8, 8:-8].any()


def test_edges_turn_with_the_photo():
    photo = step(0.4)
    assert np.array_equal(edges(photo.swapaxes(0, 1)), edges(photo).T)


@pytest.mark.parametrize(
    "photo", [np.zeros((4, 4)), np.full((4, 4, 3), 255), np.full((4, 4, 3), np.nan), np.zeros((3, 4, 4))]
)
def test_what_is_no_photo_has_no_edges(photo):
    with pytest.raises(ImageError, match="photo: expected RGB from 0 to 1"):
        edges(photo)


@pytest.mark.parametrize("sigma", [0, -1, np.nan, np.inf])
def test_an_impossible_blur_is_refused(sigma):
    with pytest.raises(ConfigurationError, match="sigma: expected"):
        edges(step(0.5), sigma)


# Similarity of maps


@settings(deadline=None, max_examples=50)
@given(whole_maps, st.data())
def test_box_average_is_algorithm_1s_averaging(values, data):
    height, width = values.shape
    k = data.draw(st.integers(1, min(height, width)))
    total, counts = np.zeros(values.shape), np.zeros(values.shape)
    for row, column in product(range(height - k + 1), range(width - k + 1)):
        total[row : row + k, column : column + k] += values[row : row + k, column : column + k].mean()
        counts[row : row + k, column : column + k] += 1
    assert box_average(values, k) == pytest.approx(total / counts, abs=1e-12)


def test_box_average_of_one_pixel_far_from_the_border_is_a_pyramid():
    values = np.zeros((9, 9))
    values[4, 4] = 1
    sides = np.array([0, 0, 1, 2, 3, 2, 1, 0, 0])
    assert box_average(values, 3) == pytest.approx(np.outer(sides, sides) / 81)


def test_box_average_refuses_windows_larger_than_the_map():
    with pytest.raises(ConfigurationError, match="k: expected a window between 1 and 4"):
        box_average(np.ones((4, 5)), 5)


def test_a_scaled_and_shifted_copy_leaves_nothing_unexplained():
    values = noise(8, 9)
    assert unexplained(values, 3 - 1e-3 * values) == pytest.approx(0, abs=1e-12)


def test_what_is_left_unexplained_is_the_share_of_independent_variance():
    values, rest = noise(300, 300), noise(300, 300, seed=1)
    # 4 parts in 5 of the target's variance are independent of the predictor.
    assert unexplained(values + 2 * rest, values) == pytest.approx(0.8, abs=0.01)


def test_unexplained_is_what_least_squares_leaves():
    target, predictor = noise(5, 6), noise(5, 6, seed=1) + 100
    design = np.stack([predictor.ravel(), np.ones(30)], axis=1)
    left = np.linalg.lstsq(design, target.ravel(), rcond=None)[1][0]
    assert unexplained(target, predictor) == pytest.approx(left / (target.var() * 30))


def test_a_constant_explains_nothing_and_has_nothing_to_explain():
    assert unexplained(noise(3, 4), np.full((3, 4), 2.0)) == 1
    with pytest.raises(ResultError, match="expected values that vary"):
        unexplained(np.full((3, 4), 2.0), noise(3, 4))


# Sparseness


@pytest.mark.parametrize("n", [70, 512, 1280])
def test_exponentials_have_the_sparseness_of_the_null_which_is_never_too_low(n):
    found = [hoyer(values) for values in np.random.default_rng(0).exponential(size=(4000, n))]
    bias = 7 / (8 * n) * math.sqrt(n / 2) / (math.sqrt(n) - 1)
    error = 5 * np.std(found) / math.sqrt(len(found))
    assert 0 < bias <= 0.0102
    assert hoyer_of_exponential(n) - bias == pytest.approx(np.mean(found), abs=error + bias / 10)
    assert hoyer_of_exponential(n) > np.mean(found) - error


def test_the_null_tends_to_1_less_the_root_of_a_half():
    assert hoyer_of_exponential(10**12) == pytest.approx(1 - math.sqrt(0.5), abs=1e-6)


def test_a_single_activation_has_no_null():
    with pytest.raises(ConfigurationError, match="at least two, found 1"):
        hoyer_of_exponential(1)


# Predictability


def test_surprise_is_the_mean_square_of_what_the_surround_did_not_tell():
    x = noise(3, 7, 8).astype(np.float32)
    windows = WindowGrid(7, 8, 3, stride=2).positions
    patches = np.stack([x[:, row : row + 3, column : column + 3] for row, column in windows]).astype(np.float64)
    assert surprise(x, windows, 3, patches).tolist() == [0] * len(windows)
    offsets = np.arange(len(windows), dtype=np.float64)
    assert surprise(x, windows, 3, patches + offsets[:, None, None, None]) == pytest.approx(offsets**2)
    patches[1, 2, 0, 0] += 6
    assert surprise(x, windows, 3, patches)[1] == pytest.approx(36 / 27)


def test_windows_are_as_surprising_as_their_gaussian_says():
    # One channel, l = 3, k = 1, AR(1)-like covariance: the surprise of a photo drawn from the Gaussian itself is the
    # conditional variance, 1 / (inverse covariance at the window).
    places = np.stack(np.indices((3, 3)), axis=-1).reshape(9, 2)
    covariance = 0.8 ** np.abs(places[:, None] - places).sum(axis=2)
    precision = np.linalg.inv(covariance)
    outer = np.random.default_rng(0).multivariate_normal(np.zeros(9), covariance, 4000)
    around = np.delete(outer, 4, axis=1)
    mean = around @ -np.delete(precision[4], 4) / precision[4, 4]
    # All outer patches side by side in one photo.
    x = outer.reshape(-1, 3, 3).swapaxes(0, 1).reshape(1, 3, -1).astype(np.float32)
    windows = np.stack([np.ones(4000, np.int64), 3 * np.arange(4000) + 1], axis=1)
    found = surprise(x, windows, 1, mean[:, None, None, None])
    assert found.mean() == pytest.approx(1 / precision[4, 4], rel=5 * math.sqrt(2 / 4000))


def test_surprise_refuses_what_does_not_fit():
    x, windows = np.zeros((3, 6, 6), np.float32), np.array([[0, 0], [3, 3]])
    with pytest.raises(ResultError, match=r"conditional means: expected shape \(2, 3, 3, 3\), found \(2, 3, 2, 2\)"):
        surprise(x, windows, 3, np.zeros((2, 3, 2, 2)))
    with pytest.raises(SamplerError, match="inside the photo"):
        surprise(x, windows + 1, 3, np.zeros((2, 3, 3, 3)))


def test_the_share_on_predictable_windows_by_hand():
    assert share_on_predictable([1, -2, 3, 4], [0.1, 0.2, 0.3, 0.4]) == pytest.approx(3 / 10)
    assert share_on_predictable([1, -2, 3, 4], [0.4, 0.3, 0.2, 0.1]) == pytest.approx(7 / 10)
    # The middle one of five windows belongs to both halves.
    assert share_on_predictable([1, 2, 3, 4, 0], [1, 2, 3, 4, 5]) == pytest.approx(4.5 / 10)
    # Two windows are below the median, three have it: each of these counts a third in the lower half.
    assert share_on_predictable([1, 1, 5, 5, 8, 0], [0, 0, 7, 7, 7, 9]) == pytest.approx((2 + 18 / 3) / 20)


@settings(deadline=None)
@given(arrays(np.float64, st.integers(1, 12), elements=st.integers(-3, 3)))
def test_the_halves_weigh_the_same_and_make_up_the_whole(order):
    assert share_on_predictable(np.ones(len(order)), order) == pytest.approx(0.5)
    relevance = np.arange(len(order)) + 1.0
    both = share_on_predictable(relevance, order) + share_on_predictable(relevance, -order)
    assert both == pytest.approx(1)


def test_without_relevance_there_are_no_shares():
    with pytest.raises(ResultError, match="map: expected some relevance, found zero everywhere"):
        share_on_predictable(np.zeros(9), np.zeros(9))


@pytest.mark.parametrize("statistic", [unexplained, share_on_predictable])
def test_arrays_of_different_photos_are_refused(statistic):
    with pytest.raises(ResultError, match=r"expected two of one shape, found \(2, 3\) and \(3, 2\)"):
        statistic(noise(2, 3), noise(3, 2))


@pytest.mark.parametrize(
    "statistic",
    [
        lambda values: box_average(values, 1),
        lambda values: unexplained(noise(2, 2), values),
        lambda values: share_on_predictable(noise(2, 2), values),
    ],
)
def test_nan_is_never_passed_over(statistic):
    with pytest.raises(ResultError, match="found NaN or infinity in 1 of 4"):
        statistic([[1, 2], [np.nan, 3]])


# Intervals and verdicts


def test_an_interval_by_hand():
    # Student's table: t(0.975, 3) = 3.182446; the standard deviation of 1, 2, 3, 4 is sqrt(5 / 3).
    found = interval([1, 2, 3, 4])
    half = 3.182446 * math.sqrt(5 / 3) / 2
    assert (found.mean, found.count) == (2.5, 4)
    assert (found.low, found.high) == pytest.approx((2.5 - half, 2.5 + half), rel=1e-6)


def test_19_of_20_intervals_of_5_photos_hold_the_true_mean():
    samples = np.random.default_rng(0).normal(3, 2, (2000, 5))
    held = [found.low <= 3 <= found.high for found in map(interval, samples)]
    assert 0.93 <= np.mean(held) <= 0.97


def test_one_photo_has_a_mean_but_no_interval_and_decides_nothing():
    found = interval([0.3])
    assert (found.mean, found.count) == (0.3, 1)
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert decide(found, "above", 0) == decide(found, "below", 0) == "undecided"


def test_spread_is_the_standard_deviation_over_seeds():
    assert spread([1, 2, 3, 4]) == pytest.approx(math.sqrt(5 / 3))
    assert spread([2, 2]) == 0
    assert math.isnan(spread([2]))


@pytest.mark.parametrize("values", [[], [1, math.nan], [math.inf, 1]])
def test_missing_measurements_are_not_averaged_over(values):
    with pytest.raises(ResultError, match="values by photo: expected"):
        interval(values)
    with pytest.raises(ResultError, match="values by seed: expected"):
        spread(values)


@pytest.mark.parametrize(
    ("low", "high", "above", "below"),
    [
        (0.6, 0.8, "reproduced", "deviates"),
        (0.2, 0.4, "deviates", "reproduced"),
        (0.4, 0.6, "undecided", "undecided"),
        (0.5, 0.6, "undecided", "undecided"),
        (0.4, 0.5, "undecided", "undecided"),
        (0.5, 0.5, "undecided", "undecided"),
        (0.6, 0.6, "reproduced", "deviates"),
    ],
)
def test_an_interval_decides_only_if_all_of_it_lies_on_one_side(low, high, above, below):
    measured = Interval((low + high) / 2, low, high, 5)
    assert decide(measured, "above", 0.5) == above
    assert decide(measured, "below", 0.5) == below


def test_an_exact_number_always_decides_and_equality_holds():
    assert decide(0.1, "above", 0) == decide(0, "above", 0) == decide(np.float64(0), "below", 0) == "reproduced"
    assert decide(-1, "above", 0) == decide(math.inf, "below", 0) == "deviates"


def test_what_cannot_be_decided_is_refused():
    with pytest.raises(ConfigurationError, match="relation: expected one of above, below, found 'over'"):
        decide(1, "over", 0)
    with pytest.raises(ConfigurationError, match="threshold: expected a number, found NaN"):
        decide(1, "above", math.nan)
    with pytest.raises(ResultError, match="measured value: expected a number, found NaN"):
        decide(math.nan, "above", 0)

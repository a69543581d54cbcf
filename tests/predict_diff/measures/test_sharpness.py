"""Sparseness, sharpness and roughness of maps: closed forms, literal sums, properties."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from predict_diff.errors import ResultError
from predict_diff.measures import gini, hoyer, share_in_top, total_variation

whole_maps = arrays(np.float64, array_shapes(min_dims=2, max_dims=2, max_side=8), elements=st.integers(-5, 5))


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


# Share of the relevance in the top pixels


def test_of_an_even_map_the_top_pixels_have_their_own_share():
    assert share_in_top(np.full((20, 20), -3.0), 0.05) == pytest.approx(0.05)


def test_of_a_map_with_few_relevant_pixels_the_top_ones_have_all():
    values = np.zeros((20, 20))
    values[3, 4], values[10, 2] = 5, -2
    assert share_in_top(values, 0.05) == 1
    assert share_in_top(values, 1 / 400) == pytest.approx(5 / 7)


def test_of_exponential_relevances_the_top_share_has_the_share_of_theory():
    # The largest share q of exponentials holds q (1 - ln q) of their sum.
    values = np.random.default_rng(0).exponential(size=(500, 500))
    assert share_in_top(values, 0.05) == pytest.approx(0.05 * (1 - math.log(0.05)), rel=0.01)


@settings(deadline=None)
@given(whole_maps.filter(np.any), st.floats(0.01, 1))
def test_the_top_share_is_no_less_than_the_share_of_pixels(values, share):
    marked = max(1, round(share * values.size)) / values.size
    assert marked - 1e-12 <= share_in_top(values, share) <= 1


# Total variation


def test_total_variation_of_one_pixel_counts_its_sides():
    values = np.zeros((5, 5))
    values[2, 2] = -7
    assert total_variation(values) == pytest.approx(4)
    assert total_variation(np.eye(1, 25).reshape(5, 5)) == pytest.approx(2)


def test_total_variation_of_a_checkerboard_and_of_a_step():
    rows, columns = np.indices((6, 9))
    # Each of the 6 * 8 + 5 * 9 pairs of neighbours differs by 2; the norm is sqrt(54).
    assert total_variation((-1.0) ** (rows + columns)) == pytest.approx(2 * 93 / math.sqrt(54))
    assert total_variation((columns > 4) * 3.0) == pytest.approx(6 / math.sqrt(24))


def test_total_variation_ignores_scale_and_falls_when_a_map_is_averaged():
    values = noise(20, 20)
    assert total_variation(values * -1e-3) == pytest.approx(total_variation(values))
    averaged = values + np.roll(values, 1, 0) + np.roll(values, 1, 1)
    assert total_variation(averaged) < total_variation(values)


@pytest.mark.parametrize("unit", [1e-300, 1e-200, 1e200, 1e307])
def test_the_unit_does_not_matter_however_small_or_large(unit):
    values = noise(9, 8)
    for measure in (total_variation, share_in_top, gini, hoyer):
        assert measure(values * unit) == pytest.approx(measure(values))


@pytest.mark.parametrize("value", [0, 3])
def test_a_constant_map_does_not_vary(value):
    assert total_variation(np.full((4, 5), value)) == 0


# Sparseness


def test_hoyers_sparseness_at_its_ends_and_between():
    assert hoyer(np.full(50, 2e-200)) == pytest.approx(0, abs=1e-12)
    assert hoyer(np.eye(1, 50) * 1e200) == 1
    # 4 of 16 equal: (4 - 4 / 2) / 3.
    assert hoyer([[1] * 4, [0] * 4, [0] * 4, [0] * 4]) == pytest.approx(2 / 3)


def test_the_gini_index_at_its_ends_and_between():
    assert gini(np.full((4, 5), -3.0)) == pytest.approx(0, abs=1e-12)
    assert gini(np.eye(1, 50) * 1e200) == pytest.approx(1 - 1 / 50)
    # 4 of 16 equal: half of the mean absolute difference over the mean, by hand.
    assert gini([[1] * 4, [0] * 4, [0] * 4, [0] * 4]) == pytest.approx(1 - 4 / 16)
    # 1 to n: (n - 1) / (3 n) times (n + 1) / (n + 1).
    assert gini(np.arange(1, 11)) == pytest.approx((100 - 1) / (3 * 10 * 11))


def test_of_exponentials_the_gini_index_is_a_half():
    assert gini(np.random.default_rng(0).exponential(size=(300, 300))) == pytest.approx(0.5, abs=0.005)


@settings(deadline=None)
@given(whole_maps.filter(lambda values: values.size > 1 and values.any()))
def test_the_gini_index_is_half_the_relative_mean_difference(values):
    absolute = np.abs(values).ravel()
    differences = np.abs(absolute[:, None] - absolute).mean()
    assert gini(values) == pytest.approx(differences / (2 * absolute.mean()), abs=1e-12)


@settings(deadline=None)
@given(whole_maps.filter(lambda values: values.size > 1 and values.any()), st.floats(1e-3, 1e3))
def test_sparseness_ignores_scale_sign_and_order(values, scale):
    shuffled = np.random.default_rng(0).permutation(values.ravel()).reshape(values.shape)
    for measure in (gini, hoyer):
        assert 0 <= measure(values) <= 1
        assert measure(-scale * shuffled) == pytest.approx(measure(values), abs=1e-12)


@pytest.mark.parametrize("measure", [gini, hoyer])
@pytest.mark.parametrize("values", [[0, 0], [1], [1, np.nan], [1, np.inf], []])
def test_what_has_no_sparseness_is_refused(measure, values):
    with pytest.raises(ResultError, match="values: expected"):
        measure(values)


def test_without_relevance_there_are_no_shares():
    with pytest.raises(ResultError, match="map: expected some relevance, found zero everywhere"):
        share_in_top(np.zeros((3, 3)))


@pytest.mark.parametrize("measure", [share_in_top, total_variation])
def test_nan_is_never_passed_over(measure):
    with pytest.raises(ResultError, match="map: expected finite values, found NaN or infinity in 1 of 4"):
        measure([[1, 2], [np.nan, 3]])

"""Top pixels: how many, which, and what has none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from predict_diff.errors import ConfigurationError, ResultError
from predict_diff.top_pixels import finite_values, top_pixels

maps = arrays(np.float64, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(-5, 5))
shares = st.floats(0.001, 1)


def test_a_small_map_by_hand():
    values = np.array([[0.0, -9.0, 1.0], [8.0, 2.0, -1.0]])
    assert top_pixels(values, 1 / 3).tolist() == [[False, True, False], [True, False, False]]
    assert top_pixels(values, 1 / 3, absolute=False).tolist() == [[False, False, False], [True, True, False]]


@pytest.mark.parametrize(("size", "marked"), [(227, 2576), (224, 2509)])
def test_of_the_papers_maps_5_percent_are_marked(size, marked):
    mask = top_pixels(np.random.default_rng(0).normal(size=(size, size)))
    assert mask.dtype == bool
    assert mask.sum() == marked


@settings(deadline=None)
@given(maps, shares, st.booleans())
def test_as_many_pixels_as_asked_for_and_none_left_out_is_larger(values, share, absolute):
    mask = top_pixels(values, share, absolute)
    ranked = np.abs(values) if absolute else values
    assert mask.shape == values.shape
    assert mask.sum() == max(1, round(share * values.size))
    assert mask.all() or ranked[mask].min() >= ranked[~mask].max()


@settings(deadline=None)
@given(maps, shares)
def test_of_equal_values_the_first_in_reading_order_are_marked(values, share):
    ranked, mask = np.abs(values).ravel(), top_pixels(values, share).ravel()
    last = mask & (ranked == ranked[mask].min())
    missed = ~mask & (ranked == ranked[mask].min())
    assert not missed.any() or np.flatnonzero(last).max() < np.flatnonzero(missed).min()


def test_neither_scale_nor_precision_matters():
    values = np.random.default_rng(1).integers(-100, 100, (7, 9)).astype(np.float16)
    expected = top_pixels(values, 0.2)
    assert np.array_equal(top_pixels(values.astype(np.float64) * 1e-200, 0.2), expected)
    assert np.array_equal(top_pixels(-values, 0.2), expected)


@pytest.mark.parametrize("share", [0, -0.1, 1.01, np.nan])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ConfigurationError, match="share of top pixels: expected"):
        top_pixels(np.ones((2, 2)), share)


@pytest.mark.parametrize("strange", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused_and_counted(strange):
    with pytest.raises(ResultError, match="map: expected finite values, found NaN or infinity in 1 of 4"):
        top_pixels([[1, 2], [strange, 3]])


@pytest.mark.parametrize("shape", [(4,), (0, 3), (1, 2, 3)])
def test_what_is_no_map_is_refused(shape):
    with pytest.raises(ResultError, match="map: expected some values on 2 axes"):
        top_pixels(np.zeros(shape))


def test_values_of_any_shape_are_checked():
    assert finite_values([1, 2], "numbers").tolist() == [1.0, 2.0]
    with pytest.raises(ResultError, match="numbers: expected some values, found"):
        finite_values([], "numbers")

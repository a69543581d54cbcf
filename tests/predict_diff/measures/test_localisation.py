"""Localisation: planted boxes, cases by hand, nulls, and regions that are none."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predict_diff.errors import ConfigurationError, ResultError
from predict_diff.measures import (
    pointing_game,
    region_mask,
    relevance_mass_accuracy,
    relevance_rank_accuracy,
    share_inside,
)

MEASURES = [share_inside, relevance_mass_accuracy, relevance_rank_accuracy, pointing_game]
SHAPE = (9, 12)


@st.composite
def boxes(draw):
    row, column = draw(st.integers(0, SHAPE[0] - 1)), draw(st.integers(0, SHAPE[1] - 1))
    return row, column, draw(st.integers(1, SHAPE[0] - row)), draw(st.integers(1, SHAPE[1] - column))


def planted(box):
    row, column, height, width = box
    values = np.zeros(SHAPE)
    values[row : row + height, column : column + width] = 2
    return values


def one_hot(row, column):
    values = np.zeros(SHAPE)
    values[row, column] = 3
    return values


@settings(deadline=None)
@given(boxes().filter(lambda box: box[2:] != SHAPE))
def test_relevance_in_a_planted_box_is_all_there(box):
    values = planted(box)
    assert [measure(values, box) for measure in MEASURES] == [1] * 4
    assert [measure(values, values > 0) for measure in MEASURES] == [1] * 4
    assert [measure(values, values == 0) for measure in MEASURES if measure is not relevance_rank_accuracy] == [0] * 3


@settings(deadline=None)
@given(boxes())
def test_an_even_map_has_the_regions_share_of_the_pixels(box):
    share = box[2] * box[3] / (SHAPE[0] * SHAPE[1])
    assert share_inside(np.full(SHAPE, -3.0), box) == pytest.approx(share)
    assert relevance_mass_accuracy(np.full(SHAPE, 3.0), box) == pytest.approx(share)


@settings(deadline=None)
@given(boxes(), st.integers(0, 2**32 - 1))
def test_shares_of_a_region_and_of_the_rest_make_up_the_whole(box, seed):
    values, mask = np.random.default_rng(seed).normal(size=SHAPE), region_mask(box, SHAPE)
    for measure in MEASURES:
        assert 0 <= measure(values, box) <= 1
        assert measure(values, box) == measure(values, mask)
    if not mask.all():
        for measure in (share_inside, relevance_mass_accuracy, pointing_game):
            assert measure(values, mask) + measure(values, ~mask) == pytest.approx(1)


def test_mass_by_hand():
    values = [[4.0, -2.0], [1.0, -1.0]]
    left = (0, 0, 2, 1)
    assert share_inside(values, left) == pytest.approx(5 / 8)
    assert share_inside(values, left, "positive") == relevance_mass_accuracy(values, left) == 1
    assert relevance_mass_accuracy(values, (0, 0, 1, 2)) == pytest.approx(4 / 5)


def test_ranks_by_hand():
    values = [[9.0, 8.0, 1.0], [7.0, -20.0, 0.0]]
    # The three most relevant are 9, 8 and 7; -20 speaks against the target.
    assert relevance_rank_accuracy(values, (0, 0, 1, 3)) == pytest.approx(2 / 3)
    assert relevance_rank_accuracy(values, (1, 1, 1, 1)) == 0
    assert relevance_rank_accuracy(values, (0, 0, 2, 3)) == 1


@pytest.mark.parametrize("size", [(227, 227), (33, 71)])
def test_the_mask_of_any_size_is_compared_with_as_many_pixels(size):
    values = np.random.default_rng(0).normal(size=size)
    ordered = np.sort(values, axis=None)
    for count in (1, 2, 3, values.size // 3, values.size - 1):
        assert relevance_rank_accuracy(values, values >= ordered[-count]) == 1


def test_the_pointing_games_tolerance_is_a_circle():
    box = (4, 6, 2, 2)
    assert pointing_game(one_hot(4, 9), box, 1.9) == 0
    assert pointing_game(one_hot(4, 9), box, 2) == 1
    # Three down and four to the left of the nearest corner, (4, 6).
    assert pointing_game(one_hot(1, 2), box, 4.99) == 0
    assert pointing_game(one_hot(1, 2), box, 5) == 1


@settings(deadline=None)
@given(boxes(), st.integers(0, SHAPE[0] - 1), st.integers(0, SHAPE[1] - 1), st.floats(0, 20))
def test_a_hit_is_a_distance_no_larger_than_the_tolerance(box, row, column, tolerance):
    outside = [
        max(low - place, 0, place - (low + size - 1))
        for place, low, size in zip((row, column), box[:2], box[2:], strict=True)
    ]
    expected = math.hypot(*outside) <= tolerance
    assert pointing_game(one_hot(row, column), box, tolerance) == expected


@pytest.mark.parametrize(("down", "right"), [(1, 1), (1, 2), (2, 3), (3, 4), (5, 7), (8, 11)])
def test_a_tolerance_of_the_very_distance_is_a_hit(down, right):
    distance = math.sqrt(down**2 + right**2)
    assert pointing_game(one_hot(down, right), (0, 0, 1, 1), distance) == 1
    assert pointing_game(one_hot(down, right), (0, 0, 1, 1), math.nextafter(distance, 0)) == 0


def test_of_several_largest_pixels_each_has_its_share_of_the_hit():
    values = one_hot(0, 0) + one_hot(4, 4) + one_hot(8, 8)
    assert pointing_game(values, (4, 4, 1, 1)) == pytest.approx(1 / 3)


def test_pointing_looks_at_what_speaks_for_the_target():
    values = -10 * one_hot(2, 2) + one_hot(7, 7)
    assert pointing_game(values, (7, 7, 1, 1)) == 1


def test_a_box_is_the_mask_of_its_pixels_and_masks_join():
    mask = region_mask((1, 2, 3, 1), (5, 6))
    assert np.argwhere(mask).tolist() == [[1, 2], [2, 2], [3, 2]]
    both = mask | region_mask(np.array([0, 5, 1, 1]), (5, 6))
    assert region_mask(both, (5, 6)).sum() == 4


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize(
    ("region", "message"),
    [
        (np.ones((12, 9), bool), "mask: expected the size of the map, 9 x 12, found 12 x 9"),
        (np.zeros(SHAPE, bool), "mask: expected one that marks a pixel, found none"),
        (np.ones(SHAPE), "region: expected a mask of bool .* found float64"),
        (np.ones((1, *SHAPE), bool), "region: expected a mask of bool"),
        ((0, 0, 10, 2), r"box: expected \(row, column, height, width\) inside 9 x 12 pixels, found \(0, 0, 10, 2\)"),
        ((-1, 0, 2, 2), "box: expected"),
        ((3, 3, 0, 2), "box: expected"),
        ((0.0, 0.0, 1.0, 1.0), "region: expected a mask of bool"),
        ((1, 2, 3), "region: expected a mask of bool"),
    ],
)
def test_what_is_no_region_of_the_map_is_refused_in_a_line(measure, region, message):
    with pytest.raises(ConfigurationError, match=message) as raised:
        measure(np.random.default_rng(0).normal(size=SHAPE), region)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("measure", MEASURES)
def test_maps_without_order_or_numbers_are_refused(measure):
    with pytest.raises(ResultError, match="map: expected some"):
        measure(np.zeros((2, 3, 4)), (0, 0, 1, 1))
    with pytest.raises(ResultError, match="found NaN or infinity in 1 of 108"):
        measure(planted((0, 0, 2, 2)) + np.where(one_hot(3, 3), np.nan, 0), (0, 0, 1, 1))
    with pytest.raises(ResultError, match=r"map: expected (some relevance|values that vary)"):
        measure(np.zeros(SHAPE), (0, 0, 1, 1))


def test_impossible_settings_are_refused():
    with pytest.raises(ConfigurationError, match="part: expected absolute or positive, found 'negative'"):
        share_inside(one_hot(0, 0), (0, 0, 1, 1), "negative")
    with pytest.raises(ConfigurationError, match="tolerance: expected"):
        pointing_game(one_hot(0, 0), (0, 0, 1, 1), -1)
    with pytest.raises(ResultError, match="expected some relevance above 0"):
        relevance_mass_accuracy(-one_hot(0, 0), (0, 0, 1, 1))

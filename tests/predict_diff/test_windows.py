"""Windows, their surrounds and the averaging over them, against literal loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predict_diff.errors import ConfigurationError
from predict_diff.windows import WindowGrid, surround_positions


@st.composite
def grids(draw):
    height, width = draw(st.integers(1, 17)), draw(st.integers(1, 17))
    k = draw(st.integers(1, min(height, width)))
    return WindowGrid(height, width, k, draw(st.integers(1, k)))


def literal_average(grid, values):
    """Algorithm 1: add each window's value to its pixels, count, divide."""
    total, counts = np.zeros((grid.height, grid.width)), np.zeros((grid.height, grid.width))
    for (row, column), value in zip(grid.positions, values, strict=True):
        for r in range(row, row + grid.k):
            for c in range(column, column + grid.k):
                total[r, c] += value
                counts[r, c] += 1
    return total / counts, counts


def test_at_stride_1_windows_stand_everywhere_in_reading_order():
    positions = WindowGrid(5, 7, 3).positions
    assert positions.dtype == np.int64
    assert positions.tolist() == [[row, column] for row in range(3) for column in range(5)]


@pytest.mark.parametrize(("size", "windows"), [(227, 47_524), (224, 46_225)])
def test_the_papers_networks_have_as_many_windows_as_they_should(size, windows):
    grid = WindowGrid(size, size, 10)
    assert len(grid) == len(grid.positions) == windows


def test_with_a_larger_stride_a_last_window_stands_at_the_border():
    grid = WindowGrid(10, 11, 4, stride=3)
    assert grid.rows.tolist() == [0, 3, 6]
    assert grid.columns.tolist() == [0, 3, 6, 7]


@settings(deadline=None, max_examples=60)
@given(grids())
def test_every_pixel_lies_in_a_window_and_every_window_in_the_photo(grid):
    _, counts = literal_average(grid, np.zeros(len(grid)))
    assert (counts >= 1).all()
    assert np.array_equal(grid.counts, counts)
    assert (grid.positions >= 0).all()
    assert (grid.positions + grid.k <= [grid.height, grid.width]).all()
    assert len(np.unique(grid.positions, axis=0)) == len(grid)


@settings(deadline=None, max_examples=60)
@given(grids(), st.integers(0, 2**32 - 1))
def test_the_average_is_that_of_a_literal_loop(grid, seed):
    values = np.random.default_rng(seed).standard_normal(len(grid))
    np.testing.assert_allclose(grid.average(values), literal_average(grid, values)[0], atol=1e-12)


def test_many_targets_are_averaged_at_once():
    grid = WindowGrid(9, 8, 4, stride=3)
    values = np.random.default_rng(0).standard_normal((2, 3, len(grid))).astype(np.float32)
    averages = grid.average(values)
    assert averages.shape == (2, 3, 9, 8)
    assert averages.dtype == np.float64
    for index in np.ndindex(2, 3):
        np.testing.assert_allclose(averages[index], literal_average(grid, values[index])[0], atol=1e-6)


def test_the_average_of_equal_values_is_that_value():
    grid = WindowGrid(12, 15, 5, stride=2)
    np.testing.assert_allclose(grid.average(np.full(len(grid), 0.3)), 0.3, rtol=1e-14)


def test_standard_errors_of_independent_windows_add_in_squares():
    grid = WindowGrid(9, 8, 4, stride=2)
    errors = np.random.default_rng(1).random(len(grid))
    of_squares, counts = literal_average(grid, errors**2)
    np.testing.assert_allclose(grid.average_standard_error(errors), np.sqrt(of_squares / counts), atol=1e-14)


@pytest.mark.parametrize(("height", "width", "k"), [(8, 9, 0), (8, 9, 9), (9, 8, 9), (8, 9, -1)])
def test_windows_that_do_not_fit_are_refused(height, width, k):
    with pytest.raises(ConfigurationError, match=f"k: expected a window between 1 and 8 pixels.*found {k}"):
        WindowGrid(height, width, k)


@pytest.mark.parametrize("stride", [0, 4, -1])
def test_strides_that_leave_gaps_are_refused(stride):
    with pytest.raises(ConfigurationError, match=f"stride: expected 1 to k = 3.*found {stride}"):
        WindowGrid(8, 9, 3, stride)


@pytest.mark.parametrize(("k", "l"), [(10, 14), (3, 4), (3, 6), (1, 5), (5, 15)])
def test_a_window_stands_as_much_in_the_middle_of_its_surround_as_the_border_allows(k, l):
    height, width = 15, 22
    positions = WindowGrid(height, width, k).positions
    found = surround_positions(positions, k, l, height, width)
    for position, corner in zip(positions.tolist(), found.tolist(), strict=True):
        for place, start, size in zip(position, corner, (height, width), strict=True):
            possible = [s for s in range(size - l + 1) if s <= place and place + k <= s + l]
            # Margins before and after the window as equal as they can be, the smaller one first.
            best = min(possible, key=lambda s: (abs((place - s) - (s + l - place - k)), place - s))
            assert start == best


def test_surrounds_that_are_not_larger_or_do_not_fit_are_refused():
    positions = WindowGrid(15, 22, 5).positions
    for l in (4, 5):
        with pytest.raises(
            ConfigurationError, match=rf"l: expected an outer patch larger .*\(l > k = 5\), found l = {l}"
        ):
            surround_positions(positions, 5, l, 15, 22)
    with pytest.raises(ConfigurationError, match=r"l: expected at most 15,.*\(15 x 22\), found 16; choose a smaller l"):
        surround_positions(positions, 5, 16, 15, 22)

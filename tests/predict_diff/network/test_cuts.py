"""Regions cut from blobs with squares pasted in, against padding and slicing whole arrays."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from predict_diff.network.cuts import Cut
from predict_diff.network.locality import Square
from predict_diff.network.spans import Span

Array = NDArray[np.float32]


@st.composite
def spans(draw: st.DrawFn, size: int, lowest: int, highest: int) -> tuple[Span, Span]:
    """Equally long squares within an axis, and equally long regions that may reach beyond it; three places."""
    length = draw(st.integers(1, size))
    starts = np.array([draw(st.integers(0, size - length)) for _ in range(3)])
    reach = draw(st.integers(1, highest - lowest))
    first = np.array([draw(st.integers(lowest, highest - reach)) for _ in range(3)])
    return Span(starts, starts + length), Span(first, first + reach)


@st.composite
def cuts(draw: st.DrawFn) -> Cut:
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 8)), draw(st.integers(1, 8)))
    rows, columns = (draw(spans(size, -draw(st.integers(0, 3)), size + draw(st.integers(0, 3)))) for size in shape[1:])
    padding = draw(st.sampled_from([0.0, -np.inf, 0.5]))
    return Cut("cut", "blob", shape, padding, (rows[0], columns[0]), (rows[1], columns[1]))


def literal(cut: Cut, values: Array, squares: Array, row: int, column: int) -> Array:
    """Paste one square (C, h, w) into the blob, pad it widely, slice the region."""
    changed, margin = values.copy(), 20
    changed[_within(cut.square, row, column)] = squares
    padded = np.pad(changed, ((0, 0), (margin, margin), (margin, margin)), constant_values=cut.padding)
    return padded[_within(cut.region, row, column, margin)]


def _within(square: Square, row: int, column: int, margin: int = 0) -> tuple[slice, ...]:
    rows, columns = square
    return (
        slice(None),
        slice(int(rows.starts[row]) + margin, int(rows.stops[row]) + margin),
        slice(int(columns.starts[column]) + margin, int(columns.stops[column]) + margin),
    )


def as_the_graph_does(cut: Cut, values: Array, squares: Array, rows: Array, columns: Array) -> Array:
    """Gather, concatenate, gather: (windows, S, h, w, C) of squares (windows, S, h, w, C)."""
    count, samples, *_, channels = squares.shape
    kept = cut.memory(values)[cut.kept(rows, columns)]
    lines = np.concatenate([kept, squares.reshape(-1, channels)])
    first, step = cut.pasted(rows, columns, samples)
    found = lines[first + step * np.arange(samples).reshape(1, samples, 1, 1)]
    return found.reshape(count, samples, *first.shape[2:], channels)


@settings(max_examples=200)
@given(cuts(), st.integers(1, 3), st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=4))
def test_regions_are_what_lies_there_once_the_squares_are_pasted(
    cut: Cut, samples: int, places: list[tuple[int, int]]
) -> None:
    rows, columns = np.array(places).T
    height, width = (int(span.lengths[0]) for span in cut.square)
    channels = cut.shape[0]
    rng = np.random.default_rng(0)
    values = rng.standard_normal(cut.shape).astype(np.float32)
    squares = rng.standard_normal((len(places), samples, height, width, channels)).astype(np.float32)
    found = as_the_graph_does(cut, values, squares, rows, columns)
    for window, (row, column) in enumerate(places):
        for sample in range(samples):
            square = np.moveaxis(squares[window, sample], -1, 0)
            expected = literal(cut, values, square, row, column)
            np.testing.assert_array_equal(np.moveaxis(found[window, sample], -1, 0), expected)


def test_memory_is_the_blob_position_by_position_with_no_wider_a_border_than_is_read() -> None:
    values = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
    inside = Span(np.array([1]), np.array([2]))
    tight = Cut("cut", "blob", (2, 3, 4), 7.0, (inside, inside), (inside, inside))
    np.testing.assert_array_equal(tight.memory(values), values.reshape(2, 12).T)
    region = Span(np.array([-1]), np.array([3])), Span(np.array([0]), np.array([6]))
    wide = Cut("cut", "blob", (2, 3, 4), 7.0, (inside, inside), region)
    padded = np.pad(values, ((0, 0), (1, 0), (0, 2)), constant_values=7.0)
    np.testing.assert_array_equal(wide.memory(values), padded.reshape(2, 24).T)

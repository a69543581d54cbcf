"""Spans along one axis, against marking every position that an operator's kernel reads."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from predict_diff.network.spans import Reading, Span, hull, whole, windows_along


@st.composite
def readings(draw: st.DrawFn) -> Reading:
    """Any operator with a kernel, its outputs counted by rounding down or up."""
    kernel, stride, dilation = (draw(st.integers(1, most)) for most in (5, 5, 3))
    extent = (kernel - 1) * dilation + 1
    before, after = (draw(st.integers(0, extent)) for _ in range(2))
    size = draw(st.integers(max(1, extent - before - after), 25))
    room = size + before + after - extent
    outputs = (-(-room // stride) if draw(st.booleans()) else room // stride) + 1
    return Reading(kernel, stride, dilation, before, after, size, outputs)


def positions_read(reading: Reading, output: int) -> list[int]:
    """Where the numbers that an output reads lie; those outside of the axis are padding."""
    first = output * reading.stride - reading.before
    return [first + number * reading.dilation for number in range(reading.kernel)]


def one(start: int, stop: int) -> Span:
    return Span(np.array([start]), np.array([stop]))


def positions(span: Span, place: int = 0) -> set[int]:
    return set(range(int(span.starts[place]), int(span.stops[place])))


@given(readings(), st.data())
def test_outputs_that_are_reached_are_those_that_read_something_changed(reading: Reading, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, reading.size - 1))
    stop = data.draw(st.integers(start + 1, reading.size))
    found = positions(reading.reached(one(start, stop)))
    # A kernel with gaps is taken for one without: what lies between its numbers may stay as it was.
    between, dense = set[int](), set[int]()
    for output in range(reading.outputs):
        read = positions_read(reading, output)
        if any(start <= position < stop for position in read):
            dense.add(output)
        if read[0] < stop and read[-1] >= start:
            between.add(output)
    assert dense <= found
    if between:
        assert found == between
    else:
        assert len(found) == 1  # nobody reads them, and one output stands in
    assert found <= set(range(reading.outputs))


@given(readings(), st.data())
def test_what_outputs_need_is_all_that_they_read(reading: Reading, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, reading.outputs - 1))
    stop = data.draw(st.integers(start + 1, reading.outputs))
    needed = positions(reading.read(one(start, stop)))
    read = {position for output in range(start, stop) for position in positions_read(reading, output)}
    assert needed >= read
    assert (min(needed), max(needed)) == (min(read), max(read))


@given(readings())
def test_numbers_that_each_output_reads_are_counted(reading: Reading) -> None:
    inside, with_padding = [], []
    for output in range(reading.outputs):
        read = positions_read(reading, output)
        inside.append(sum(0 <= position < reading.size for position in read))
        with_padding.append(sum(-reading.before <= position < reading.size + reading.after for position in read))
    # An average of nothing is 0, whatever it is divided by.
    np.testing.assert_array_equal(reading.counted(with_padding=False), np.maximum(inside, 1))
    np.testing.assert_array_equal(reading.counted(with_padding=True), np.maximum(with_padding, 1))


def test_between_the_steps_of_a_stride_one_output_stands_in() -> None:
    reading = Reading(kernel=1, stride=3, dilation=1, before=0, after=0, size=9, outputs=3)
    reached = reading.reached(windows_along(9, 1))
    np.testing.assert_array_equal(reached.lengths, 1)
    np.testing.assert_array_equal(reached.starts[[0, 3, 6]], [0, 1, 2])


def test_behind_the_last_output_one_stands_in() -> None:
    reading = Reading(kernel=2, stride=2, dilation=1, before=0, after=0, size=7, outputs=3)
    reached = reading.reached(one(6, 7))
    assert positions(reached) == {2}


def test_spans_of_a_convolution_are_clipped_at_both_borders() -> None:
    reading = Reading(kernel=3, stride=1, dilation=1, before=1, after=1, size=6, outputs=6)
    reached = reading.reached(windows_along(6, 2))
    np.testing.assert_array_equal(reached.starts, [0, 0, 1, 2, 3])
    np.testing.assert_array_equal(reached.stops, [3, 4, 5, 6, 6])
    needed = reading.read(reached)
    np.testing.assert_array_equal(needed.starts, [-1, -1, 0, 1, 2])
    np.testing.assert_array_equal(needed.stops, [4, 5, 6, 7, 7])


@st.composite
def grouped_spans(draw: st.DrawFn) -> tuple[Span, NDArray[np.int64], int]:
    size, places = draw(st.integers(1, 20)), draw(st.integers(1, 12))
    starts = [draw(st.integers(0, size - 1)) for _ in range(places)]
    stops = [draw(st.integers(start + 1, size)) for start in starts]
    groups = draw(st.lists(st.integers(0, 3), min_size=places, max_size=places))
    return Span(np.array(starts), np.array(stops)), np.array(groups), size


@given(grouped_spans())
def test_widened_spans_hold_the_originals_and_are_equally_long_within_the_axis(
    case: tuple[Span, NDArray[np.int64], int],
) -> None:
    span, groups, size = case
    wide = span.widened(groups, size)
    for place, group in enumerate(groups):
        assert positions(span, place) <= positions(wide, place) <= set(range(size))
        assert wide.lengths[place] == max(span.lengths[groups == group])


@given(st.integers(1, 30), st.data())
def test_a_window_has_each_place_once(size: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, size))
    found = windows_along(size, k)
    assert [positions(found, place) for place in range(len(found.starts))] == [
        set(range(start, start + k)) for start in range(size) if start + k <= size
    ]


def test_a_hull_holds_what_lies_between() -> None:
    found = hull([Span(np.array([2, 0]), np.array([4, 1])), Span(np.array([6, 0]), np.array([7, 9]))])
    assert [positions(found, place) for place in (0, 1)] == [set(range(2, 7)), set(range(9))]


def test_spans_are_the_same_when_every_place_is() -> None:
    span = whole(5, 3)
    assert span.same(Span(np.zeros(3, np.int64), np.full(3, 5)))
    assert not span.same(whole(5, 2))
    assert not span.same(whole(6, 3))
    assert not span.same(Span(np.array([0, 0, 1]), np.full(3, 5)))


@pytest.mark.parametrize(("size", "k"), [(5, 5), (1, 1)])
def test_a_window_as_large_as_the_axis_has_one_place(size: int, k: int) -> None:
    assert windows_along(size, k).same(whole(size, 1))

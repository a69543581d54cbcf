"""Groups of places, against their definition and against trying every division."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from predict_diff.network.grouping import group_places

Lengths = NDArray[np.int64]
Weights = NDArray[np.float64]


def cost_of(lengths: Lengths, weights: Weights, groups: Lengths) -> float:
    """Every place costs what the largest lengths of its group do."""
    return sum(float(lengths[groups == group].max(axis=0) @ weights) for group in groups)


def smallest_cost(lengths: Lengths, weights: Weights, groups: int) -> float:
    """Over all ways to cut the kinds of places, in the order of what they cost, into runs."""
    kinds = sorted({tuple(row) for row in lengths.tolist()}, key=lambda row: (np.dot(row, weights), row))
    number = {kind: place for place, kind in enumerate(kinds)}
    of = np.array([number[tuple(row)] for row in lengths.tolist()])
    costs = []
    for count in range(min(groups, len(kinds))):
        for cuts in combinations(range(1, len(kinds)), count):
            costs.append(cost_of(lengths, weights, np.searchsorted(np.array(cuts), of, side="right")))
    return min(costs)


@st.composite
def places(draw: st.DrawFn) -> tuple[Lengths, Weights]:
    count, blobs = draw(st.integers(1, 9)), draw(st.integers(1, 3))
    rows = st.lists(st.integers(1, 6), min_size=blobs, max_size=blobs)
    lengths = np.array(draw(st.lists(rows, min_size=count, max_size=count)), np.int64)
    # Sums of different powers: no two kinds of places cost the same, so that their order is given.
    return lengths, np.array([1.0, 7.3, 61.7])[:blobs]


@given(places(), st.integers(1, 6))
def test_the_division_is_the_best_there_is(case: tuple[Lengths, Weights], most: int) -> None:
    lengths, weights = case
    groups = group_places(lengths, weights, most)
    assert groups.shape == (len(lengths),)
    assert sorted(set(groups.tolist())) == list(range(groups.max() + 1))
    assert groups.max() < most
    assert cost_of(lengths, weights, groups) == pytest.approx(smallest_cost(lengths, weights, most))


@given(places())
def test_places_that_are_alike_share_a_group(case: tuple[Lengths, Weights]) -> None:
    lengths, weights = case
    groups = group_places(lengths, weights, 1000)
    kinds = {tuple(row) for row in lengths.tolist()}
    assert groups.max() + 1 == len(kinds)
    assert len({(tuple(row), group) for row, group in zip(lengths.tolist(), groups.tolist(), strict=True)}) == len(
        kinds
    )


def test_one_group_holds_all() -> None:
    lengths = np.array([[3, 1], [5, 2], [4, 9], [3, 1]])
    np.testing.assert_array_equal(group_places(lengths, np.array([1.0, 2.0]), 1), 0)


def test_what_costs_nothing_does_not_count() -> None:
    lengths = np.array([[3, 9], [3, 1], [8, 1], [8, 9]])
    groups = group_places(lengths, np.array([1.0, 0.0]), 2)
    assert groups[0] == groups[1] != groups[2] == groups[3]


def test_many_places_at_the_border_and_inside() -> None:
    """Squares are smaller at both ends of an axis: with two groups, the ends are one and the middle the other."""
    lengths = np.array([6, 7, 7] + [8] * 40 + [7, 7, 6])[:, None]
    groups = group_places(lengths, np.ones(1), 2)
    np.testing.assert_array_equal(groups, [0] * 3 + [1] * 40 + [0] * 3)

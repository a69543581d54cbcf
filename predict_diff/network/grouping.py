"""Few shapes for many windows: places whose squares are about equally large are made equally large."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from .frontier import Frontier
from .graphs import Shape
from .locality import Square


def group_places(lengths: NDArray[np.int64], weights: NDArray[np.float64], groups: int) -> NDArray[np.int64]:
    """Divide the places of a window along one axis into groups that share their lengths.

    Every length of a group becomes the largest of the group. Places are taken in the order of what they cost, and the
    division into runs of that order with the smallest cost in all is found.

    Parameters
    ----------
    lengths : ndarray, shape (places, blobs), int64
        Of the squares along the axis.
    weights : ndarray, shape (blobs,), float64
        Cost of one more position of each.
    groups : int
        As many as there may be.

    Returns
    -------
    ndarray, shape (places,), int64
        Number of each place's group, from 0.
    """
    kinds, kind, counts = np.unique(lengths, axis=0, return_inverse=True, return_counts=True)
    order = np.argsort(kinds @ weights, kind="stable")
    kinds, counts, n = kinds[order], counts[order], len(order)
    # cost[a, b]: kinds a to b in one group.
    cost = np.full((n, n), np.inf)
    for a in range(n):
        largest = np.maximum.accumulate(kinds[a:], axis=0)
        cost[a, a:] = (largest @ weights) * np.cumsum(counts[a:])
    # best[b]: the smallest cost of the first b kinds; cuts[g][b]: where the last of g + 1 groups starts.
    best, cuts = np.append(0.0, cost[0]), [np.zeros(n + 1, np.int64)]
    for _ in range(1, min(groups, n)):
        total = best[:n, None] + cost
        start = np.argmin(total, axis=0)
        cuts.append(np.append(0, start))
        best = np.append(0.0, total[start, np.arange(n)])
    label, end = np.empty(n, np.int64), n
    for number in range(len(cuts) - 1, -1, -1):
        start = int(cuts[number][end])
        label[start:end] = number
        end = start
    numbers = np.empty(n, np.int64)
    numbers[order] = np.unique(label, return_inverse=True)[1]  # without gaps
    return numbers[kind.ravel()]


def shape_groups(frontier: Frontier, most: int) -> list[NDArray[np.int64]]:
    """For rows and columns, the group of each place of the window: in one group, all squares get the same shape."""
    groups = []
    for axis in (0, 1):
        along = [square[axis].lengths for square in frontier.squares.values()]
        across = [square[1 - axis].lengths.mean() for square in frontier.squares.values()]
        costs = [frontier.costs[blob] * length for blob, length in zip(frontier.squares, across, strict=True)]
        groups.append(group_places(np.stack(along, axis=1), np.array(costs), most))
    return groups


def widened(
    squares: Mapping[str, Square], groups: Sequence[NDArray[np.int64]], shapes: Mapping[str, Shape]
) -> dict[str, Square]:
    """Squares made as large as the largest of their group."""
    larger = {}
    for blob, square in squares.items():
        rows, columns = (
            span.widened(group, size) for span, group, size in zip(square, groups, shapes[blob][1:], strict=True)
        )
        larger[blob] = rows, columns
    return larger

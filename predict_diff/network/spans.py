"""Which positions along one axis a window can change, layer by layer, and which have to be read for that.

Rows and columns do not mix in any of the operators treated here, so a changed square is a pair of spans.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Span:
    """Positions from `starts` up to, not including, `stops`: one span for each place of a window along an axis.

    Attributes
    ----------
    starts, stops : ndarray, shape (places,), int64
    """

    starts: NDArray[np.int64]
    stops: NDArray[np.int64]

    @property
    def lengths(self) -> NDArray[np.int64]:
        return self.stops - self.starts

    def positions(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """(some, length): every position of the spans of some places, which are equally long."""
        return self.starts[places][:, None] + np.arange(self.lengths[places[0]])

    def same(self, other: Span) -> bool:
        """Whether both have the same positions, for every place of the window."""
        return np.array_equal(self.starts, other.starts) and np.array_equal(self.stops, other.stops)

    def widened(self, groups: NDArray[np.int64], size: int) -> Span:
        """Spans made as long as the longest of their group, within an axis of `size` positions.

        Parameters
        ----------
        groups : ndarray, shape (places,), int64
            Number of each place's group, from 0.
        size : int
        """
        longest = np.zeros(groups.max() + 1, np.int64)
        np.maximum.at(longest, groups, self.lengths)
        starts = np.minimum(self.starts, size - longest[groups])
        return Span(starts, starts + longest[groups])


@dataclass(frozen=True)
class Reading:
    """How an operator with a kernel reads its input along one axis.

    Attributes
    ----------
    kernel, stride, dilation : int
    before, after : int
        Padding in front of the first position and behind the last.
    size, outputs : int
        Positions of its input and its output.
    """

    kernel: int
    stride: int
    dilation: int
    before: int
    after: int
    size: int
    outputs: int

    @property
    def extent(self) -> int:
        """Positions from the first to the last that one output reads."""
        return (self.kernel - 1) * self.dilation + 1

    def reached(self, changed: Span) -> Span:
        """The outputs that read a changed position.

        Where no output does, as between the steps of a stride, one unchanged output stands in: every span has a
        position, and recomputing what has not changed does no harm.
        """
        first = -((self.extent - 1 - self.before - changed.starts) // self.stride)
        last = (changed.stops - 1 + self.before) // self.stride
        starts = np.clip(first, 0, self.outputs - 1)
        return Span(starts, np.clip(last + 1, starts + 1, self.outputs))

    def read(self, outputs: Span) -> Span:
        """What some outputs read; positions outside of the input are padding."""
        return Span(
            outputs.starts * self.stride - self.before,
            (outputs.stops - 1) * self.stride - self.before + self.extent,
        )

    def counted(self, with_padding: bool) -> NDArray[np.int64]:
        """How many numbers each output reads, (outputs,), padding included or not; none are beyond it."""
        first, last = (-self.before, self.size + self.after) if with_padding else (0, self.size)
        positions = np.arange(self.outputs)[:, None] * self.stride - self.before
        positions = positions + np.arange(self.kernel) * self.dilation
        return np.asarray(np.maximum(((positions >= first) & (positions < last)).sum(axis=1), 1))


def windows_along(size: int, k: int) -> Span:
    """Every place of a window of k pixels along an axis of `size`."""
    starts = np.arange(size - k + 1, dtype=np.int64)
    return Span(starts, starts + k)


def whole(size: int, places: int) -> Span:
    """All positions of an axis, for every place of a window."""
    return Span(np.zeros(places, np.int64), np.full(places, size, np.int64))


def hull(spans: Sequence[Span]) -> Span:
    """The smallest spans that contain all of some."""
    return Span(np.minimum.reduce([span.starts for span in spans]), np.maximum.reduce([span.stops for span in spans]))

"""Regions of blobs: cut from what the photo gives, with the squares that a window changed pasted into them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .locality import Square

Positions = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Cut:
    """A region of a blob that an operator reads, for every place of the window.

    Attributes
    ----------
    name : str
        What the tile graph calls its result; the names of its inputs start with it.
    blob : str
    shape : tuple of int
        (C, H, W) of the whole blob.
    padding : float
        What lies outside of the blob.
    square : tuple of Span
        Rows and columns that are recomputed, and pasted.
    region : tuple of Span
        Rows and columns that are cut. They may reach beyond the blob, and the square beyond them.
    """

    name: str
    blob: str
    shape: tuple[int, int, int]
    padding: float
    square: Square
    region: Square

    def memory(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the photo gives, with a border of padding as wide as any region needs.

        Parameters
        ----------
        values : ndarray, shape (C, H, W), float32
            The blob of the unchanged photo.

        Returns
        -------
        ndarray, shape (positions, C), float32
            Position by position, so that a region is gathered in whole rows.
        """
        (top, left), (height, width) = self._margins, self._padded_sizes
        padded = np.full((height, width, self.shape[0]), self.padding, np.float32)
        padded[top : top + self.shape[1], left : left + self.shape[2]] = np.moveaxis(values, 0, -1)
        return padded.reshape(height * width, -1)

    def kept(self, rows: Positions, columns: Positions) -> Positions:
        """Where the regions of some windows lie in `memory`.

        Parameters
        ----------
        rows, columns : ndarray, shape (windows,), int64
            Places of the windows, whose regions are equally large.

        Returns
        -------
        ndarray, shape (windows * h * w,), int64
        """
        (top, left), (_, width) = self._margins, self._padded_sizes
        row, column = self.region[0].positions(rows) + top, self.region[1].positions(columns) + left
        return (row[:, :, None] * width + column[:, None, :]).ravel()

    def pasted(self, rows: Positions, columns: Positions, samples: int) -> tuple[Positions, Positions]:
        """Where each position of the regions comes from: the regions as they were, one after another, or the squares.

        The squares stand behind all regions, those of one window's samples one after another.

        Parameters
        ----------
        rows, columns : ndarray, shape (windows,), int64
            Places of the windows, whose regions and squares are equally large.
        samples : int

        Returns
        -------
        first, step : ndarray, shape (windows, 1, h, w), int64
            Source of each position for the first sample, and how far further on it is for each next one.
        """
        inside, source = [], []
        for square, region, places in zip(self.square, self.region, (rows, columns), strict=True):
            steps = region.positions(places) - square.starts[places][:, None]
            inside.append((steps >= 0) & (steps < square.lengths[places[0]]))
            source.append(steps)
        height, width = (span.lengths[place] for span, place in zip(self.square, (rows[0], columns[0]), strict=True))
        changed = inside[0][:, :, None] & inside[1][:, None, :]
        kept = np.arange(changed.size).reshape(changed.shape)
        own = changed.size + np.arange(len(rows))[:, None, None] * (samples * height * width)
        own = own + source[0][:, :, None] * width + source[1][:, None, :]
        return np.where(changed, own, kept)[:, None], (changed * (height * width))[:, None]

    @cached_property
    def _margins(self) -> tuple[int, int]:
        top, left = (max(0, -int(span.starts.min())) for span in self.region)
        return top, left

    @cached_property
    def _padded_sizes(self) -> tuple[int, int]:
        height, width = (
            margin + max(size, int(span.stops.max()))
            for margin, size, span in zip(self._margins, self.shape[1:], self.region, strict=True)
        )
        return height, width

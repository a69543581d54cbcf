"""Where the windows lie, what surrounds them, and how their values become a map.

A window is the inner patch x_w of Algorithm 1, k x k pixels over all channels; the outer patch of
l x l pixels contains it. Positions are (row, column) of the upper left pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .errors import ConfigurationError


@dataclass(frozen=True)
class WindowGrid:
    """All windows of one photo, in reading order.

    Parameters
    ----------
    height, width : int
        Size of the network's input, in pixels.
    k : int
        Side of a window, in pixels.
    stride : int, default 1
        Step between windows, in pixels. Paper: 1, every position. With a larger step, a last window is
        placed flush with the border, so that every pixel is covered; hence ``stride <= k``.

    Raises
    ------
    ConfigurationError
        If k does not fit into the photo, or the step would leave pixels that no window covers.
    """

    height: int
    width: int
    k: int
    stride: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.k <= min(self.height, self.width):
            raise ConfigurationError(
                f"k: expected a window between 1 and {min(self.height, self.width)} pixels wide, the size of the "
                f"network's input ({self.height} x {self.width}), found {self.k}; choose a smaller k"
            )
        if not 1 <= self.stride <= self.k:
            raise ConfigurationError(
                f"stride: expected 1 to k = {self.k}, so that every pixel lies in a window, found {self.stride}"
            )

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """First pixel row of each row of windows."""
        return _places(self.height, self.k, self.stride)

    @cached_property
    def columns(self) -> NDArray[np.int64]:
        """First pixel column of each column of windows."""
        return _places(self.width, self.k, self.stride)

    def __len__(self) -> int:
        return len(self.rows) * len(self.columns)

    @cached_property
    def positions(self) -> NDArray[np.int64]:
        """(n, 2) int64, (row, column) of each window, in reading order."""
        rows, columns = np.meshgrid(self.rows, self.columns, indexing="ij")
        return np.stack([rows.ravel(), columns.ravel()], axis=1)

    @cached_property
    def counts(self) -> NDArray[np.float64]:
        """(height, width): how many windows contain each pixel; at least 1."""
        return np.asarray(self._cover_rows.sum(1)[:, None] * self._cover_columns.sum(1)[None, :])

    def coarser(self) -> list[int]:
        """Steps of coarser grids whose windows are all among these, the coarsest first.

        Twice the step, four times and so on, as long as windows still cover every pixel.
        """
        steps: list[int] = []
        while (step := self.stride * 2 ** (len(steps) + 1)) <= self.k:
            steps.append(step)
        return steps[::-1]

    def scattered(self) -> NDArray[np.int64]:
        """(9, 2) int64: the window in the middle of each ninth of the photo, to stand for all."""
        rows, columns = (places[np.arange(1, 6, 2) * len(places) // 6] for places in (self.rows, self.columns))
        return np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)

    def average(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Algorithm 1's last line: WE / counts.

        Parameters
        ----------
        values : ndarray, shape (..., n)
            One value a window, in the order of `positions`.

        Returns
        -------
        ndarray, shape (..., height, width), float64
            For each pixel, the mean over the windows that contain it.
        """
        return np.asarray(self._spread(values) / self.counts)

    def average_standard_error(self, errors: NDArray[np.floating]) -> NDArray[np.float64]:
        """The standard error of `average`, given those of the windows, which are drawn independently.

        Parameters and result have the shapes of `average`.
        """
        return np.asarray(np.sqrt(self._spread(np.square(np.asarray(errors, np.float64)))) / self.counts)

    def _spread(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Sum, for each pixel, of the values of the windows that contain it."""
        values = np.asarray(values, np.float64)
        grid = values.reshape(*values.shape[:-1], len(self.rows), len(self.columns))
        return np.asarray(self._cover_rows @ grid @ self._cover_columns.T)

    # The grid is a product of rows and columns, so which windows contain which pixel factorises too.
    @cached_property
    def _cover_rows(self) -> NDArray[np.float64]:
        return _cover(self.height, self.rows, self.k)

    @cached_property
    def _cover_columns(self) -> NDArray[np.float64]:
        return _cover(self.width, self.columns, self.k)


def surround_positions(positions: NDArray[np.int64], k: int, l: int, height: int, width: int) -> NDArray[np.int64]:
    """Where the outer patch of each window lies.

    The window stands as much in the middle as the border of the photo allows.

    Parameters
    ----------
    positions : ndarray, shape (n, 2), int64
        Upper left pixels of the windows.
    k, l : int
        Sides of the window and of the outer patch, in pixels; ``k < l``.
    height, width : int
        Size of the photo, in pixels.

    Returns
    -------
    ndarray, shape (n, 2), int64
        Upper left pixels of the outer patches, which lie inside the photo.

    Raises
    ------
    ConfigurationError
        If ``l <= k``, or the outer patch does not fit into the photo.
    """
    if l <= k:
        raise ConfigurationError(
            f"l: expected an outer patch larger than the window (l > k = {k}), found l = {l}; the paper uses l = k + 4"
        )
    if l > min(height, width):
        raise ConfigurationError(
            f"l: expected at most {min(height, width)}, the size of the network's input ({height} x {width}), "
            f"found {l}; choose a smaller l"
        )
    limits = np.array([height - l, width - l])
    return np.clip(positions - (l - k) // 2, 0, limits)


def _places(size: int, k: int, stride: int) -> NDArray[np.int64]:
    places = np.arange(0, size - k + 1, stride, dtype=np.int64)
    if places[-1] != size - k:
        places = np.append(places, size - k)
    return places


def _cover(size: int, places: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """(size, n): 1 where a pixel lies in a window's extent along one axis."""
    offset = np.arange(size)[:, None] - places[None, :]
    return ((offset >= 0) & (offset < k)).astype(np.float64)

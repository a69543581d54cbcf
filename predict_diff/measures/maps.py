"""What measures ask of a map: finite, of the right shape, not the same everywhere."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ResultError
from ..top_pixels import finite_values

Array = NDArray[np.float64]


def two_alike(a: ArrayLike, b: ArrayLike, what: str = "map") -> tuple[Array, Array]:
    """Two arrays of one shape, as float64.

    Raises
    ------
    ResultError
        If their shapes differ, or they hold NaN or infinity or nothing at all.
    """
    first, second = finite_values(a, what), finite_values(b, what)
    if first.shape != second.shape:
        raise ResultError(
            f"{what}: expected two of one shape, found {first.shape} and {second.shape}; compare those of one photo"
        )
    return first, second


def check_varies(values: Array) -> None:
    """Raise ResultError for a map that has the same value everywhere: it ranks nothing and points nowhere."""
    if np.ptp(values) == 0:
        raise ResultError(
            f"map: expected values that vary, found {values.flat[0]:g} everywhere; such a map cannot be compared"
        )


def share_of_absolute(values: Array, weights: NDArray[np.floating] | NDArray[np.bool_]) -> float:
    """Share of the absolute relevance that some weights, 0 to 1 and of the same shape, pick out.

    Raises
    ------
    ResultError
        If the relevance is zero everywhere.
    """
    absolute = np.abs(values)
    largest = float(absolute.max())
    if largest == 0:
        raise ResultError("map: expected some relevance, found zero everywhere; no share of it can lie anywhere")
    absolute /= largest  # then no sum overflows
    return min(1.0, float((absolute * weights).sum()) / float(absolute.sum()))

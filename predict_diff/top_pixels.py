"""The pixels that matter most: the masks of figure 3."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import ConfigurationError, ResultError

#: Paper: figure 3 marks the top 5 % of pixels.
TOP_SHARE = 0.05


def top_pixels(values: ArrayLike, share: float = TOP_SHARE, absolute: bool = True) -> NDArray[np.bool_]:
    """The share of pixels with the largest values.

    Parameters
    ----------
    values : ndarray, shape (H, W), float
        A relevance or sensitivity map, in any unit.
    share : float
        Above 0, at most 1. Marked are ``round(share * H * W)`` pixels, and at least one, whatever the values are: of
        pixels with equal values, the first in reading order. A map with fewer pixels that are not zero therefore has
        marks that mean nothing.
    absolute : bool, default True
        Largest by absolute value. Paper: figure 3. Otherwise by value, so that only what speaks for the target counts.

    Returns
    -------
    ndarray, shape (H, W), bool

    Raises
    ------
    ConfigurationError
        If the share is not such a number.
    ResultError
        If the values are no map, or hold NaN or infinity.
    """
    values = finite_values(values, "map", dimensions=2)
    if not 0 < share <= 1:
        raise ConfigurationError(f"share of top pixels: expected a number above 0 and at most 1, found {share}")
    ranked = np.abs(values) if absolute else values
    order = np.argsort(-ranked, axis=None, kind="stable")
    mask = np.zeros(values.size, bool)
    mask[order[: max(1, round(share * values.size))]] = True
    return mask.reshape(values.shape)


def finite_values(values: ArrayLike, what: str, dimensions: int | None = None) -> NDArray[np.float64]:
    """The values as float64, once they are known to be finite and not none.

    Parameters
    ----------
    values : array_like
    what : str
        What they are, for the message.
    dimensions : int, optional
        How many axes they must have; by default any number.

    Raises
    ------
    ResultError
        If they are not such values.
    """
    array = np.asarray(values, np.float64)
    if array.size == 0 or dimensions not in (None, array.ndim):
        expected = "some values" if dimensions is None else f"some values on {dimensions} axes"
        raise ResultError(f"{what}: expected {expected}, found an array of shape {array.shape}; compute it again")
    strange = array.size - int(np.isfinite(array).sum())
    if strange:
        raise ResultError(
            f"{what}: expected finite values, found NaN or infinity in {strange} of {array.size}; compute it again"
        )
    return array

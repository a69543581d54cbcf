"""Whether relevance lies where it should: in a mask or box that somebody knows to hold the object.

A region is a mask (H, W) of bool, or a box (row, column, height, width) in pixels; see `region_mask`.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy.ndimage import distance_transform_edt

from ..errors import ConfigurationError, ResultError
from ..top_pixels import finite_values, top_pixels
from .maps import check_varies, share_of_absolute
from .regions import Box, Mask, overlap, region_mask

Part = Literal["absolute", "positive"]


def share_inside(relevance: ArrayLike, region: Mask | Box, part: Part = "absolute") -> float:
    """Share of the relevance that lies in a region: sum of it inside / sum of it everywhere.

    Parameters
    ----------
    relevance : ndarray, shape (H, W), float
    region : ndarray, shape (H, W), bool; or (row, column, height, width)
    part : {"absolute", "positive"}
        Which relevance counts: all by its absolute value, or what speaks for the target alone.

    Returns
    -------
    float
        0 to 1; higher is better. Null, relevance spread evenly: the region's share of the pixels.

    Raises
    ------
    ConfigurationError
        If the region is none of this map (see `region_mask`), or there is no such part.
    ResultError
        If the map is none, holds NaN or infinity, or no such relevance.
    """
    values = finite_values(relevance, "map", dimensions=2)
    mask = region_mask(region, values.shape)
    if part not in get_args(Part):
        raise ConfigurationError(f"part: expected {' or '.join(get_args(Part))}, found '{part}'")
    if part == "positive":
        values = np.maximum(values, 0)
        if not values.any():
            raise ResultError("map: expected some relevance above 0, found none; take the absolute relevance instead")
    return share_of_absolute(values, mask)


def relevance_mass_accuracy(relevance: ArrayLike, region: Mask | Box) -> float:
    """Relevance mass accuracy: share of the positive relevance that lies in the region, R_within / R_total.

    Arras, Osman and Samek, *CLEVR-XAI: A benchmark dataset for the ground truth evaluation of neural network
    explanations*, Information Fusion 81, 2022 (arXiv:2003.07258).

    Parameters
    ----------
    relevance : ndarray, shape (H, W), float
    region : ndarray, shape (H, W), bool; or (row, column, height, width)

    Returns
    -------
    float
        0 to 1; higher is better. Null: the region's share of the pixels.

    Raises
    ------
    ConfigurationError, ResultError
        As `share_inside`.

    Notes
    -----
    The paper makes relevance positive before it counts it. Here negative relevance, evidence against the target, is
    left out; counted with its sign, as some programs do, the quotient can be any number.
    """
    return share_inside(relevance, region, "positive")


def relevance_rank_accuracy(relevance: ArrayLike, region: Mask | Box) -> float:
    """Relevance rank accuracy: of the K most relevant pixels, the share in the region, which has K pixels.

    Arras, Osman and Samek, *CLEVR-XAI: A benchmark dataset for the ground truth evaluation of neural network
    explanations*, Information Fusion 81, 2022 (arXiv:2003.07258).

    Parameters
    ----------
    relevance : ndarray, shape (H, W), float
        Ranked by value, so that what speaks against the target comes last. Of pixels with equal values, the first in
        reading order count as more relevant.
    region : ndarray, shape (H, W), bool; or (row, column, height, width)

    Returns
    -------
    float
        0 to 1; higher is better. Null: the region's share of the pixels.

    Raises
    ------
    ConfigurationError
        If the region is none of this map; see `region_mask`.
    ResultError
        If the map is none, holds NaN or infinity, or has the same value everywhere.
    """
    values = finite_values(relevance, "map", dimensions=2)
    mask = region_mask(region, values.shape)
    check_varies(values)
    return overlap(top_pixels(values, float(mask.mean()), absolute=False), mask)


def pointing_game(relevance: ArrayLike, region: Mask | Box, tolerance: float = 0) -> float:
    """Pointing game: whether the most relevant pixel lies in the region, or so close to it.

    Zhang, Bargal, Lin, Brandt, Shen and Sclaroff, *Top-down neural attention by excitation backprop*, IJCV 126, 2018
    (arXiv:1608.00507). The accuracy they report is the mean of this over objects.

    Parameters
    ----------
    relevance : ndarray, shape (H, W), float
    region : ndarray, shape (H, W), bool; or (row, column, height, width)
    tolerance : float, default 0
        Largest distance in pixels from the most relevant pixel to one of the region, along a straight line between
        their centres. The paper has 15, on photos of some hundred pixels; 0 is the strictest.

    Returns
    -------
    float
        1 for a hit, 0 for a miss; higher is better. Where several pixels share the largest relevance: the share of
        them that hit, the chance of a hit if one of them is chosen at random. Null, a random pixel: the share of
        pixels that hit.

    Raises
    ------
    ConfigurationError
        If the region is none of this map (see `region_mask`), or the tolerance is negative or NaN.
    ResultError
        If the map is none, holds NaN or infinity, or has the same value everywhere.
    """
    values = finite_values(relevance, "map", dimensions=2)
    mask = region_mask(region, values.shape)
    check_varies(values)
    if not tolerance >= 0:
        raise ConfigurationError(f"tolerance: expected a number of pixels, 0 or more, found {tolerance}")
    distances = distance_transform_edt(~mask)
    return float(np.mean(distances[values == values.max()] <= tolerance))

"""Random patches of a pool of photos, and their mean and covariance."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ..errors import SamplerError, closest
from .exact import exact_product, fixed_point
from .sampler import stream

PLACEMENTS = ("anywhere", "shared")

# Numbers of patches held at once; 16 MB as float64, of which a few copies exist.
CHUNK_NUMBERS = 2**21


def draw_places(
    shape: tuple[int, ...], l: int, patches: int, seed: int, placement: str = "anywhere", group: int = 0
) -> NDArray[np.int64]:
    """Where patches are cut out.

    Parameters
    ----------
    shape : tuple
        (P, C, H, W), the pool's.
    l : int
        Side of a patch, in pixels.
    patches : int
        How many.
    seed : int
        See `stream`.
    placement : {"anywhere", "shared"}
        "anywhere": each patch from a random photo at a random place. "shared": authors' code; each draw takes
        the same place in every photo, ``patches // P + 1`` draws are made (so at least `patches` patches), and the
        last row and column of places are never drawn.
    group : int
        Other groups are drawn independently.

    Returns
    -------
    ndarray, shape (n, 3), int64
        Photo, row and column of the upper left pixel.

    Raises
    ------
    SamplerError
        If the photos have no such places, or the placement is unknown.
    """
    photos, _, height, width = shape
    if placement not in PLACEMENTS:
        raise SamplerError(
            f"placement: expected one of {', '.join(PLACEMENTS)}, found {placement!r}{closest(placement, PLACEMENTS)}"
        )
    largest = min(height, width) - (placement == "shared")
    if not 1 <= l <= largest:
        raise SamplerError(
            f"l: expected an outer patch of 1 to {largest} pixels, to fit into the pool's photos "
            f"({height} x {width}), found {l}; choose a smaller l"
        )
    generator = stream(seed, 0, group, f"patches {placement}")
    if placement == "anywhere":
        return generator.integers(0, [photos, height - l + 1, width - l + 1], size=(patches, 3))
    corners = generator.integers(0, [height - l, width - l], size=(patches // photos + 1, 2))
    return np.column_stack([np.tile(np.arange(photos), len(corners)), np.repeat(corners, photos, axis=0)])


def moments(
    pool: NDArray[np.float32], places: NDArray[np.int64], l: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and unbiased covariance of patches, in two passes over them.

    Parameters
    ----------
    pool : ndarray, shape (P, C, H, W), float32
        Photos.
    places : ndarray, shape (n, 3), int64
        As `draw_places` gives them; at least two.
    l : int
        Side of a patch, in pixels.

    Returns
    -------
    mean : ndarray, shape (D,), float64
        D = C * l * l, in the order channel, row, column.
    covariance : ndarray, shape (D, D), float64
        Symmetric. The same to the last bit on any number of threads.
    """
    size = pool.shape[1] * l * l
    mean = np.zeros(size)
    for chunk in _cut(pool, places, l):
        mean += chunk.sum(axis=0)
    mean /= len(places)
    covariance = np.zeros((size, size))
    for chunk in _cut(pool, places, l):
        # Two slices keep more bits than the pixels have.
        centred = fixed_point(np.ascontiguousarray((chunk - mean).T), parts=2)
        covariance += exact_product(centred, centred)
    covariance /= len(places) - 1
    return mean, (covariance + covariance.T) / 2


def _cut(pool: NDArray[np.float32], places: NDArray[np.int64], l: int) -> Iterator[NDArray[np.float64]]:
    """The patches, a chunk at a time, each of shape (n, C * l * l), float64."""
    size = pool.shape[1] * l * l
    every = sliding_window_view(pool, (l, l), axis=(2, 3))
    step = max(1, CHUNK_NUMBERS // size)
    for start in range(0, len(places), step):
        photos, rows, columns = places[start : start + step].T
        yield every[photos, :, rows, columns].reshape(-1, size).astype(np.float64)

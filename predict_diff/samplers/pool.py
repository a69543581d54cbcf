"""Pools: the other photos, from which samplers learn what photos look like."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from ..errors import SamplerError


def check_pool(pool: NDArray[np.float32]) -> NDArray[np.float32]:
    """A pool that samplers can use.

    Parameters
    ----------
    pool : ndarray, shape (P, C, H, W), float32
        Photos as the network sees them. May be memory-mapped; it is read photo by photo.

    Returns
    -------
    ndarray, shape (P, C, H, W), float32
        The same pool.

    Raises
    ------
    SamplerError
        If it has no photos or another shape, or holds numbers that are not finite.
    """
    pool = np.asarray(pool, np.float32)
    if pool.ndim != 4:
        raise SamplerError(
            f"pool: expected photos of one size, shape (P, C, H, W), found shape {pool.shape}; "
            f"prepare every photo of the pool for the same network"
        )
    if not len(pool):
        raise SamplerError("pool: expected at least one photo, found none; put photos into the pool's folder")
    for index, photo in enumerate(pool):
        if not np.isfinite(photo).all():
            raise SamplerError(
                f"pool: expected finite numbers, found NaN or infinity in photo {index}; check the photo and its mean"
            )
    return pool


def pool_digest(pool: NDArray[np.float32]) -> str:
    """SHA-256 of the pool's shape and pixels, as hexadecimal digits."""
    digest = hashlib.sha256(repr(pool.shape).encode())
    for photo in pool:
        digest.update(np.ascontiguousarray(photo, "<f4").tobytes())
    return digest.hexdigest()


def pool_limits(pool: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Least and largest value of each pixel over the pool, both of shape (C, H, W), float32.

    Authors' code: samples are clipped to them.
    """
    pool = check_pool(pool)
    return np.asarray(pool.min(axis=0)), np.asarray(pool.max(axis=0))

"""Marginal sampling (eq. 2): what stands at the same place in other photos."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SamplerError
from .pool import check_pool, pool_digest
from .sampler import check_request, stream


class MarginalSampler:
    """Takes a window's values from the same place in other photos, a different photo for each sample.

    Paper: eq. 2 estimates p(x_w) by the data themselves. The pool should not contain the photo that is explained.

    Parameters
    ----------
    pool : ndarray, shape (P, C, H, W), float32
        Photos as the network sees them.
    k : int
        Side of a window, in pixels.
    first : bool, default False
        Authors' code: the first S photos of the pool for every window, nothing random; the explained
        photo may be among them.

    Raises
    ------
    SamplerError
        If the pool has no photos, or the window does not fit into them.
    """

    def __init__(self, pool: NDArray[np.float32], k: int, first: bool = False) -> None:
        self._pool = check_pool(pool)
        self.k = k
        self.first = first
        size = min(self._pool.shape[2:])
        if not 1 <= k <= size:
            raise SamplerError(f"k: expected 1 to {size}, the size of the pool's photos, found {k}; choose another k")

    def sample(self, x: NDArray[np.float32], windows: NDArray[np.int64], count: int, seed: int) -> NDArray[np.float32]:
        """See `Sampler.sample`.

        Raises
        ------
        SamplerError
            If the pool has fewer photos than samples are asked for, or photos of another shape than `x`.
        """
        check_request(x, windows, count, self.k)
        if x.shape != self._pool.shape[1:]:
            raise SamplerError(
                f"photo: expected shape {self._pool.shape[1:]}, that of the pool's photos, found {x.shape}; "
                f"prepare photo and pool for the same network"
            )
        if len(self._pool) < count:
            raise SamplerError(
                f"pool: expected at least S = {count} photos, a different one for each sample, found "
                f"{len(self._pool)}; add photos to the pool or lower S"
            )
        samples = np.empty((len(windows), count, len(x), self.k, self.k), np.float32)
        for patches, (row, column) in zip(samples, windows.tolist(), strict=True):
            chosen = self._choose(count, seed, row, column)
            patches[:] = self._pool[chosen, :, row : row + self.k, column : column + self.k]
        return samples

    def _choose(self, count: int, seed: int, row: int, column: int) -> NDArray[np.int64]:
        """Indices of `count` different photos."""
        if self.first:
            return np.arange(count)
        return stream(seed, row, column, "marginal").choice(len(self._pool), count, replace=False)

    def describe(self) -> dict[str, Any]:
        """See `Sampler.describe`."""
        return {
            "kind": "marginal",
            "k": self.k,
            "first": self.first,
            "photos": len(self._pool),
            "pool": self._digest,
        }

    @cached_property
    def _digest(self) -> str:
        return pool_digest(self._pool)

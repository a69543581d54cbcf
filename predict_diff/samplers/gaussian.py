"""Conditional sampling (eq. 5): a window's values given its surround, under a Gaussian fitted on other photos."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from ..errors import SamplerError
from ..windows import surround_positions
from .conditional import CUTOFF, Clipped, condition
from .exact import FixedPoint, exact_product, fixed_point
from .sampler import check_request, stream
from .statistics import GaussianStatistics

logger = logging.getLogger(__name__)

# Random numbers held at once while sampling; 4 MB, which keeps them near the processor.
CHUNK_NUMBERS = 2**19

_BLAS = ThreadpoolController()


@dataclass(frozen=True)
class Block:
    """The conditional of some channels for one placement of the window in its outer patch.

    Parameters
    ----------
    channels : slice
        Which channels.
    window, surround : ndarray of int
        Which of these channels' values in an outer patch are the window's, and which its surround's.
    window_mean, surround_mean : ndarray, float64
        mu1 and mu2.
    regression, root : FixedPoint
        See `Conditional`.
    clipped : Clipped
        See `Conditional`.
    """

    channels: slice
    window: NDArray[np.int64]
    surround: NDArray[np.int64]
    window_mean: NDArray[np.float64]
    surround_mean: NDArray[np.float64]
    regression: FixedPoint
    root: FixedPoint
    clipped: Clipped


class GaussianSampler:
    """Draws a window's values from p(x_w | surround), the surround being the rest of the outer patch.

    The regression matrix and the square root of the conditional covariance depend only on where the window
    lies in its outer patch: they are computed once for each of these placements, when it is first asked for.

    Parameters
    ----------
    statistics : GaussianStatistics
        The Gaussian over outer patches. Joint over the channels, or an independent one for each.
    k : int
        Side of a window, in pixels; smaller than the statistics' l.
    limits : (low, high), optional
        Arrays of shape (C, H, W). Authors' code: samples are clipped to the least and largest value that each
        pixel has in their data folder (see `pool_limits`). Paper: not clipped.
    first_channel_for_all : bool, default False
        Authors' code, a fault: the regression matrix and the conditional covariance of the first channel are used for
        every channel; means stay each channel's own.

    Raises
    ------
    SamplerError
        If k does not leave a surround, the limits do not fit, or the fault is asked for with joint statistics.
    """

    def __init__(
        self,
        statistics: GaussianStatistics,
        k: int,
        limits: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None,
        first_channel_for_all: bool = False,
    ) -> None:
        if not 1 <= k < statistics.l:
            raise SamplerError(
                f"k: expected 1 to {statistics.l - 1}, smaller than the outer patch the statistics were fitted for "
                f"(l = {statistics.l}), found {k}; the paper uses l = k + 4"
            )
        if first_channel_for_all and statistics.joint:
            raise SamplerError(
                "first_channel_for_all: expected statistics for each channel on its own, found joint ones; fit them "
                "with joint=False"
            )
        if limits is not None:
            limits = _checked_limits(limits, statistics.channels)
        self.statistics = statistics
        self.k = k
        self.first_channel_for_all = first_channel_for_all
        self._limits = limits
        self._placements: dict[tuple[int, int], list[Block]] = {}
        self._said_what_was_clipped = False

    def sample(self, x: NDArray[np.float32], windows: NDArray[np.int64], count: int, seed: int) -> NDArray[np.float32]:
        """See `Sampler.sample`.

        Raises
        ------
        SamplerError
            If the photo does not have the statistics' channels, is smaller than an outer patch, or does not have
            the limits' shape.
        """
        samples = np.empty((len(windows), count, len(x), self.k, self.k), np.float32)
        for blocks, chunk, patches in self._outer_patches(x, windows, count):
            samples[chunk] = self._draw(blocks, patches, windows[chunk], count, seed)
        if self._limits is not None:
            low, high = (
                sliding_window_view(limit, (self.k, self.k), axis=(1, 2))[:, windows[:, 0], windows[:, 1]].swapaxes(
                    0, 1
                )
                for limit in self._limits
            )
            np.clip(samples, low[:, None], high[:, None], out=samples)
        return samples

    def conditional_mean(self, x: NDArray[np.float32], windows: NDArray[np.int64]) -> NDArray[np.float64]:
        """The mean of p(x_w | surround): what the surround predicts.

        Parameters and errors are those of `sample`.

        Returns
        -------
        ndarray, shape (n, C, k, k), float64
        """
        means = np.empty((len(windows), len(x), self.k, self.k))
        for blocks, chunk, patches in self._outer_patches(x, windows, 1):
            for block in blocks:
                shape = (len(chunk), -1, self.k, self.k)
                means[chunk, block.channels] = _mean(block, patches).reshape(shape)
        return means

    def _outer_patches(
        self, x: NDArray[np.float32], windows: NDArray[np.int64], count: int
    ) -> Iterator[tuple[list[Block], NDArray[np.int64], NDArray[np.float32]]]:
        """Numbers of windows that lie alike in their outer patches, and these, (n, C, l, l), a chunk at a time."""
        check_request(x, windows, count, self.k)
        self._check_photo(x)
        l = self.statistics.l
        corners = surround_positions(windows, self.k, l, *x.shape[1:])
        # Every outer patch of the photo, as views: (H - l + 1, W - l + 1, C, l, l).
        outer = sliding_window_view(x, (l, l), axis=(1, 2)).transpose(1, 2, 0, 3, 4)
        step = max(1, CHUNK_NUMBERS // (count * len(x) * self.k * self.k))
        for placement, members in _by_placement(windows - corners):
            blocks = self._blocks(placement)
            for start in range(0, len(members), step):
                chunk = members[start : start + step]
                # The products are small, and a BLAS's idle threads would spin where the network's are to work.
                with _BLAS.limit(limits=1, user_api="blas"):
                    yield blocks, chunk, outer[tuple(corners[chunk].T)]

    def _draw(
        self,
        blocks: list[Block],
        patches: NDArray[np.float32],
        windows: NDArray[np.int64],
        count: int,
        seed: int,
    ) -> NDArray[np.float64]:
        """Samples (n, count, C, k, k) of windows that lie alike in their outer patches (n, C, l, l)."""
        shape = (count, self.statistics.channels, self.k * self.k)
        normal = np.empty((len(windows), *shape))
        for numbers, (row, column) in zip(normal, windows.tolist(), strict=True):
            stream(seed, row, column, "gaussian").standard_normal(out=numbers)
        for block in blocks:
            mean = _mean(block, patches)
            drawn = normal[:, :, block.channels]
            deviations = exact_product(fixed_point(drawn.reshape(-1, len(block.window)), parts=1), block.root)
            drawn[:] = (mean[:, None] + deviations.reshape(len(windows), count, -1)).reshape(drawn.shape)
        return normal.reshape(len(windows), count, -1, self.k, self.k)

    def clipped(self, placement: tuple[int, int] | None = None) -> list[Clipped]:
        """What the cut-off of the factorisation left out (see `Clipped`), for each group of channels.

        Parameters
        ----------
        placement : (row, column), optional
            Of the window in its outer patch; by default as in the middle of a photo.
        """
        middle = (self.statistics.l - self.k) // 2
        return [block.clipped for block in self._blocks(placement or (middle, middle))]

    def describe(self) -> dict[str, Any]:
        """See `Sampler.describe`. What was clipped is that of a window in the middle of a photo."""
        return {
            "kind": "gaussian",
            "k": self.k,
            "l": self.statistics.l,
            "joint": self.statistics.joint,
            "first_channel_for_all": self.first_channel_for_all,
            "limits": self._limits_digest,
            "cutoff": CUTOFF,
            "clipped": [asdict(clipped) for clipped in self.clipped()],
            "patches": self.statistics.patches,
            "statistics": self.statistics.digest,
            "key": self.statistics.key,
        }

    @cached_property
    def _limits_digest(self) -> str | None:
        if self._limits is None:
            return None
        return hashlib.sha256(b"".join(limit.astype("<f4").tobytes() for limit in self._limits)).hexdigest()

    def _check_photo(self, x: NDArray[np.float32]) -> None:
        l, channels = self.statistics.l, self.statistics.channels
        if len(x) != channels:
            raise SamplerError(
                f"photo: expected {channels} channels, those of the Gaussian's statistics, found {len(x)}; prepare "
                f"photo and pool for the same network"
            )
        if l > min(x.shape[1:]):
            raise SamplerError(
                f"l: expected at most {min(x.shape[1:])}, the size of the photo ({x.shape[1]} x {x.shape[2]}), found "
                f"{l}; choose a smaller l"
            )
        if self._limits is not None and self._limits[0].shape != x.shape:
            raise SamplerError(
                f"limits: expected shape {x.shape}, the photo's, found {self._limits[0].shape}; take them from a pool "
                f"prepared for the same network"
            )

    def _blocks(self, placement: tuple[int, int]) -> list[Block]:
        """One block over all channels if the statistics are joint, else one for each channel."""
        if placement not in self._placements:
            self._placements[placement] = list(self._condition(placement))
            self._say_what_was_clipped(placement)
        return self._placements[placement]

    def _condition(self, placement: tuple[int, int]) -> Iterator[Block]:
        statistics, k = self.statistics, self.k
        together = statistics.channels if statistics.joint else 1
        inside = np.zeros((together, statistics.l, statistics.l), bool)
        row, column = placement
        inside[:, row : row + k, column : column + k] = True
        window, surround = np.flatnonzero(inside), np.flatnonzero(~inside)
        means = statistics.mean.reshape(-1, inside.size)
        covariances = statistics.covariance.reshape(-1, inside.size, inside.size)
        first = condition(covariances[0], window, surround)
        for group, mean in enumerate(means):
            # Authors' code: its files for the regression matrix and the covariance are not named by channel.
            own = first if group == 0 or self.first_channel_for_all else condition(covariances[group], window, surround)
            yield Block(
                slice(group * together, (group + 1) * together),
                window,
                surround,
                mean[window],
                mean[surround],
                fixed_point(own.regression, parts=2),
                fixed_point(own.root, parts=1),
                own.clipped,
            )

    def _say_what_was_clipped(self, placement: tuple[int, int]) -> None:
        """Once: the placements of one sampler hardly differ in this."""
        blocks = self._placements[placement]
        given = sum(block.clipped.given for block in blocks)
        drawn = sum(block.clipped.drawn for block in blocks)
        if (given or drawn) and not self._said_what_was_clipped:
            self._said_what_was_clipped = True
            logger.info(
                "near-singular covariance: %d of %d surround values (%.1e of their variance) are not conditioned on, "
                "and %d of %d directions of the window (%.1e of its variance) do not vary, at cut-off %.0e",
                given,
                sum(len(block.surround) for block in blocks),
                max(block.clipped.given_share for block in blocks),
                drawn,
                sum(len(block.window) for block in blocks),
                max(block.clipped.drawn_share for block in blocks),
                CUTOFF,
            )


def _mean(block: Block, patches: NDArray[np.float32]) -> NDArray[np.float64]:
    """Conditional means (n, numbers in the window) of windows that lie alike in their outer patches (n, C, l, l)."""
    values = patches[:, block.channels].reshape(len(patches), -1)
    surround = values[:, block.surround] - block.surround_mean
    return np.asarray(block.window_mean + exact_product(fixed_point(surround, parts=2), block.regression))


def _by_placement(offsets: NDArray[np.int64]) -> Iterator[tuple[tuple[int, int], NDArray[np.int64]]]:
    """Each placement that occurs, and the windows that have it."""
    placements, which = np.unique(offsets, axis=0, return_inverse=True)
    for index, (row, column) in enumerate(placements.tolist()):
        yield (row, column), np.flatnonzero(which == index)


def _checked_limits(
    limits: tuple[NDArray[np.float32], NDArray[np.float32]], channels: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    low, high = (np.asarray(limit, np.float32) for limit in limits)
    if low.shape != high.shape or low.ndim != 3 or len(low) != channels:
        raise SamplerError(
            f"limits: expected two arrays of shape ({channels}, H, W), found {low.shape} and {high.shape}; take them "
            f"from pool_limits"
        )
    if not (low <= high).all():
        raise SamplerError("limits: expected low <= high for every pixel, found others; take them from pool_limits")
    return low, high

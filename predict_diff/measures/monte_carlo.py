"""Monte-Carlo convergence: how a sampled map settles as the number of samples S grows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ConfigurationError, ResultError, in_short
from ..result import RelevanceMap
from ..top_pixels import finite_values
from .maps import Array
from .similarity import rank_correlation


@dataclass(frozen=True)
class Convergence:
    """How a map depends on the number of samples.

    Attributes
    ----------
    samples : ndarray, shape (n,), int64
        S, rising.
    standard_error : ndarray, shape (n,), float64
        Of a pixel of one map, root mean square over pixels, in the map's unit. Lower is better.
    rank_correlation : ndarray, shape (n,), float64
        With the map of the largest S; -1 to 1, higher is better.
    """

    samples: NDArray[np.int64]
    standard_error: Array
    rank_correlation: Array

    @property
    def expected(self) -> Array:
        """(n,): the line c / sqrt(S) of independent samples, c^2 the mean of S times the squared standard error."""
        return np.asarray(self._scale / np.sqrt(self.samples))

    @property
    def exponent(self) -> float:
        """Slope of the standard error over S, both logarithmic, by least squares: -1/2 for independent samples.

        NaN for a single S, and where nothing varies.
        """
        if len(self.samples) < 2 or (self.standard_error == 0).any():
            return float("nan")
        return float(np.polyfit(np.log(self.samples), np.log(self.standard_error), 1)[0])

    def samples_with_error(self, level: float) -> int | None:
        """The smallest S of these from which on the standard error stays at or below a level; None if none is."""
        return self._first(self.standard_error <= level)

    def samples_with_correlation(self, level: float) -> int | None:
        """The smallest S of these from which on the rank correlation stays at or above a level; None if none is."""
        return self._first(self.rank_correlation >= level)

    def expected_samples(self, level: float) -> int:
        """The S at which the line of `expected` reaches a standard error, also beyond the S of these.

        Raises
        ------
        ConfigurationError
            If the level is not positive.
        """
        if not 0 < level < np.inf:
            raise ConfigurationError(f"level: expected a positive standard error, found {level}")
        # Rounding must not add one to a whole number.
        return max(1, ceil((self._scale / level) ** 2 * (1 - 1e-12)))

    @property
    def _scale(self) -> float:
        return float(np.sqrt(np.mean(self.samples * np.square(self.standard_error))))

    def _first(self, reached: NDArray[np.bool_]) -> int | None:
        from_here_on = np.logical_and.accumulate(reached[::-1])[::-1]
        return int(self.samples[from_here_on.argmax()]) if from_here_on.any() else None


def convergence(samples: Sequence[int], maps: ArrayLike, errors: ArrayLike | None = None) -> Convergence:
    """How maps settle, from maps of growing S.

    Metropolis and Ulam, *The Monte Carlo method*, Journal of the American Statistical Association 44, 1949: the
    standard error of a mean of S independent samples is proportional to 1 / sqrt(S).

    Parameters
    ----------
    samples : sequence of int
        S of each, rising; n of them.
    maps : ndarray, shape (n, R, H, W), float
        Maps of one target and image with R seeds.
    errors : ndarray, shape (n, R, H, W), float, optional
        The standard errors that each map states (`RelevanceMap.map_errors`).

    Returns
    -------
    Convergence
        With several seeds, errors are the standard deviations over seeds, unbiased in their squares, and each map is
        compared with the mean map of the other seeds at the largest S: no samples are shared, and what is stated is
        not used. With one seed, errors are what the maps state, and each is compared with the one at the largest S,
        which itself has 1.

    Raises
    ------
    ConfigurationError
        If the numbers of samples are not positive and rising.
    ResultError
        If the maps have another shape, hold NaN or infinity (as errors at S = 1 do), or one is the same everywhere; or
        there is one seed and no errors.
    """
    counts = _rising(samples)
    stacked = finite_values(maps, "maps", dimensions=4)
    if len(stacked) != len(counts):
        raise ResultError(f"maps: expected one group for each of {len(counts)} S, found {len(stacked)}")
    repeats = stacked.shape[1]
    if repeats > 1:
        squared = stacked.var(axis=1, ddof=1)
    elif errors is None:
        raise ResultError(
            "maps: expected several seeds or the standard errors that maps state, found one seed alone; nothing says "
            "how far it is off"
        )
    else:
        squared = np.square(finite_values(errors, "standard errors", dimensions=4))
        if squared.shape != stacked.shape:
            raise ResultError(f"standard errors: expected the maps' shape {stacked.shape}, found {squared.shape}")
    largest = stacked[-1]
    references = [np.delete(largest, r, axis=0).mean(axis=0) for r in range(repeats)] if repeats > 1 else largest
    alike = [
        np.mean([rank_correlation(found, reference) for found, reference in zip(group, references, strict=True)])
        for group in stacked
    ]
    error = np.sqrt(squared.reshape(len(counts), -1).mean(axis=1))
    return Convergence(counts, error, np.array(alike, np.float64))


def converge(
    explain: Callable[[int, int], RelevanceMap | NDArray[np.floating]],
    samples: Sequence[int],
    seeds: Sequence[int] = (0, 1),
    target: int = 0,
) -> Convergence:
    """How maps settle, from a function that makes them; see `convergence`.

    Parameters
    ----------
    explain : function
        Of S and a seed; gives a `RelevanceMap`, or maps (U, H, W).
    samples : sequence of int
        S, rising.
    seeds : sequence of int, default (0, 1)
        Different ones. One is enough for RelevanceMaps of S >= 2: they state their standard errors.
    target : int, default 0
        Number of the target whose map is looked at.

    Returns
    -------
    Convergence

    Raises
    ------
    ConfigurationError
        If the numbers of samples are not positive and rising, or the seeds not different ones (before anything is
        computed); or there is no such target.
    ResultError
        As `convergence`.
    """
    _rising(samples)
    if np.ndim(seeds) != 1 or len(seeds) == 0 or len(set(seeds)) < len(seeds):
        raise ConfigurationError(
            f"seeds: expected different ones, found {in_short(seeds)}; each stands for another run"
        )
    found = [[explain(count, seed) for seed in seeds] for count in samples]
    maps = [[_map(entry, target) for entry in group] for group in found]
    shapes = {values.shape for group in maps for values in group}
    if len(shapes) > 1:
        raise ResultError(f"maps: expected those of one image, found sizes {sorted(shapes)}")
    errors = [[_error(entry, target) for entry in group] for group in found] if len(seeds) == 1 else None
    known = errors is not None and all(error is not None for group in errors for error in group)
    return convergence(samples, np.array(maps), np.array(errors) if known else None)


def _rising(samples: Sequence[int]) -> NDArray[np.int64]:
    """The numbers of samples. ConfigurationError unless they are positive and rising."""
    counts = np.asarray(samples)
    whole = counts.ndim == 1 and counts.size > 0 and np.issubdtype(counts.dtype, np.integer)
    if not whole or counts[0] < 1 or (np.diff(counts) <= 0).any():
        raise ConfigurationError(f"S: expected whole numbers that rise, from 1 on, found {in_short(samples)}")
    return counts.astype(np.int64)


def _map(entry: RelevanceMap | NDArray[np.floating], target: int) -> NDArray[np.floating]:
    count = len(entry.targets) if isinstance(entry, RelevanceMap) else len(entry)
    if not 0 <= target < count:
        raise ConfigurationError(f"target: expected the number of a map, 0 to {count - 1}, found {target}")
    maps = entry.maps_of([target]) if isinstance(entry, RelevanceMap) else entry[[target]]
    return np.asarray(maps[0])


def _error(entry: RelevanceMap | NDArray[np.floating], target: int) -> Array | None:
    return np.asarray(entry.map_errors_of([target])[0]) if isinstance(entry, RelevanceMap) else None

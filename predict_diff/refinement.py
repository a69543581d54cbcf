"""From a coarse map to a finer one: windows that were computed before are not computed again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import ConfigurationError
from .result import RelevanceMap
from .targets import Target
from .windows import WindowGrid

#: What has to be the same for a window of one map to be one of the other.
CONFIGURATION = ("network", "sampler", "samples", "seed", "laplace_instances", "faults")


def shared_windows(
    coarser: RelevanceMap,
    grid: WindowGrid,
    targets: Sequence[Target],
    known: NDArray[np.float64],
    provenance: Mapping[str, Any],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Windows of a grid that a coarser map of the same configuration has.

    Parameters
    ----------
    coarser : RelevanceMap
    grid : WindowGrid
    targets : sequence of Target
    known : ndarray, shape (U,), float64
        The targets of the photo itself, by which another photo is noticed.
    provenance : mapping
        Has at least the entries of `CONFIGURATION`.

    Returns
    -------
    places, numbers : ndarray, shape (shared,), int64
        Numbers of the same windows in the grid, and in the coarser map.

    Raises
    ------
    ConfigurationError
        If the map is of another configuration.
    """
    ours = {"size of the photo": (grid.height, grid.width), "k": grid.k, "targets": tuple(targets)}
    theirs = {
        "size of the photo": (coarser.grid.height, coarser.grid.width),
        "k": coarser.grid.k,
        "targets": coarser.targets,
    }
    ours |= {name: provenance[name] for name in CONFIGURATION}
    theirs |= {name: coarser.provenance.get(name) for name in CONFIGURATION}
    strange = [name for name, value in ours.items() if theirs[name] != value]
    if not strange and not np.allclose(known, coarser.known, rtol=1e-5, atol=1e-6):
        strange.append("photo")
    if strange:
        raise ConfigurationError(
            f"coarser map: expected one of the same configuration, found another {strange[0]}; compute it anew"
        )
    numbers = np.full((grid.height, grid.width), -1)
    numbers[tuple(grid.positions.T)] = np.arange(len(grid))
    places = numbers[tuple(coarser.grid.positions.T)]
    # Authors' code: a window that counts twice is the mean of two.
    shared = np.flatnonzero((places >= 0) & (coarser.counts == 1))
    return places[shared], shared

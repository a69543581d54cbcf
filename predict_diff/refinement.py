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
CONFIGURATION = ("network", "photo_sha256", "sampler", "samples", "seed", "laplace_instances", "faults")
#: And of the network; which version of ONNX Runtime runs it moves no more than last bits.
_OF_THE_NETWORK = ("sha256", "provider", "precision")


def shared_windows(
    coarser: RelevanceMap,
    grid: WindowGrid,
    targets: Sequence[Target],
    provenance: Mapping[str, Any],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Windows of a grid that a coarser map of the same configuration has.

    Parameters
    ----------
    coarser : RelevanceMap
    grid : WindowGrid
    targets : sequence of Target
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
    ours |= _configuration(provenance)
    theirs |= _configuration(coarser.provenance)
    if strange := [name for name, value in ours.items() if theirs[name] != value]:
        raise ConfigurationError(
            f"coarser map: expected one of the same configuration, found another "
            f"{strange[0].removesuffix('_sha256')}; compute it anew"
        )
    numbers = np.full((grid.height, grid.width), -1)
    numbers[tuple(grid.positions.T)] = np.arange(len(grid))
    places = numbers[tuple(coarser.grid.positions.T)]
    # Authors' code: a window that counts twice is the mean of two.
    shared = np.flatnonzero((places >= 0) & (coarser.counts == 1))
    return places[shared], shared


def _configuration(provenance: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: provenance.get(name) for name in CONFIGURATION}
    return found | {"network": [(found["network"] or {}).get(name) for name in _OF_THE_NETWORK]}

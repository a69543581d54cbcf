"""A relevance map as a .npz file, which NumPy alone reads, without pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import ResultError
from .layout import Layout
from .npz import StoredArrays, write_arrays


def write_npz(path: Path, kind: str, layout: Layout, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write a relevance map; ResultError if it cannot be written.

    Beside the arrays, the file holds ``kind``, ``grid`` (height, width, k and stride), ``targets``, ``measures``,
    ``map_dtype`` and ``provenance`` (JSON), all but the grid as texts.

    Parameters
    ----------
    path : Path
        Replaced if it exists; missing folders are made.
    kind : str
        What the file is to say that it holds.
    layout : Layout
    arrays : mapping of str to ndarray
        Of numbers.
    """
    grid = layout.grid
    described: dict[str, NDArray[Any]] = {
        "kind": np.array(kind),
        "grid": np.array([grid.height, grid.width, grid.k, grid.stride], np.int64),
        "targets": np.array([str(target) for target in layout.targets]),
        "measures": np.array(layout.measures),
        "map_dtype": np.array(layout.map_dtype),
        "provenance": np.array(json.dumps(layout.provenance, sort_keys=True)),
    }
    write_arrays(path, {**described, **arrays}, ResultError)


def read_layout(stored: StoredArrays, kind: str) -> Layout:
    """All that a file which `write_npz` has written says, but for its arrays.

    Parameters
    ----------
    stored : StoredArrays
    kind : str
        What the file must say that it holds.

    Raises
    ------
    ConfigurationError, or one of `predict_diff.npz.READ_ERRORS`
        If the file is another's, damaged, claims more than it holds, or contradicts itself.
    """
    if stored.text("kind") != kind:
        raise ValueError(f"its member 'kind' is not {kind!r}")
    provenance = json.loads(stored.text("provenance"))
    if not isinstance(provenance, dict):
        raise ValueError("'provenance' is no JSON object")
    return Layout.checked(
        stored.numbers("grid", (4,), "int64").tolist(),
        stored.texts("targets"),
        stored.texts("measures"),
        stored.text("map_dtype"),
        provenance,
    )

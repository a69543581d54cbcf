"""The result of Algorithm 1, and its HDF5 file."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
from numpy.typing import NDArray

from .errors import ConfigurationError, ResultError
from .layout import Layout
from .sealed import open_sealed, write_sealed
from .targets import Measure, Target
from .untrusted import READ_ERRORS, array
from .windows import WindowGrid

#: What the file says it is, with the version of its layout.
KIND = "prediction-difference relevance map 1"

#: Maps of many targets are left out of the file if they take more bytes: they follow from what windows count.
_LARGEST_MAPS = 1 << 26

Array = NDArray[np.float64]


@dataclass(frozen=True)
class RelevanceMap:
    """How much each window, and each pixel, speaks for some targets.

    Attributes
    ----------
    grid : WindowGrid
        Where the windows lie.
    targets : tuple of Target
        What is explained; U of them.
    measures : tuple of {"WE", "AD"}
        Weight of evidence (bits) or activation difference (the unit's own units), for each target.
    known : ndarray, shape (U,), float64
        The targets of the photo itself, p(c | x).
    expected : ndarray, shape (U, n), float64
        Their means over the samples of each window, p(c | x without the window).
    relevance : ndarray, shape (U, n), float64
        Relevance of each window. These, not running sums, are what is stored: maps are then independent of the
        order in which windows were computed.
    standard_error : ndarray, shape (U, n), float64
        Monte-Carlo error of `relevance`; NaN at S = 1.
    counts : ndarray, shape (n,), int64
        How often each window counts in the average: once, but for a fault of the authors' code.
    map_dtype : {"float64", "float16"}
        What maps are rounded to. Authors' code: float16.
    provenance : dict
        All that is needed to do it again, JSON-able.
    """

    grid: WindowGrid
    targets: tuple[Target, ...]
    measures: tuple[Measure, ...]
    known: Array
    expected: Array
    relevance: Array
    standard_error: Array
    counts: NDArray[np.int64]
    map_dtype: Literal["float64", "float16"] = "float64"
    provenance: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def maps(self) -> NDArray[np.floating]:
        """(U, H, W): the mean relevance of the windows that contain each pixel, Algorithm 1's last line."""
        return self.maps_of(slice(None))

    def maps_of(self, targets: slice | Sequence[int]) -> NDArray[np.floating]:
        """The maps of some of the targets, by number; (U', H, W). For the maps of a blob, all would fill the memory."""
        weights = self.counts.astype(np.float64)
        averages = self.grid.average(self.relevance[targets] * weights) / self.grid.average(weights)
        return averages.astype(self.map_dtype)

    @cached_property
    def map_errors(self) -> Array:
        """(U, H, W): standard errors of `maps`."""
        return self.map_errors_of(slice(None))

    def map_errors_of(self, targets: slice | Sequence[int]) -> Array:
        """Standard errors of `maps_of`."""
        weights = self.counts.astype(np.float64)
        return self.grid.average_standard_error(self.standard_error[targets] * weights) / self.grid.average(weights)

    def save(self, path: str | Path) -> Path:
        """Write the HDF5 file, under a temporary name first. ResultError if it cannot be written.

        Beside the attributes above it holds ``positions`` and, unless they are very many, ``maps`` and
        ``map_errors``, for readers that know nothing of this class.
        """
        path = Path(path)
        write_sealed(path, KIND, self._fill, ResultError)
        return path

    def _fill(self, stored: h5py.File) -> None:
        Layout(self.grid, self.targets, self.measures, self.map_dtype, self.provenance).write(stored)
        derived = ("maps", "map_errors") if stores_maps(self.grid, len(self.targets)) else ()
        for name in ("known", "expected", "relevance", "standard_error", "counts", *derived):
            stored.create_dataset(name, data=getattr(self, name), compression="gzip", shuffle=True)
        stored.create_dataset("positions", data=self.grid.positions)

    @classmethod
    def load(cls, path: str | Path) -> RelevanceMap:
        """Read a file that `save` has written.

        Raises
        ------
        ResultError
            If the file is missing, damaged, of another format, or contradicts itself.
        """
        path = Path(path)
        if not path.is_file():
            raise ResultError(f"{path}: expected a relevance map (HDF5), found no such file")
        try:
            with open_sealed(path, KIND) as stored:
                return cls._read(stored)
        except (*READ_ERRORS, ConfigurationError) as error:
            raise ResultError(
                f"{path}: expected a relevance map (HDF5), but it cannot be read ({' '.join(str(error).split())}); "
                f"delete the file, or say --force, to have it computed again"
            ) from error

    @classmethod
    def _read(cls, stored: h5py.File) -> RelevanceMap:
        layout = Layout.read(stored)
        one, many = (len(layout.targets),), (len(layout.targets), len(layout.grid))

        return cls(
            grid=layout.grid,
            targets=layout.targets,
            measures=layout.measures,
            known=array(stored, "known", one, "float64"),
            expected=array(stored, "expected", many, "float64"),
            relevance=array(stored, "relevance", many, "float64"),
            standard_error=array(stored, "standard_error", many, "float64"),
            counts=array(stored, "counts", many[1:], "int64"),
            map_dtype=layout.map_dtype,
            provenance=layout.provenance,
        )


def stores_maps(grid: WindowGrid, targets: int) -> bool:
    """Whether the maps of so many targets are few enough to be in the file."""
    return targets * grid.height * grid.width * 8 <= _LARGEST_MAPS


def versions() -> dict[str, str]:
    """Versions of what makes the numbers."""
    return dict(_versions())


@cache
def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in ("prediction-difference", "numpy", "scipy", "onnx", "onnxruntime-gpu", "onnxruntime"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found

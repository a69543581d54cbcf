"""The result of Algorithm 1, and its HDF5 file."""

from __future__ import annotations

import json
import platform
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast

import h5py
import numpy as np
from numpy.typing import NDArray

from .errors import ConfigurationError, ResultError
from .storage import whole_file
from .targets import Measure, Target
from .windows import WindowGrid

#: Version of the file's layout.
FORMAT = 1

#: Files with more windows or targets than this are not ours.
_LARGEST = 1 << 28

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
    provenance: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def maps(self) -> Array:
        """(U, H, W): the mean relevance of the windows that contain each pixel, Algorithm 1's last line."""
        weights = self.counts.astype(np.float64)
        return self.grid.average(self.relevance * weights) / self.grid.average(weights)

    @cached_property
    def map_errors(self) -> Array:
        """(U, H, W): standard errors of `maps`."""
        weights = self.counts.astype(np.float64)
        return self.grid.average_standard_error(self.standard_error * weights) / self.grid.average(weights)

    def save(self, path: str | Path) -> Path:
        """Write the HDF5 file, under a temporary name first. ResultError if it cannot be written.

        Beside the attributes above it holds ``maps``, ``map_errors`` and ``positions``, for readers that know
        nothing of this class.
        """
        path = Path(path)
        with whole_file(path, ResultError) as file, h5py.File(file, "w") as stored:
            stored.attrs["format"] = FORMAT
            stored.attrs["provenance"] = json.dumps(self.provenance, sort_keys=True)
            stored.attrs["targets"] = [str(target) for target in self.targets]
            stored.attrs["measures"] = list(self.measures)
            stored.attrs["grid"] = [self.grid.height, self.grid.width, self.grid.k, self.grid.stride]
            for name in ("known", "expected", "relevance", "standard_error", "counts", "maps", "map_errors"):
                stored.create_dataset(name, data=getattr(self, name))
            stored.create_dataset("positions", data=self.grid.positions)
        return path

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
            with h5py.File(path, "r") as stored:
                return cls._read(path, stored)
        except ResultError:
            raise
        except (OSError, KeyError, ValueError, TypeError, RuntimeError, ConfigurationError) as error:
            raise ResultError(
                f"{path}: expected a relevance map (HDF5), but it cannot be read ({' '.join(str(error).split())}); "
                f"delete the file to have it computed again"
            ) from error

    @classmethod
    def _read(cls, path: Path, stored: h5py.File) -> RelevanceMap:
        found = stored.attrs.get("format")
        if found != FORMAT:
            raise ResultError(f"{path}: expected format {FORMAT} of a relevance map, found {found}")
        grid = WindowGrid(*(int(number) for number in stored.attrs["grid"]))
        targets = tuple(Target.parse(str(text)) for text in stored.attrs["targets"])
        measures = tuple(str(text) for text in stored.attrs["measures"])
        if len(grid) * max(1, len(targets)) > _LARGEST or len(measures) != len(targets) or set(measures) - {"WE", "AD"}:
            raise ResultError(f"{path}: its targets, measures and windows do not fit together")
        shapes = {
            "known": (len(targets),),
            "expected": (len(targets), len(grid)),
            "relevance": (len(targets), len(grid)),
            "standard_error": (len(targets), len(grid)),
            "counts": (len(grid),),
        }
        arrays = {}
        for name, shape in shapes.items():
            if stored[name].shape != shape or stored.get(name, getlink=True).__class__ is not h5py.HardLink:
                raise ResultError(f"{path}: expected '{name}' with shape {shape}, found {stored[name].shape}")
            arrays[name] = np.asarray(stored[name], np.int64 if name == "counts" else np.float64)
        return cls(
            grid=grid,
            targets=targets,
            measures=cast("tuple[Measure, ...]", measures),
            provenance=json.loads(stored.attrs["provenance"]),
            **arrays,
        )


def versions() -> dict[str, str]:
    """Versions of what makes the numbers."""
    found = {"python": platform.python_version()}
    for package in ("prediction-difference", "numpy", "scipy", "onnx", "onnxruntime-gpu", "onnxruntime"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found

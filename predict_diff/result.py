"""The result of Algorithm 1, its files, and how a notebook shows it."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import h5py
import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from .errors import ConfigurationError, ResultError
from .export import read_layout, write_npz
from .layout import Layout, MapDtype
from .npz import READ_ERRORS, open_arrays
from .sealed import open_sealed, write_sealed
from .targets import Measure, Target
from .untrusted import array
from .windows import WindowGrid

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .display import Shown
    from .plot import Palette

#: What a file says it is, with the version of its layout.
KIND = "prediction-difference relevance map 1"

#: Maps of many targets are left out of the file if they take more bytes: they follow from what windows count.
_LARGEST_MAPS = 1 << 26

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
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
    map_dtype: MapDtype = "float64"
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

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """`maps`, for NumPy's functions."""
        return np.asarray(self.maps, dtype) if copy is None else np.array(self.maps, dtype, copy=copy)

    def figure(
        self, photo: ArrayLike | None = None, targets: Sequence[int] | None = None, palette: Palette = "paper"
    ) -> Figure:
        """The maps of some of the targets as a matplotlib figure; see `predict_diff.display.Shown`."""
        return self.show(photo, targets, palette).figure()

    def show(
        self, photo: ArrayLike | None = None, targets: Sequence[int] | None = None, palette: Palette = "paper"
    ) -> Shown:
        """The maps of some of the targets, for a notebook to show; see `predict_diff.display.Shown`."""
        from .display import Shown  # matplotlib takes a second, which those who draw nothing need not wait for

        return Shown(self, photo, targets, palette)

    def __repr__(self) -> str:
        grid, first = self.grid, self.targets[0]
        more = f" and {len(self.targets) - 1:,} more" if len(self.targets) > 1 else ""
        return (
            f"<RelevanceMap of {first}{more}: {grid.height} x {grid.width} pixels, {len(grid):,} windows of "
            f"{grid.k} x {grid.k}>"
        )

    def _repr_html_(self) -> str:
        return self.show()._repr_html_()

    def _repr_png_(self) -> bytes:
        return self.show()._repr_png_()

    def save(self, path: str | Path) -> Path:
        """Write a file, under a temporary name first.

        Beside the attributes above, ``.h5`` and ``.npz`` files hold ``positions`` and, unless they are very many,
        ``maps`` and ``map_errors``, for readers that know nothing of this class.

        Parameters
        ----------
        path : path
            Its suffix says what is written: ``.h5`` or ``.hdf5`` (HDF5), ``.npz`` (NumPy's), or ``.png``, a picture,
            which `load` cannot read.

        Raises
        ------
        ResultError
            If the file cannot be written, or has another suffix.
        """
        path = Path(path)
        suffix = path.suffix.lower()
        if suffix in (".h5", ".hdf5"):
            write_sealed(path, KIND, self._fill, ResultError)
        elif suffix == ".npz":
            write_npz(path, KIND, self._layout, self._arrays())
        elif suffix == ".png":
            self.show().write(path)
        else:
            raise ResultError(f"{path}: expected a name that ends in .h5, .hdf5, .npz or .png, found '{suffix}'")
        return path

    @property
    def _layout(self) -> Layout:
        return Layout(self.grid, self.targets, self.measures, self.map_dtype, self.provenance)

    def _arrays(self) -> dict[str, NDArray[Any]]:
        """Numbers of a file, by name."""
        derived = ("maps", "map_errors") if stores_maps(self.grid, len(self.targets)) else ()
        names = ("known", "expected", "relevance", "standard_error", "counts", *derived)
        return {**{name: getattr(self, name) for name in names}, "positions": self.grid.positions}

    def _fill(self, stored: h5py.File) -> None:
        self._layout.write(stored)
        for name, values in self._arrays().items():
            packing = {} if name == "positions" else {"compression": "gzip", "shuffle": True}
            stored.create_dataset(name, data=values, **packing)

    @classmethod
    def load(cls, path: str | Path) -> RelevanceMap:
        """Read a file that `save` has written: a .npz file by its suffix, HDF5 else.

        Raises
        ------
        ResultError
            If the file is missing, damaged, of another format, or contradicts itself.
        """
        path = Path(path)
        packed = path.suffix.lower() == ".npz"
        expected = f"{path}: expected a relevance map ({'.npz' if packed else 'HDF5'})"
        try:
            if not path.is_file():
                raise ResultError(f"{expected}, found no such file")
            if packed:
                with open_arrays(path) as stored:
                    return cls._read(read_layout(stored, KIND), stored.numbers)
            with open_sealed(path, KIND) as file:
                return cls._read(Layout.read(file), partial(array, file))
        except (*READ_ERRORS, ConfigurationError) as error:
            raise ResultError(
                f"{expected}, but it cannot be read ({' '.join(str(error).split())}); "
                f"delete the file, or say --force, to have it computed again"
            ) from error

    @classmethod
    def _read(
        cls, layout: Layout, numbers: Callable[[str, tuple[int, ...], Literal["float64", "int64"]], NDArray[Any]]
    ) -> RelevanceMap:
        """Made from a file's layout, and from what gives its arrays by name, shape and type."""
        one, many = (len(layout.targets),), (len(layout.targets), len(layout.grid))
        return cls(
            grid=layout.grid,
            targets=layout.targets,
            measures=layout.measures,
            known=numbers("known", one, "float64"),
            expected=numbers("expected", many, "float64"),
            relevance=numbers("relevance", many, "float64"),
            standard_error=numbers("standard_error", many, "float64"),
            counts=numbers("counts", many[1:], "int64"),
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

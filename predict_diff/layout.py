"""What the HDF5 files of maps and journals say alike of a map: its windows, its targets, how it was made."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast, get_args

import h5py

from . import untrusted
from .targets import Measure, Target
from .windows import WindowGrid

#: Pixels along a side of a network's input, beyond which windows are not even counted. Classifiers take up to 1,000.
_LARGEST_SIDE = 4096

#: What maps are rounded to. Authors' code: float16.
MapDtype = Literal["float64", "float16"]


@dataclass(frozen=True)
class Layout:
    """Attributes of `RelevanceMap` that do not depend on a single window."""

    grid: WindowGrid
    targets: tuple[Target, ...]
    measures: tuple[Measure, ...]
    map_dtype: MapDtype = "float64"
    provenance: dict[str, Any] = field(default_factory=dict)

    def write(self, stored: h5py.File) -> None:
        """Put it into a file's attributes."""
        stored.attrs["provenance"] = json.dumps(self.provenance, sort_keys=True)
        stored.attrs["targets"] = [str(target) for target in self.targets]
        stored.attrs["measures"] = list(self.measures)
        stored.attrs["map_dtype"] = self.map_dtype
        stored.attrs["grid"] = [self.grid.height, self.grid.width, self.grid.k, self.grid.stride]

    @classmethod
    def read(cls, stored: h5py.File) -> Layout:
        """Take it from a file's attributes.

        Raises
        ------
        ValueError, KeyError, TypeError, OSError, RecursionError, ConfigurationError
            If the file is another's, claims more than it holds, or contradicts itself.
        """
        return cls.checked(
            [int(number) for number in untrusted.attribute(stored, "grid")],
            [str(text) for text in untrusted.attribute(stored, "targets")],
            [str(text) for text in untrusted.attribute(stored, "measures")],
            untrusted.text(stored, "map_dtype"),
            untrusted.fields(stored, "provenance"),
        )

    @classmethod
    def checked(
        cls,
        grid: Sequence[int],
        targets: Sequence[str],
        measures: Sequence[str],
        map_dtype: str,
        provenance: dict[str, Any],
    ) -> Layout:
        """What a file says, if it can be true; the grid as height, width, k and stride.

        Raises
        ------
        ValueError, ConfigurationError
            If it cannot.
        """
        if len(grid) != 4 or max(grid) > _LARGEST_SIDE:
            raise ValueError(f"expected height, width, k and stride of at most {_LARGEST_SIDE}, found others")
        windows = WindowGrid(*grid)
        parsed = tuple(map(Target.parse, targets))
        if len(measures) != len(targets) or set(measures) - set(get_args(Measure)):
            raise ValueError("its targets and measures do not fit together")
        if map_dtype not in get_args(MapDtype):
            raise ValueError(f"expected maps in float64 or float16, found {map_dtype[:80]}")
        return cls(windows, parsed, cast("tuple[Measure, ...]", tuple(measures)), cast(MapDtype, map_dtype), provenance)

"""What the HDF5 files of maps and journals say alike of a map: its windows, its targets, how it was made."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import h5py

from . import untrusted
from .targets import Measure, Target
from .windows import WindowGrid

#: Pixels along a side of a network's input, beyond which windows are not even counted. Classifiers take up to 1,000.
_LARGEST_SIDE = 4096


@dataclass(frozen=True)
class Layout:
    """Attributes of `RelevanceMap` that do not depend on a single window."""

    grid: WindowGrid
    targets: tuple[Target, ...]
    measures: tuple[Measure, ...]
    map_dtype: Literal["float64", "float16"] = "float64"
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
        numbers = [int(number) for number in untrusted.attribute(stored, "grid")]
        if len(numbers) != 4 or max(numbers) > _LARGEST_SIDE:
            raise ValueError(f"expected height, width, k and stride of at most {_LARGEST_SIDE}, found others")
        grid = WindowGrid(*numbers)
        targets = tuple(Target.parse(str(text)) for text in untrusted.attribute(stored, "targets"))
        measures = tuple(str(text) for text in untrusted.attribute(stored, "measures"))
        map_dtype = untrusted.text(stored, "map_dtype")
        if len(measures) != len(targets) or set(measures) - {"WE", "AD"}:
            raise ValueError("its targets and measures do not fit together")
        if map_dtype not in ("float64", "float16"):
            raise ValueError(f"expected maps in float64 or float16, found {map_dtype[:80]}")
        return cls(
            grid,
            targets,
            cast("tuple[Measure, ...]", measures),
            cast('Literal["float64", "float16"]', map_dtype),
            untrusted.fields(stored, "provenance"),
        )

"""Arrays that took time, in sealed HDF5 files whose names hold a hash of all that the arrays depend on."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from predict_diff.errors import ResultError
from predict_diff.sealed import open_sealed, write_sealed
from predict_diff.untrusted import READ_ERRORS, array, fields

logger = logging.getLogger(__name__)

#: What the files say they are, with the version of their layout.
KIND = "prediction-difference comparison 1"

Array = NDArray[np.float64]
Identity = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Stored:
    """What a file holds.

    Attributes
    ----------
    arrays : dict of str to ndarray, float64
    provenance : dict
        How they came about, JSON-able; its ``identity`` is all that the arrays depend on.
    """

    arrays: dict[str, Array]
    provenance: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Store:
    """A folder of such files.

    Attributes
    ----------
    folder : Path
    force : bool
        Files that are damaged are deleted and made again; else they are errors.
    """

    folder: Path
    force: bool = False

    def path(self, stem: str, identity: Identity) -> Path:
        """Where the arrays of an identity lie; `stem` says in words what they are."""
        key = hashlib.sha256(_text(identity).encode()).hexdigest()[:12]
        words = re.sub(r"[^\w.-]+", "_", stem).encode()[:200].decode(errors="ignore")
        return self.folder / f"{words}-{key}.h5"

    def load(self, stem: str, identity: Identity) -> Stored | None:
        """The arrays of an identity; None if there are none.

        Raises
        ------
        ResultError
            If the file is damaged, unless it may be made again, or holds something else.
        """
        path = self.path(stem, identity)
        if not path.exists():
            return None
        try:
            with open_sealed(path, KIND) as file:
                found = _read(file)
        except READ_ERRORS as reason:
            problem = (
                f"{path}: expected stored numbers of a comparison (HDF5), but they cannot be read "
                f"({' '.join(str(reason).split())})"
            )
            if not self.force:
                raise ResultError(f"{problem}; delete the file, or say --force, to have it made again") from reason
            logger.warning("%s; they are computed again.", problem)
            if path.is_file():
                path.unlink(missing_ok=True)
            return None
        if _text(found.provenance.get("identity")) != _text(identity):
            raise ResultError(f"{path}: expected the numbers of this configuration, found others; delete the file")
        return found

    def save(self, stem: str, identity: Identity, found: Stored) -> Stored:
        """Write arrays, whole or not at all. ResultError if they cannot be written."""
        kept = Stored(found.arrays, {**found.provenance, "identity": dict(identity)})

        def fill(file: h5py.File) -> None:
            file.attrs["provenance"] = json.dumps(kept.provenance, sort_keys=True)
            file.attrs["shapes"] = json.dumps({name: values.shape for name, values in kept.arrays.items()})
            for name, values in kept.arrays.items():
                packed = {} if values.size < 2 else {"compression": "gzip", "shuffle": True}
                file.create_dataset(name, data=np.asarray(values, np.float64), **packed)

        write_sealed(self.path(stem, identity), KIND, fill, ResultError)
        return kept

    def kept(self, stem: str, identity: Identity, compute: Callable[[], Stored]) -> Stored:
        """The arrays of an identity, computed unless they are there."""
        return self.load(stem, identity) or self.save(stem, identity, compute())


def _read(file: h5py.File) -> Stored:
    shapes = fields(file, "shapes")
    for name, shape in shapes.items():
        if not all(isinstance(size, int) and size >= 0 for size in shape) or math.prod(shape) == 0:
            raise ValueError(f"'{name}' has no shape")
    return Stored(
        {name: array(file, name, tuple(shape), "float64") for name, shape in shapes.items()}, fields(file, "provenance")
    )


def _text(identity: Any) -> str:
    return json.dumps(identity, sort_keys=True)

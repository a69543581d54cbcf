"""What the files of a figure say about how it was made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import h5py
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from predict_diff.errors import ResultError
from predict_diff.sealed import open_sealed
from predict_diff.untrusted import READ_ERRORS, member, text

from ..config import Settings
from ..figures.saving import KIND

_BEST: TypeAdapter[list[tuple[str, float]]] = TypeAdapter(Annotated[list[tuple[str, float]], Field(min_length=1)])
_PROVENANCE = "provenance_"


class _Known(BaseModel):
    """What the report needs to know of something that holds more."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class NetworkUsed(_Known):
    """The network that a map was made with; hashes are hexadecimal digits of SHA-256."""

    sha256: str
    provider: str
    precision: str
    converted_from: dict[str, str]


class PhotoUsed(_Known):
    """The photo that a map explains, and what had to be done to read it."""

    name: str
    source: str
    notes: tuple[str, ...]


class PoolUsed(_Known):
    """Where samples came from: ``default`` or a folder, and the names of its photos."""

    source: str
    photos: tuple[str, ...]


class MapMade(_Known):
    """How one relevance map was made: all that its numbers depend on, and what it took."""

    identity: dict[str, Any]
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    evaluator: str
    network: NetworkUsed
    photo: PhotoUsed
    pool: PoolUsed
    versions: dict[str, str]


@dataclass(frozen=True)
class Shown:
    """One photo before one network, as a figure shows it.

    Attributes
    ----------
    photo, network : str
        Their names.
    stands_in_for : str
        The paper's network, or an empty string.
    settings : Settings
    best : list of (str, float)
        Classes with the highest probability.
    maps : dict
        How the relevance map of each sampler was made.
    """

    photo: str
    network: str
    stands_in_for: str
    settings: Settings
    best: list[tuple[str, float]]
    maps: dict[str, MapMade]


@dataclass(frozen=True)
class MadeFigure:
    """A figure on the disk.

    Attributes
    ----------
    name, title : str
    caption : str
        What the paper shows there; may be empty.
    png : Path
        The PDF and the HDF5 file lie beside it.
    shown : list of Shown
    """

    name: str
    title: str
    caption: str
    png: Path
    shown: list[Shown]

    @cached_property
    def seconds(self) -> float:
        """What its maps took, when they were computed."""
        return sum(made.seconds for item in self.shown for made in item.maps.values())


def read_shown(path: Path) -> list[Shown]:
    """What a figure's HDF5 file shows, in the order of its panels.

    Raises
    ------
    ResultError
        If the file is missing, damaged, of another kind, or lacks something.
    """
    try:
        with open_sealed(path, KIND) as stored:
            shown = [_shown(member(stored, name)) for name in sorted(stored, key=int)]
            if not shown:
                raise ValueError("it has no panels")
            return shown
    except READ_ERRORS as error:
        reason = _first_problem(error) if isinstance(error, ValidationError) else " ".join(str(error).split())
        raise ResultError(
            f"{path}: expected the arrays of a figure (HDF5), but it cannot be read ({reason}); delete the file, or "
            f"say --force, to have it made again"
        ) from error


def distinct(items: Iterable[object], name: str) -> str:
    """The values of an attribute, each once, in the order in which they come."""
    return ", ".join(dict.fromkeys(_words(getattr(item, name)) for item in items))


def _words(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " ".join(map(str, value)) or "none"
    return str(value)


def _shown(group: h5py.Group) -> Shown:
    maps = {
        name.removeprefix(_PROVENANCE): MapMade.model_validate_json(text(group, name))
        for name in sorted(group.attrs)
        if name.startswith(_PROVENANCE)
    }
    return Shown(
        photo=text(group, "photo"),
        network=text(group, "network"),
        stands_in_for=text(group, "stands_in_for"),
        settings=Settings.model_validate_json(text(group, "settings")),
        best=_BEST.validate_json(text(group, "best")),
        maps=maps,
    )


def _first_problem(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"

"""What the YAML of a study and that of a comparison say alike: which photos, before which networks."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from predict_diff.errors import closest

from .validation import Strict

#: One text stands for a list of one.
Texts = Annotated[list[str], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)]


class PhotosAndNetworks(Strict):
    """The fields that both have."""

    title: str = Field(min_length=1, max_length=200)
    photos: Texts = Field(min_length=1)
    networks: Texts = Field(min_length=1)
    cards: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _cards_of_networks(self) -> Self:
        for name in self.cards:
            if name not in self.networks:
                raise ValueError(f"cards: expected names of `networks`, found '{name}'{closest(name, self.networks)}")
        return self


@dataclass(frozen=True)
class NetworkAsked:
    """What `open_classifier` takes: a name in models/ or the absolute path of an ONNX file, and a card for that."""

    name: str
    card: str | None

    @classmethod
    def of(cls, name: str, card: str | None, folder: Path) -> NetworkAsked:
        """One that a YAML in this folder names."""
        return cls(str(under(folder, name)) if name.endswith(".onnx") else name, card)


def folder_of(source: Path) -> Path:
    """Where relative paths of a YAML start; the same from wherever the YAML is named."""
    return _plain(source.absolute()).parent


def under(folder: Path, text: str) -> Path:
    """A path of the YAML, ``~`` included, as an absolute one."""
    path = Path(text)
    try:
        return _plain(folder / path.expanduser())
    except RuntimeError:  # no such user: the name of a file, then
        return _plain(folder / path)


def _plain(path: Path) -> Path:
    """An absolute path without ``..``, so that a file has one name; as it is where that would be another place."""
    if ".." not in path.parts:
        return path
    shorter = Path(os.path.normpath(path))
    # Behind a link, .. leads elsewhere.
    return shorter if os.path.realpath(shorter) == os.path.realpath(path) else path

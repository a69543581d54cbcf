"""What a comparison is: its YAML, and the command line, which goes before it."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, PlainValidator, field_validator, model_validator

from predict_diff.errors import ConfigurationError, PredictDiffError, closest

from ..config import Seed, named_settings
from ..photos import printable
from ..photos_and_networks import NetworkAsked, PhotosAndNetworks, folder_of
from ..request import Request
from ..sources import photo_names
from ..validation import Strict, read_yaml, validated
from .approaches import Approach
from .measures import MEASURES
from .measures import Kind as MeasureKind
from .methods import METHODS

#: The comparison that is made where the user names none.
BUILT_IN = Path(__file__).parents[1] / "comparison.yaml"

#: Names of methods stand above columns, in names of files, and are those of arrays in HDF5 files.
_LONGEST_NAME = 60
_ODD_NAME = re.compile(r".*[/\\].*|\.+|\s*|photo")


@dataclass(frozen=True)
class Asked:
    """An entry of the YAML: a method or measure, its own name, its parameters, and what profiles set otherwise."""

    kind: str
    name: str
    parameters: dict[str, Any] = field(default_factory=dict)
    profiles: dict[str, dict[str, Any]] = field(default_factory=dict)

    def in_profile(self, profile: str) -> dict[str, Any]:
        """The parameters at the cost of a profile."""
        return {**self.parameters, **self.profiles.get(profile, {})}


class Region(Strict):
    """Where the object of a photo is: a box (row, column, height, width) in its pixels, or a mask of its size."""

    box: list[Annotated[int, Field(ge=0)]] | None = Field(default=None, min_length=4, max_length=4)
    mask: str | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.box is None) == (self.mask is None):
            raise ValueError("expected either `box` or `mask`, found both or neither")
        return self


@dataclass(frozen=True)
class MeasureAsked:
    """A measure of a comparison: its name here, its name in the list of measures, and its parameters."""

    name: str
    key: str
    kind: MeasureKind
    parameters: Any

    @property
    def title(self) -> str:
        """For headings: the name that the YAML gives it, if it gives one."""
        return self.kind.title if self.name == self.key else self.name


def _entry(word: str, models: Mapping[str, type[Strict]]) -> Any:
    """What reads an entry: the name of a method or measure alone, or with its parameters."""

    def read(value: Any) -> Asked:
        given = {word: value} if isinstance(value, str) else value
        if not isinstance(given, dict) or not isinstance(given.get(word), str):
            raise ValueError(
                f"expected the name of a {word}, or `{word}: NAME` with its parameters, found {reprlib.repr(value)}"
            )
        kind = given[word]
        if kind not in models:
            raise ValueError(f"expected one of {', '.join(models)}, found {reprlib.repr(kind)}{closest(kind, models)}")
        name, profiles = given.get("name", kind), given.get("profiles", {})
        if (
            not isinstance(name, str)
            or not name.isprintable()
            or _ODD_NAME.fullmatch(name)
            or len(name) > _LONGEST_NAME
        ):
            raise ValueError(
                f"name: expected at most {_LONGEST_NAME} letters, without / and \\, not dots alone nor 'photo', found "
                f"{reprlib.repr(name)}"
            )
        known = named_settings().profiles
        if not isinstance(profiles, dict) or not all(isinstance(each, dict) for each in profiles.values()):
            raise ValueError("profiles: expected parameters below the names of profiles, found something else")
        for profile in profiles:
            if profile not in known:
                hint = closest(str(profile), known)
                raise ValueError(f"profiles: expected {', '.join(known)}, found {reprlib.repr(profile)}{hint}")
        asked = Asked(kind, name, {key: given[key] for key in given if key not in (word, "name", "profiles")}, profiles)
        for profile in known:
            try:
                validated(models[kind], asked.in_profile(profile), lambda place: "")
            except PredictDiffError as reason:
                raise ValueError(f"{kind}: {reason}") from reason
        return asked

    return PlainValidator(read)


_Method = Annotated[Asked, _entry("method", {name: kind.parameters for name, kind in METHODS.items()})]
_Measure = Annotated[Asked, _entry("measure", {name: kind.parameters for name, kind in MEASURES.items()})]


class ComparisonFile(PhotosAndNetworks):
    """The fields of a comparison's YAML, explained in comparison.yaml."""

    methods: list[_Method] = Field(min_length=1, max_length=40)
    measures: list[_Measure] = Field(default_factory=list)
    objects: dict[str, Region] = Field(default_factory=dict)
    seed: Seed = 0

    @field_validator("title")
    @classmethod
    def _printable(cls, value: str) -> str:
        if not value.isprintable() or not value.strip():
            raise ValueError(f"expected a line of text, found {reprlib.repr(value)}")
        return value

    @field_validator("methods", "measures")
    @classmethod
    def _each_once(cls, values: list[Asked]) -> list[Asked]:
        names = [value.name for value in values]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"expected a name of its own for each, found '{name}' twice; add `name: ...` to one")
        return values


@dataclass(frozen=True, eq=False)
class Comparison:
    """A comparison, as it is made.

    Attributes
    ----------
    title : str
    source : Path
        The YAML.
    name : str
        Of the folder for its results.
    photos : tuple of str
        What `read_photo` takes.
    networks : tuple of NetworkAsked
    stand_ins : bool
        Whether others may stand in for networks that are not there: not where the user chose them on the command line,
        or there are ONNX files among them.
    approaches : tuple of Approach
    measures : tuple of MeasureAsked
    objects : dict of str to Region
        By the photo's name; relative paths start at the YAML's folder.
    seed : int
    request : Request
    only : tuple of str or None, twice
        The names of methods, and of measures, if the user chose some.
    """

    title: str
    source: Path
    name: str
    photos: tuple[str, ...]
    networks: tuple[NetworkAsked, ...]
    stand_ins: bool
    approaches: tuple[Approach, ...]
    measures: tuple[MeasureAsked, ...]
    objects: dict[str, Region]
    seed: int
    request: Request
    only: tuple[tuple[str, ...] | None, tuple[str, ...] | None] = (None, None)

    @property
    def is_built_in(self) -> bool:
        return self.source == BUILT_IN

    @property
    def origin(self) -> str:
        """Where it comes from, in words."""
        return "built in" if self.is_built_in else printable(str(self.source))

    @property
    def folder(self) -> Path:
        """Where relative paths of the YAML start."""
        return folder_of(self.source)

    @property
    def out(self) -> Path:
        """The folder that tables, figures and page are written to."""
        return self.request.choices.out / "compare" / self.name

    @property
    def profile(self) -> str:
        return self.request.settings(self.seed).profile


def read_comparison(
    path: Path | None, request: Request, methods: Sequence[str] | None = None, measures: Sequence[str] | None = None
) -> Comparison:
    """Read a comparison, and check all of it that can be checked without opening a network.

    Parameters
    ----------
    path : Path or None
        The YAML; None for the one that is built in.
    request : Request
        What the user chose; its photos, networks and seed go before those of the YAML.
    methods, measures : sequence of str, optional
        Names of those to take; all by default.

    Raises
    ------
    PredictDiffError
        If something about the comparison is wrong.
    """
    source = path or BUILT_IN
    file = read_yaml(source, ComparisonFile)
    folder = folder_of(source)
    seed = file.seed if request.seed is None else request.seed
    profile = request.settings(seed).profile
    photos = request.photos if request.photos is not None else photo_names(file.photos, folder)
    asked = request.networks if request.networks is not None else file.networks
    networks = tuple(
        NetworkAsked.of(name, file.cards.get(name), folder)
        if request.networks is None
        else NetworkAsked(name, file.cards.get(name))
        for name in asked
    )
    return Comparison(
        title=file.title,
        source=source,
        name="default"
        if source == BUILT_IN
        else re.sub(r"[^\w.-]+", "_", source.stem).strip(".")[:100] or "comparison",
        photos=tuple(photos),
        networks=networks,
        stand_ins=request.networks is None and not any(name.endswith(".onnx") for name in asked),
        approaches=tuple(
            METHODS[each.kind].build(each.kind, each.name, _set(METHODS[each.kind].parameters, each, profile))
            for each in _chosen("methods", file.methods, methods)
        ),
        measures=tuple(
            MeasureAsked(each.name, each.kind, MEASURES[each.kind], _set(MEASURES[each.kind].parameters, each, profile))
            for each in _chosen("measures", file.measures, measures)
        ),
        objects=file.objects,
        seed=seed,
        request=request,
        only=(tuple(methods) if methods else None, tuple(measures) if measures else None),
    )


def _set(parameters: type[Strict], asked: Asked, profile: str) -> Strict:
    return validated(parameters, asked.in_profile(profile), lambda place: asked.name)


def _chosen(what: str, entries: Sequence[Asked], names: Sequence[str] | None) -> list[Asked]:
    """The entries that the user named, by their own name, else by their kind, in the order of the YAML."""
    if names is None:
        return list(entries)
    known = {_spaced(word): word for entry in entries for word in (entry.name, entry.kind)}
    chosen, rest = set(), list(names)
    while rest:
        # Names may hold the commas that separate them: as many parts as make one, then.
        count = next((count for count in range(len(rest), 0, -1) if _spaced(",".join(rest[:count])) in known), 0)
        if not count:
            raise ConfigurationError(
                f"{what}: expected some of {'; '.join(known.values())}, as the comparison lists them, found "
                f"'{rest[0]}'{closest(rest[0], known.values())}"
            )
        chosen.add(known[_spaced(",".join(rest[:count]))])
        del rest[:count]
    kinds = chosen - {entry.name for entry in entries}
    return [entry for entry in entries if entry.name in chosen or entry.kind in kinds]


def _spaced(name: str) -> str:
    """A name with a space behind each comma."""
    return ", ".join(part.strip() for part in name.split(","))

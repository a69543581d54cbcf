"""What a study is: its YAML, and the command line, which goes before it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import Field, PositiveInt, field_validator

from predict_diff.errors import ConfigurationError, NetworkError
from predict_diff.targets import Target

from .. import networks
from ..config import FaultName, SamplerName, Seed
from ..photos_and_networks import NetworkAsked, PhotosAndNetworks, Texts, folder_of, under
from ..pools import DEFAULT
from ..request import Request, request
from ..validation import Strict, read_yaml

#: Settings that command line and YAML both have.
_CHANGES = ("k", "l", "samples", "stride")


class SettingsAsked(Strict):
    """Fields as of the options of `reproduce explain`; what is left out is the variant's, the profile's or chosen."""

    variant: str = "paper"
    profile: str | None = None
    k: PositiveInt | None = None
    l: PositiveInt | None = None
    samples: PositiveInt | None = None
    stride: PositiveInt | None = None
    faults: list[FaultName] | None = Field(default=None, max_length=4)


class StudyFile(PhotosAndNetworks):
    """The fields of study.yaml, explained in example.yaml."""

    samplers: list[SamplerName] = Field(default_factory=lambda: list(get_args(SamplerName)), min_length=1)
    seeds: list[Seed] = Field(default_factory=lambda: [0], min_length=1)
    targets: Texts = Field(default_factory=lambda: ["top"], min_length=1)
    settings: SettingsAsked = SettingsAsked()
    pool: str = DEFAULT

    @field_validator("networks", "samplers", "seeds", "targets")
    @classmethod
    def _each_once(cls, values: list[Any]) -> list[Any]:
        for value in values:
            if values.count(value) > 1:
                raise ValueError(f"expected each once, found {value!r} twice; remove one")
        return values

    @field_validator("targets")
    @classmethod
    def _parsed(cls, values: list[str]) -> list[str]:
        for value in values:
            try:
                if value != "top":
                    Target.parse(value)
            except ConfigurationError as reason:
                raise ValueError(str(reason)) from reason
        return values


@dataclass(frozen=True, eq=False)
class Study:
    """A study, as it is made.

    Attributes
    ----------
    title : str
    source : Path
        The YAML.
    photos : tuple of str
        As the YAML lists them; see `sources.photo_names`.
    networks : tuple of NetworkAsked
    samplers, seeds, targets : tuple
    request : Request
        The options, with what the YAML says where the command line says nothing. Its shard is one of the study's maps.
    """

    title: str
    source: Path
    photos: tuple[str, ...]
    networks: tuple[NetworkAsked, ...]
    samplers: tuple[SamplerName, ...]
    seeds: tuple[int, ...]
    targets: tuple[str, ...]
    request: Request

    @property
    def folder(self) -> Path:
        """Where relative paths of the YAML start."""
        return folder_of(self.source)

    @property
    def out(self) -> Path:
        """The folder that all is written to."""
        return self.request.choices.out

    @property
    def workers(self) -> str | None:
        """The cluster that computes the maps: an address, or ``local:N``, also for several GPUs. None: this process."""
        gpus = len(self.request.gpus)
        return self.request.dask or (f"local:{gpus}" if gpus > 1 else None)


def read_study(path: Path, options: Mapping[str, Any], given: Collection[str]) -> Study:
    """Read a study, and check all of it that can be checked without opening a network.

    Parameters
    ----------
    path : Path
        The YAML.
    options : mapping
        What `reproduce.request.request` takes beside networks and photos.
    given : collection of str
        Which of these the user named, and did not leave as they are by default.

    Raises
    ------
    PredictDiffError
        If something about the study is wrong, or a network is unknown or lacks its weights.
    """
    file = read_yaml(path, StudyFile)
    folder = folder_of(path)
    asked = tuple(NetworkAsked.of(name, file.cards.get(name), folder) for name in file.networks)
    for network in asked:
        _check_there(network)
    chosen = request(None, None, **_merged(file, folder, default_out(path), options, given))
    seeds = file.seeds if chosen.seed is None else [chosen.seed]
    chosen.settings(seeds[0])  # raises what is impossible
    return Study(
        title=file.title,
        source=path,
        photos=tuple(file.photos),
        networks=asked,
        samplers=tuple(file.samplers),
        seeds=tuple(seeds),
        targets=tuple(file.targets),
        request=chosen,
    )


def default_out(path: Path) -> Path:
    """``results/<name of the YAML>``."""
    return Path("results") / (re.sub(r"[^\w.-]+", "_", path.stem).strip(".") or "study")


def _check_there(network: NetworkAsked) -> None:
    """Raise PredictDiffError if a network, or the card that goes with it, is unknown, or lacks something."""
    is_file = network.name.endswith(".onnx")
    if network.card is not None:
        if not is_file:
            raise ConfigurationError(f"cards: '{network.name}' has a card of its own; a card goes with an ONNX file")
        networks.card(network.card)
    if is_file:
        if not Path(network.name).is_file():
            raise NetworkError(f"{network.name}: expected an ONNX file, found none; correct the path in the study")
    elif (lacking := networks.missing(network.name)) is not None:
        raise NetworkError(lacking)


def _merged(
    file: StudyFile, folder: Path, out: Path, options: Mapping[str, Any], given: Collection[str]
) -> dict[str, Any]:
    """The options, and the YAML's fields where the user gave none."""
    asked = file.settings
    by_default = {"variant": asked.variant, "pool": file.pool, "out": out}
    where_none: Iterable[tuple[str, Any]] = (
        ("profile", asked.profile),
        ("faults", asked.faults if asked.faults is None else asked.faults or ["none"]),
        *((name, getattr(asked, name)) for name in _CHANGES),
    )
    merged = {
        **options,
        **{name: value for name, value in by_default.items() if name not in given},
        **{name: value for name, value in where_none if options.get(name) is None},
    }
    if merged["pool"] != DEFAULT:
        merged["pool"] = str(under(Path.cwd() if "pool" in given else folder, merged["pool"]))
    return merged

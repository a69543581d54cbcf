"""YAML and command line -> validated settings.

Whatever is wrong ends in one line that names the file, the field, what was expected and what was found.
"""

from __future__ import annotations

import types
import typing
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError, model_validator

from predict_diff.authors_code import Faults
from predict_diff.errors import ConfigurationError, closest

#: Configurations are written by hand; a larger file is something else.
_LARGEST_YAML = 1 << 20

FaultName = Literal["first_channel_for_all", "stale_window", "no_feature_maps", "evidence_by_position"]
SamplerName = Literal["marginal", "conditional"]
Panel = Literal["sensitivity", "marginal", "marginal_overlay", "conditional", "conditional_overlay"]


class Strict(BaseModel):
    """A model that knows all its fields, and takes no text for a number."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Variant(Strict):
    """What exactly is reproduced; fields as explained in settings.yaml."""

    source: str
    k: PositiveInt
    l: PositiveInt
    samples: PositiveInt
    gaussian: Literal["joint", "per_channel"]
    patches: PositiveInt
    placement: Literal["anywhere", "shared"]
    laplace_instances: PositiveInt
    clip_samples: bool = False
    marginal: Literal["random", "first"] = "random"
    pool_keeps_photo: bool = False
    crop: Literal["network", "unresized"] = "network"
    store_float16: bool = False
    sensitivity_from_activation: bool = False
    faults: Annotated[list[FaultName], Field(max_length=4)] = []

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.k >= self.l:
            raise ValueError(
                f"l: expected an outer patch larger than the window (l > k = {self.k}), found l = {self.l}"
            )
        if "first_channel_for_all" in self.faults and self.gaussian == "joint":
            raise ValueError("faults: first_channel_for_all needs gaussian: per_channel")
        return self

    @property
    def fault_switches(self) -> Faults:
        return Faults(**dict.fromkeys(self.faults, True))


class Profile(Strict):
    """What it costs: step between windows, and samples where they differ from the variant's."""

    stride: PositiveInt
    samples: PositiveInt | None = None


class NamedSettings(Strict):
    variants: dict[str, Variant]
    profiles: dict[str, Profile]


class Settings(Variant):
    """A variant and a profile, put together, with what the user changed."""

    variant: str
    profile: str
    stride: PositiveInt
    seed: NonNegativeInt = 0


class Figure(Strict):
    """Fields that every figure's YAML has."""

    number: PositiveInt
    title: str
    networks: Annotated[list[str], Field(min_length=1)]
    photos: Annotated[list[str], Field(min_length=1)]
    seed: NonNegativeInt = 0
    panels: Annotated[list[Panel], Field(min_length=1)]


@cache
def named_settings() -> NamedSettings:
    """The variants and profiles of settings.yaml."""
    return read_yaml(Path(__file__).with_name("settings.yaml"), NamedSettings)


def settings(variant: str, profile: str, seed: int = 0, **changes: Any) -> Settings:
    """Put a variant and a profile together.

    Parameters
    ----------
    variant, profile : str
        Names in settings.yaml.
    seed : int
    **changes
        Fields to set otherwise (k, l, samples, stride, faults, ...); None leaves a field as it is.

    Raises
    ------
    ConfigurationError
        For unknown names and impossible values.
    """
    known = named_settings()
    if variant not in known.variants:
        raise ConfigurationError(_unknown("variant", variant, known.variants))
    if profile not in known.profiles:
        raise ConfigurationError(_unknown("profile", profile, known.profiles))
    fields: dict[str, Any] = known.variants[variant].model_dump()
    fields |= known.profiles[profile].model_dump(exclude_none=True)
    fields |= {name: value for name, value in changes.items() if value is not None}
    if changes.get("k") is not None and changes.get("l") is None:
        # Paper: figure 2 varies k and keeps the margin.
        base = known.variants[variant]
        fields["l"] = fields["k"] + base.l - base.k
    return validated(Settings, {**fields, "variant": variant, "profile": profile, "seed": seed}, "settings")


Model = TypeVar("Model", bound=BaseModel)


def read_yaml(path: Path, model: type[Model]) -> Model:
    """Read and validate a YAML file. ConfigurationError if anything about it is wrong."""
    try:
        if path.stat().st_size > _LARGEST_YAML:
            raise ConfigurationError(f"{path}: expected a configuration of at most {_LARGEST_YAML} bytes, found more")
        fields = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as reason:
        raise ConfigurationError(f"{path}: expected YAML; {' '.join(str(reason).split())}") from reason
    return validated(model, fields, str(path))


def validated(model: type[Model], fields: Any, where: str) -> Model:
    """Validate fields. ConfigurationError with the first problem, and the closest name if a field is unknown."""
    try:
        return model.model_validate(fields)
    except ValidationError as reason:
        raise ConfigurationError(f"{where}: {_explain(model, reason)}") from reason


def _explain(model: type[BaseModel], error: ValidationError) -> str:
    """The first thing that is wrong, in words, and how many more there are."""
    first = error.errors()[0]
    place = ".".join(str(step) for step in first["loc"])
    if first["type"] == "extra_forbidden":
        what = f"unknown field{closest(str(first['loc'][-1]), _fields(model, first['loc'][:-1]))}; correct or remove it"
    elif first["type"] == "missing":
        what = "missing; add it"
    else:
        what = f"{first['msg'].removeprefix('Value error, ')}, found {str(first['input'])[:80]!r}"
        if not place:
            what = first["msg"].removeprefix("Value error, ")
    more = error.error_count() - 1
    return (f"{place}: " if place else "") + what + (f" (and {more} more)" if more else "")


def _fields(model: type[BaseModel], place: tuple[int | str, ...]) -> list[str]:
    """Names of the fields that exist at a place within a model."""
    here: Any = model
    for step in place:
        if isinstance(here, type) and issubclass(here, BaseModel):
            here = here.model_fields[str(step)].annotation
        else:
            here = typing.get_args(here)[-1]
        if isinstance(here, types.UnionType):
            here = next((kind for kind in typing.get_args(here) if kind is not type(None)), here)
    return list(here.model_fields) if isinstance(here, type) and issubclass(here, BaseModel) else []


def _unknown(what: str, name: str, known: dict[str, Any]) -> str:
    return f"{what}: expected one of {', '.join(known)}, found '{name}'{closest(name, known)}"

"""The settings: what a figure or an explanation can be told, from YAML and command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

from pydantic import Field, PositiveInt, model_validator

from predict_diff.authors_code import Faults
from predict_diff.errors import ConfigurationError, closest

from .validation import Strict, read_yaml, validated

FaultName = Literal["first_channel_for_all", "stale_window", "no_feature_maps", "evidence_by_position"]
SamplerName = Literal["marginal", "conditional"]
Seed = Annotated[int, Field(ge=0, lt=2**64)]
Named = TypeVar("Named")
Panel = Literal["sensitivity", "marginal", "marginal_overlay", "conditional", "conditional_overlay"]


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
    faults: list[FaultName] = Field(default_factory=list, max_length=4)

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
    seed: Seed = 0


class Figure(Strict):
    """Fields that every figure's YAML has; a figure's module may add some.

    `shows` is what the paper shows and says there, in words of our own; the report prints it.
    """

    title: str
    shows: str
    networks: Annotated[list[str], Field(min_length=1)]
    photos: Annotated[list[str], Field(min_length=1)]
    seed: Seed = 0


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
        Fields to set otherwise (k, l, samples, stride, faults, ...); None leaves a field as it is. They go before the
        profile, and the profile before the variant.

    Raises
    ------
    ConfigurationError
        For unknown names and impossible values.
    """
    base = _named("variant", variant, named_settings().variants)
    fields: dict[str, Any] = base.model_dump()
    fields |= _named("profile", profile, named_settings().profiles).model_dump(exclude_none=True)
    fields |= {name: value for name, value in changes.items() if value is not None}
    if changes.get("k") is not None and changes.get("l") is None:
        # Paper: figure 2 varies k and keeps the margin.
        fields["l"] = fields["k"] + base.l - base.k
    chosen = validated(Settings, {**fields, "variant": variant, "profile": profile, "seed": seed}, lambda place: "")
    # Faults are the authors' code's: no other variant has them.
    if strange := [fault for fault in chosen.faults if fault not in base.faults]:
        having = [name for name, other in named_settings().variants.items() if strange[0] in other.faults]
        raise ConfigurationError(
            f"faults: expected none of {strange[0]} in variant {variant}; choose --variant {' or '.join(having)}"
        )
    return chosen


def with_side(chosen: Settings, k: int) -> Settings:
    """The same settings for windows of another side; smaller ones overlap alike.

    Paper: figure 2 varies k and keeps the margin l - k.
    """
    stride = max(1, min(chosen.stride, chosen.stride * k // chosen.k))
    return chosen.model_copy(update={"k": k, "l": chosen.l - chosen.k + k, "stride": stride})


def in_profile(chosen: Settings, profile: str) -> Settings:
    """The same settings at the cost of another profile."""
    cost = _named("profile", profile, named_settings().profiles)
    samples = named_settings().variants[chosen.variant].samples if cost.samples is None else cost.samples
    return chosen.model_copy(update={"profile": profile, "stride": cost.stride, "samples": samples})


def samplers_of(panels: Sequence[Panel]) -> tuple[SamplerName, ...]:
    """The samplers that some panels need."""
    names = {panel.removesuffix("_overlay") for panel in panels}
    return tuple(name for name in get_args(SamplerName) if name in names)


def check_threads(threads: int | None) -> None:
    """ConfigurationError for a number of threads on which ONNX Runtime would choke."""
    _check_count("threads", threads, 1024)


def check_batch_size(batch_size: int | None) -> None:
    """ConfigurationError for a number of photos that no batch can have."""
    # CUDA's pooling fails beyond.
    _check_count("batch size", batch_size, 65_535)


def check_gpus(gpus: list[str] | None, provider: str) -> tuple[int, ...]:
    """Numbers of GPUs; ConfigurationError for what is no number, named twice, or meant for the CPU."""
    if gpus is None:
        return ()
    if provider == "cpu":
        raise ConfigurationError("gpus: expected none with --provider cpu, found some; leave one of the two out")
    numbers = tuple(int(gpu) for gpu in gpus if gpu.isdecimal() and len(gpu) <= 3)
    if len(set(numbers)) < len(gpus):
        raise ConfigurationError(f"gpus: expected different numbers such as 0,1, found {','.join(gpus)}")
    return numbers


def _check_count(name: str, count: int | None, most: int) -> None:
    if count is not None and not 1 <= count <= most:
        raise ConfigurationError(f"{name}: expected 1 to {most}, found {count}")


def _named(what: str, name: str, known: Mapping[str, Named]) -> Named:
    if name not in known:
        raise ConfigurationError(f"{what}: expected one of {', '.join(known)}, found '{name}'{closest(name, known)}")
    return known[name]

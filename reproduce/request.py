"""What the user chose on the command line."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast, get_args

from predict_diff.errors import ConfigurationError
from predict_diff.network.choosing import EvaluatorName
from predict_diff.network.runtime import Precision, Provider, cuda_problem
from predict_diff.plot import Palette

from .classifier import Engine
from .config import Settings, check_batch_size, check_gpus, check_threads, settings
from .runner import WHOLE, Shard
from .subject import Choices


@dataclass(frozen=True)
class Request:
    """What the user chose; None leaves a choice to the figure's YAML or the machine.

    Attributes
    ----------
    profile : str or None
        By default ``paper`` on a GPU, ``quick`` on a CPU.
    engine : Engine
    gpus : tuple of int
        Where there are several, each computes a part of the maps.
    dask : str or None
        Address of a scheduler whose workers compute the maps, or ``local:N``.
    changes : dict
        Single settings to change (k, l, samples, stride, faults).
    fields : tuple of str
        Fields of the figure's YAML to set otherwise, as NAME=VALUE.
    """

    choices: Choices
    networks: list[str] | None = None
    photos: list[str] | None = None
    variant: str = "paper"
    profile: str | None = None
    seed: int | None = None
    palette: Palette = "paper"
    engine: Engine = field(default_factory=Engine)
    gpus: tuple[int, ...] = ()
    dask: str | None = None
    changes: dict[str, Any] = field(default_factory=dict)
    fields: tuple[str, ...] = ()

    def settings(self, seed: int) -> Settings:
        """The settings that result; the seed is the figure's, unless the user chose one."""
        profile = self.profile
        if profile is None:
            provider = self.engine.provider
            on_gpu = provider == "cuda" or (provider == "auto" and cuda_problem() is None)
            profile = "paper" if on_gpu else "quick"
        return settings(self.variant, profile, seed if self.seed is None else self.seed, **self.changes)

    def with_stride(self, stride: int) -> Request:
        """The same with another step between windows."""
        return dataclasses.replace(self, changes={**self.changes, "stride": stride})

    def on_gpu(self, number: int) -> Request:
        """The same on one GPU."""
        return dataclasses.replace(self, engine=dataclasses.replace(self.engine, device=number), gpus=())


def request(
    networks: list[str] | None,
    photos: list[str] | None,
    *,
    variant: str,
    profile: str | None,
    seed: int | None,
    pool: str,
    provider: str,
    precision: str,
    gpus: list[str] | None,
    evaluator: str,
    batch_size: int | None,
    threads: int | None,
    palette: Palette,
    out: Path,
    faults: list[str] | None,
    force: bool = False,
    fields: Sequence[str] = (),
    shard: Shard | None = None,
    dask: str | None = None,
    **changes: int | None,
) -> Request:
    """A request from the command line's options. ConfigurationError for impossible ones."""
    for name, value, known in (
        ("provider", provider, get_args(Provider)),
        ("precision", precision, get_args(Precision)),
        ("evaluator", evaluator, get_args(EvaluatorName)),
    ):
        if value not in known:
            raise ConfigurationError(f"{name}: expected one of {', '.join(known)}, found '{value}'")
    check_threads(threads)
    check_batch_size(batch_size)
    numbers = check_gpus(gpus, provider)
    if shard is not None and len(numbers) > 1 and dask is None:
        raise ConfigurationError(
            f"gpus: expected one with --shard, found {','.join(map(str, numbers))}; give each GPU a shard of its own"
        )
    if dask is not None and not dask.strip():
        raise ConfigurationError(
            "dask: expected the address of a scheduler such as tcp://host:8786, or local:N, found an empty one; name "
            "one, or leave --dask out"
        )
    if numbers:
        provider = "cuda"  # asked for by name: what cannot run there is an error
    device = numbers[0] if numbers else 0
    return Request(
        choices=Choices(out, pool, batch_size, cast(EvaluatorName, evaluator), force, shard or WHOLE),
        fields=tuple(fields),
        networks=networks,
        photos=photos,
        variant=variant,
        profile=profile,
        seed=seed,
        palette=palette,
        engine=Engine(cast(Provider, provider), threads, cast(Precision, precision), device),
        gpus=numbers,
        dask=dask,
        changes={**changes, "faults": [] if faults == ["none"] else faults},
    )

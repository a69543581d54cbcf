"""The options that commands share, and the kinds of values they take."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, get_args

import click

from predict_diff.errors import closest

from .config import FaultName, named_settings

F = TypeVar("F", bound=Callable[..., Any])


class OneOf(click.Choice):
    """One of some names; the closest is suggested for an unknown one."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in self.choices:
            known = ", ".join(self.choices)
            self.fail(f"expected one of {known}, found '{value}'{closest(value, self.choices)}", param, ctx)
        return str(value)


class Names(click.ParamType):
    """Names separated by commas or spaces."""

    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        if isinstance(value, list):
            return value
        found = [name for part in self._parts(str(value)) for name in self._split(part)]
        if not found:
            self.fail("expected at least one name, found none", param, ctx)
        return found

    def _parts(self, text: str) -> list[str]:
        return text.split(",")

    def _split(self, part: str) -> list[str]:
        return part.split()


class PhotoNames(Names):
    """Names and paths, which may themselves hold commas and spaces if that is what the files are called."""

    def _parts(self, text: str) -> list[str]:
        return [text] if self._is_photo(text) else super()._parts(text)

    def _split(self, part: str) -> list[str]:
        return [part.strip()] if self._is_photo(part.strip()) else super()._split(part)

    @staticmethod
    def _is_photo(text: str) -> bool:
        from .photos import is_photo

        return is_photo(text)


class ShardNumber(click.ParamType):
    """Which shard of how many, such as 3/16."""

    name = "i/n"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", str(value))
        number, count = (int(match[1]), int(match[2])) if match else (0, 0)
        if not 1 <= number <= count:
            self.fail(f"expected which shard of how many, from 1/N to N/N such as 3/16, found '{value}'", param, ctx)
        return number, count


def out_option(purpose: str) -> Callable[[F], F]:
    """The option for the folder of results."""
    return click.option(
        "--out", type=click.Path(path_type=Path), default=Path("results"), show_default=True, help=purpose
    )


def shown_options(photos: str) -> Callable[[F], F]:
    """The options that say which networks and photos; `photos` are those by default."""

    def decorate(function: F) -> F:
        function = click.option(
            "--photos",
            type=PhotoNames(),
            help="Photos, separated by commas: default ones such as chelsea, files in data/photos/, or paths. "
            f"Default: {photos}.",
        )(function)
        return click.option(
            "--networks",
            type=Names(),
            help="Networks in models/, or ONNX files converted from them, separated by commas. Default: the paper's; "
            "as long as their weights are missing, the embedded ones.",
        )(function)

    return decorate


def spread_options(function: F) -> F:
    """Options that say which part of the work is done, and where."""
    options = [
        click.option(
            "--shard",
            type=ShardNumber(),
            help="Compute one part of each map's windows only, such as 3/16; `reproduce merge` puts parts together.",
        ),
        click.option(
            "--dask",
            metavar="ADDRESS",
            help="Have the workers of a Dask scheduler compute the maps: its address, such as tcp://host:8786, or "
            "local:N to start N workers here. Needs the extra `cluster`.",
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def method_options(function: F) -> F:
    """Options that say how an explanation is computed; the same for figures and photos."""
    known = named_settings()
    options = [
        click.option(
            "--variant",
            type=OneOf(list(known.variants)),
            default="paper",
            show_default=True,
            help="What is reproduced: the paper, its later version, or the authors' code.",
        ),
        click.option(
            "--profile",
            type=OneOf(list(known.profiles)),
            help="What it costs: hours on a GPU, or minutes on a CPU. Default: paper on a GPU, else quick.",
        ),
        click.option("--k", type=int, help="Side of a window in pixels. Default: the variant's."),
        click.option(
            "--l", type=int, help="Side of the outer patch in pixels. Default: as much larger than k as in the variant."
        ),
        click.option("--samples", type=int, help="S, samples of each window. Default: the profile's or variant's."),
        click.option("--stride", type=int, help="Step between windows in pixels, at most k. Default: the profile's."),
        click.option(
            "--faults",
            type=Names(),
            help="With authors_code: which of its known faults to repeat, separated by commas, or 'none'. Default: "
            f"all of them: {', '.join(get_args(FaultName))}.",
        ),
        click.option("--seed", type=int, help="Seed of all that is random. Default: that of the YAML, else 0."),
        click.option(
            "--pool",
            default="default",
            show_default=True,
            help="Folder of photos that samplers draw from, or 'default': those that come with scikit-image.",
        ),
        click.option(
            "--provider",
            type=OneOf(["auto", "cpu", "cuda"]),
            default="auto",
            show_default=True,
            help="What runs the network; auto takes the CPU where CUDA cannot run, and says so.",
        ),
        click.option(
            "--precision",
            type=OneOf(["full", "tf32", "fp16"]),
            default="full",
            show_default=True,
            help="Of the network's arithmetic. tf32 (CUDA only) and fp16 are for speed on a GPU, and not exact: by how "
            "much is measured and stored with the map.",
        ),
        click.option("--gpus", type=Names(), help="Numbers of GPUs, such as 0,1: each computes a part of the maps."),
        click.option(
            "--evaluator",
            type=OneOf(["auto", "incremental", "minibatch"]),
            default="auto",
            show_default=True,
            help="Recompute only what a window can change, or everything; auto takes the faster. The map is the same, "
            "but for rounding.",
        ),
        click.option("--batch-size", type=int, help="Photos in a batch. Default: chosen from memory."),
        click.option("--threads", type=int, help="Threads on the CPU. Default: all cores."),
        click.option(
            "--palette",
            type=OneOf(["paper", "safe"]),
            default="paper",
            show_default=True,
            help="Colours: the paper's, or safe for the colour-blind.",
        ),
        click.option("--force", is_flag=True, help="Replace damaged result files, and runs that other versions began."),
        out_option("Folder for results; maps that are there already are not computed again."),
    ]
    for option in reversed(options):
        function = option(function)
    return function

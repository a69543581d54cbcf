"""The columns of a study's table: what they are called, what they hold, and how they follow from a map."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from predict_diff.errors import ResultError
from predict_diff.measures import share_in_top, total_variation
from predict_diff.result import RelevanceMap
from predict_diff.targets import Target

from ..photos import printable

Kind = Literal["text", "integer", "real", "seed"]


@dataclass(frozen=True)
class Column:
    """One column: what it is called, what kind of value it holds, and what that means."""

    name: str
    kind: Kind
    meaning: str


#: Of the map that a row is about.
JOB = (
    Column("photo", "text", "A default photo's name, or the path of the file."),
    Column("sha256", "text", "Of the photo's decoded pixels."),
    Column("network", "text", "Name in models/, or the path of an ONNX file."),
    Column("sampler", "text", "marginal (eq. 2) or conditional (eq. 5)."),
    Column("seed", "seed", "Of all that is random; a whole number below 2^64."),
)

#: Of one target in it; kept in the index.
TARGET = (
    Column("target", "text", "What is explained, as BLOB:UNIT."),
    Column("class", "text", "The class it stands for; empty if none."),
    Column("measure", "text", "WE: weight of evidence, in bits. AD: activation difference, in the unit's own units."),
    Column("value", "real", "The target for the photo itself, p(c | x)."),
    Column("largest", "real", "Largest relevance of a pixel: what speaks most for the target."),
    Column("largest_row", "integer", "Where, as the network sees the photo, from 0 at the top."),
    Column("largest_column", "integer", "Where, from 0 on the left."),
    Column("smallest", "real", "Smallest relevance of a pixel: what speaks most against it."),
    Column("smallest_row", "integer", "Where, from 0 at the top."),
    Column("smallest_column", "integer", "Where, from 0 on the left."),
    Column("mean", "real", "Mean relevance of the pixels."),
    Column("positive_pixels", "real", "Share of pixels whose relevance is above 0."),
    Column("positive_relevance", "real", "Share of the absolute relevance that is above 0; empty if all is 0."),
    Column("mean_error", "real", "Mean over pixels of the standard error from sampling; empty at S = 1."),
    Column(
        "noise_share",
        "real",
        "Mean square of the pixels' standard errors / variance of the map over pixels: the share of that variance that "
        "sampling accounts for; empty at S = 1 or without variance.",
    ),
    Column(
        "total_variation", "real", "Sum of |steps to right and lower neighbours| / L2 norm: sharper maps have more."
    ),
    Column("top_share", "real", "Share of the absolute relevance in the top 5 % of pixels; empty if all is 0."),
    Column("variant", "text", "Of the settings, as are the next four."),
    Column("k", "integer", "Side of a window, in pixels."),
    Column("l", "integer", "Side of the outer patch, in pixels."),
    Column("stride", "integer", "Step between windows, in pixels."),
    Column("samples", "integer", "S, samples of each window."),
    Column("windows", "integer", "How many windows the map has."),
)

#: Of how the map was made.
END = (
    Column("seconds", "real", "Computing time of the map, with all its targets."),
    Column("map", "text", "The map's file, from the folder of the table."),
    Column("state", "text", "done or failed; maps that are not computed yet have no row."),
    Column("error", "text", "Why it failed."),
)

COLUMNS = (*JOB, *TARGET, *END)

#: Names the class of a target, or gives an empty text.
ClassName = Callable[[Target], str]


def target_rows(found: RelevanceMap, class_name: ClassName) -> Iterator[tuple[Any, ...]]:
    """A row of `TARGET` for each target of a map; None is an empty cell."""
    settings = found.provenance.get("settings") or {}
    made = (
        *(settings.get(name) for name in ("variant", "k", "l", "stride")),
        found.provenance.get("samples"),
        len(found.grid),
    )
    for number, (target, measure) in enumerate(zip(found.targets, found.measures, strict=True)):
        # One after the other: the maps of a whole blob may not fit into memory.
        relevance = found.maps_of([number])[0].astype(np.float64)
        error = found.map_errors_of([number])[0]
        name = printable(class_name(target))
        yield (str(target), name, measure, float(found.known[number]), *_numbers(relevance, error), *made)


def _numbers(relevance: NDArray[np.float64], error: NDArray[np.float64]) -> Iterator[Any]:
    """The columns from `largest` to `top_share`."""
    for place in (np.argmax(relevance), np.argmin(relevance)):
        row, column = np.unravel_index(place, relevance.shape)
        yield from (float(relevance[row, column]), int(row), int(column))
    absolute, variance = float(np.abs(relevance).sum()), float(relevance.var())
    yield float(relevance.mean())
    yield float((relevance > 0).mean())
    yield float(relevance[relevance > 0].sum()) / absolute if absolute else None
    known = bool(np.isfinite(error).all())
    yield float(error.mean()) if known else None
    yield float(np.square(error).mean()) / variance if known and variance else None
    yield total_variation(relevance)
    try:
        yield share_in_top(relevance)
    except ResultError:  # zero everywhere
        yield None

"""What is computed for a map, and in which order: all of it but the numbers.

A plan is fixed before the first window is sampled. Whoever computes a part of it, after an interruption, on
another machine or beside others, computes the very batches that one uninterrupted run would have.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .authors_code import stale_window
from .errors import ConfigurationError, ResultError
from .layout import MapDtype
from .result import RelevanceMap
from .targets import Measure, Target
from .windows import WindowGrid

#: What is computed of each window: the expectation of the targets, the relevance, and its standard error.
VALUES = 3

#: Libraries whose version may move the last bits of what they compute.
_LIBRARIES = ("numpy", "scipy", "onnxruntime-gpu", "onnxruntime")
#: Entries of a map's provenance that its numbers depend on.
_CONFIGURATION = ("photo_sha256", "sampler", "samples", "seed", "laplace_instances", "faults", "identity")
_OF_THE_NETWORK = ("sha256", "provider", "precision")


@dataclass(frozen=True, eq=False)
class Plan:
    """Which windows are computed, in which batches, and what makes the numbers.

    Attributes
    ----------
    grid : WindowGrid
    targets : tuple of Target
        U of them.
    measures : tuple of {"WE", "AD"}
    known : ndarray, shape (U,), float64
        The targets of the photo itself.
    order : ndarray, shape (rows,), int64
        Numbers of windows, in the order in which they are computed: a row of values for each.
    bounds : ndarray, shape (parts + 1,), int64
        Windows ``order[bounds[p]:bounds[p + 1]]`` are sampled and evaluated together, as part p.
    batching : dict
        The evaluator and its batches, on which last bits depend; see `Evaluator.batching`.
    provenance : dict
        As of the map, JSON-able.
    twice : bool
        Whether the last row is a second draw for a window that has one already. Authors' code: its stale window.
    shard : tuple of int
        Which shard of how many, from 1.
    given : ndarray, shape (rows of part 0, 3, U), float64, optional
        The values of part 0, where they are known beforehand.
    map_dtype : {"float64", "float16"}
        As of the map.
    """

    grid: WindowGrid
    targets: tuple[Target, ...]
    measures: tuple[Measure, ...]
    known: NDArray[np.float64]
    order: NDArray[np.int64]
    bounds: NDArray[np.int64]
    batching: dict[str, Any]
    provenance: dict[str, Any] = field(default_factory=dict)
    twice: bool = False
    shard: tuple[int, int] = (1, 1)
    given: NDArray[np.float64] | None = None
    map_dtype: MapDtype = "float64"

    def __len__(self) -> int:
        """How many parts it has."""
        return len(self.bounds) - 1

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of all values: rows, 3, U."""
        return len(self.order), VALUES, len(self.targets)

    def rows(self, part: int) -> slice:
        """Which rows of the values a part fills."""
        return slice(int(self.bounds[part]), int(self.bounds[part + 1]))

    def windows(self, part: int) -> NDArray[np.int64]:
        """Numbers of the windows of a part."""
        return self.order[self.rows(part)]

    def draws_again(self, part: int) -> bool:
        """Whether a part is the second draw for its window."""
        return self.twice and part == len(self) - 1

    def only(self, parts: range) -> Plan:
        """A plan of some of the parts, one after the other."""
        bounds = self.bounds[parts.start : parts.stop + 1]
        return replace(
            self,
            order=self.order[bounds[0] : bounds[-1]],
            bounds=bounds - bounds[0],
            twice=self.twice and parts.stop == len(self),
            given=self.given if parts.start == 0 else None,
        )

    def as_shard(self, number: int, count: int) -> Plan:
        """The parts that one of several shards computes, all about as many.

        Raises
        ------
        ConfigurationError
            If there is no such shard, or there are more shards than parts.
        """
        if not 1 <= number <= count:
            raise ConfigurationError(f"shard: expected one of 1 to {count}, found {number}")
        if count > len(self):
            raise ConfigurationError(
                f"shard: expected at most {len(self)} shards, for the windows of this map are evaluated in as many "
                f"batches, found {count}; choose fewer"
            )
        edges = [len(self) * edge // count for edge in (number - 1, number)]
        return replace(self.only(range(*edges)), shard=(number, count))

    @cached_property
    def terms(self) -> dict[str, Any]:
        """Everything that the numbers depend on, by name."""
        network = self.provenance.get("network") or {}
        versions = self.provenance.get("versions") or {}
        terms: dict[str, Any] = {
            "size of the photo": [self.grid.height, self.grid.width],
            "k": self.grid.k,
            "stride": self.grid.stride,
            "targets": [str(target) for target in self.targets],
            "measures": list(self.measures),
            "batches": self.batching,
            "network": {name: network.get(name) for name in _OF_THE_NETWORK},
            "versions": {name: versions[name] for name in _LIBRARIES if name in versions},
        }
        return terms | {name.removesuffix("_sha256"): self.provenance.get(name) for name in _CONFIGURATION}

    def differences(self, other: Plan) -> list[str]:
        """How what makes the numbers differs from another plan's, in words: ``seed: 0, there 1``."""
        return differences(self.terms, other.terms)

    def relevance_map(self, values: Iterable[NDArray[np.float64]], provenance: Mapping[str, Any]) -> RelevanceMap:
        """The map, given the values of all rows.

        Parameters
        ----------
        values : iterable of ndarray, shape (rows of a block, 3, U), float64
            In the order of the rows; a block is not needed any more once the next is asked for.
        provenance : mapping
            What is to be added to the plan's.

        Raises
        ------
        ResultError
            If the plan has not every window exactly once.
        """
        single = len(self.order) - self.twice
        computed = np.bincount(self.order[:single], minlength=len(self.grid))
        if len(computed) > len(self.grid) or (computed != 1).any():
            raise ResultError(
                f"relevance map: expected every window once, found {int((computed == 0).sum())} of {len(self.grid)} "
                f"missing and {int((computed > 1).sum())} there more than once"
            )
        # The second draw, if there is one, goes to a place of its own, behind the windows.
        places = np.concatenate([self.order[:single], np.full(int(self.twice), len(self.grid))])
        found = np.empty((VALUES, len(self.targets), len(self.grid) + self.twice))
        start = 0
        for block in values:
            found[:, :, places[start : start + len(block)]] = np.moveaxis(block, 0, -1)
            start += len(block)
        if start != len(places):
            raise ValueError(f"{start} rows of values, expected {len(places)}")
        expected, relevance, standard_error = found[:, :, : len(self.grid)]
        counts = np.ones(len(self.grid), np.int64)
        if self.twice:
            # Authors' code: the window is sampled anew, added once more and counted once more.
            again = self.order[-1]
            relevance[:, again] = (relevance[:, again] + found[1, :, -1]) / 2
            counts[again] = 2
        return RelevanceMap(
            grid=self.grid,
            targets=self.targets,
            measures=self.measures,
            known=self.known,
            expected=expected,
            relevance=relevance,
            standard_error=standard_error,
            counts=counts,
            map_dtype=self.map_dtype,
            provenance={**self.provenance, **self.batching, **provenance},
        )


def merge(
    plans: Sequence[Plan],
    values: Sequence[Iterable[NDArray[np.float64]]],
    names: Sequence[str],
    provenance: Mapping[str, Any],
) -> RelevanceMap:
    """Put the parts of one map together.

    Parameters
    ----------
    plans : sequence of Plan
        Of the shards, in any order.
    values : sequence of iterable
        Of each, as `Plan.relevance_map` takes them. Nothing is asked of them before the plans have been checked.
    names : sequence of str
        What each is called, for messages.
    provenance : mapping
        What is to be added to that of the plans.

    Raises
    ------
    ResultError
        If they are of different maps, some windows are missing, or some are there twice.
    """
    first, first_name = plans[0], names[0]
    for plan, name in zip(plans, names, strict=True):
        if strange := first.differences(plan):
            raise ResultError(
                f"{name}: expected a part of the same map as {first_name}, found another ({strange[0]}); merge parts "
                f"of one configuration"
            )
        # Machines differ in last bits.
        if not np.allclose(first.known, plan.known, rtol=1e-3, atol=1e-6):
            raise ResultError(
                f"{name}: expected the predictions for the photo itself that {first_name} has, found others; one of "
                f"the two machines computes something else: compute both parts on one machine"
            )
    _refuse_overlaps(plans, names)
    computed = np.unique(np.concatenate([plan.order[: len(plan.order) - plan.twice] for plan in plans]))
    second = _has_second_draw(first) and not any(plan.twice for plan in plans)
    if missing := len(first.grid) - len(computed) + second:
        count = first.shard[1]
        absent = sorted(set(range(1, count + 1)) - {plan.shard[0] for plan in plans if plan.shard[1] == count})
        shards = f", those of shard {_listed(absent)} of {count}" if absent else ""
        raise ResultError(
            f"{first_name}: expected the parts of a whole map, found {missing} of {len(first.grid)} windows "
            f"missing{shards}; compute them and merge again"
        )
    # The part with a second draw, if there is one, goes last.
    ordered = sorted(range(len(plans)), key=lambda index: plans[index].twice)
    lengths = [len(plans[index].order) for index in ordered]
    whole = replace(
        first,
        order=np.concatenate([plans[index].order for index in ordered]),
        bounds=np.cumsum([0, *lengths]),
        twice=any(plan.twice for plan in plans),
        shard=(1, 1),
    )
    return whole.relevance_map(chain.from_iterable(values[index] for index in ordered), provenance)


def _has_second_draw(plan: Plan) -> bool:
    """Whether a window of the whole map is drawn twice. Authors' code: its stale window."""
    stale, samples = (plan.provenance.get("faults") or {}).get("stale_window"), plan.provenance.get("samples") or 0
    return bool(stale) and samples > 0 and stale_window(len(plan.grid), samples) is not None


def _refuse_overlaps(plans: Sequence[Plan], names: Sequence[str]) -> None:
    """ResultError if two plans have a window in common; a second draw belongs to the part that has it."""
    holder = np.full(len(plans[0].grid), -1)
    twice = None
    for index, plan in enumerate(plans):
        windows = plan.order[: len(plan.order) - plan.twice]
        shared = holder[windows]
        again = twice if plan.twice else None
        if (shared >= 0).any() or again is not None:
            other = names[again if again is not None else int(shared[shared >= 0][0])]
            raise ResultError(
                f"{names[index]}: expected windows that no other part has, found {max(1, int((shared >= 0).sum()))} of "
                f"{other}; leave one of the two out"
            )
        holder[windows] = index
        twice = index if plan.twice else twice


def _listed(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:8]))
    return shown + ", ..." if len(numbers) > 8 else shown


def differences(ours: Any, theirs: Any, name: str = "") -> list[str]:
    """How two configurations, JSON-able, differ: a line for each entry that does."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        keys = [*ours, *(key for key in theirs if key not in ours)]
        parts = (differences(ours.get(key), theirs.get(key), f"{name}.{key}" if name else key) for key in keys)
        return [line for part in parts for line in part]
    return [] if ours == theirs else [f"{name}: {_short(ours)}, there {_short(theirs)}"]


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def in_order(parts: Sequence[NDArray[np.int64]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """`Plan.order` and `Plan.bounds` of some parts."""
    return np.concatenate([np.empty(0, np.int64), *parts]), np.cumsum([0, *map(len, parts)], dtype=np.int64)


def ranges(parts: Sequence[int]) -> Iterator[range]:
    """Ascending numbers, as runs without gaps."""
    start = 0
    for end in range(1, len(parts) + 1):
        if end == len(parts) or parts[end] != parts[end - 1] + 1:
            yield range(parts[start], parts[end - 1] + 1)
            start = end

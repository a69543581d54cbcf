"""From maps to numbers: each measure of each map of one photo before one network."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predict_diff.errors import ConfigurationError, ResultError
from predict_diff.measures import layer_names, randomisation_curve, rank_correlation, scorer, top_overlap
from predict_diff.measures.scores import Scores
from predict_diff.methods.method import Method

from .approaches import NUMBERS_VERSION, Approach
from .case import Case
from .configuration import MeasureAsked
from .measures import OfMap, OfNetwork, OfRegion, OfSeeds, OfWeights
from .storing import Store, Stored

logger = logging.getLogger(__name__)

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Measured:
    """What a measure says of a map.

    Attributes
    ----------
    value : float
    arrays : dict of str to ndarray
        What the value was made from: ``fractions`` and ``scores`` of curves, ...
    """

    value: float
    arrays: Mapping[str, Array]


@dataclass(frozen=True, eq=False)
class Bench:
    """A photo before a network, on which maps are measured.

    Attributes
    ----------
    case : Case
    place : int
        Of the photo in the list of photos: some measures look at the first ones only.
    maps : Store
        Of methods that are not Algorithm 1.
    numbers : Store
        Of what the network was asked for.
    seed : int
    """

    case: Case
    place: int
    maps: Store
    numbers: Store
    seed: int

    @cached_property
    def scores(self) -> Scores:
        return scorer(self.case.network, self.case.target)

    def release(self) -> None:
        """Let go of what takes memory: sessions and pools; they are made again when they are needed."""
        self.__dict__.pop("scores", None)
        self.case.release()

    def check(self, measures: Sequence[MeasureAsked], approaches: Sequence[Approach]) -> None:
        """Raise whatever is impossible, or wrong with what is stored, before anything is computed."""
        for measure in measures:
            how, side = measure.kind.how, max(self.case.x.shape[1:])
            if isinstance(how, OfNetwork) and how.side(measure.parameters) > side:
                raise ConfigurationError(
                    f"{measure.name}, before {self.case.classifier.card.title}: expected squares of at most {side} "
                    f"pixels, found {how.side(measure.parameters)}; choose smaller ones"
                )
        for approach in approaches:
            approach.check(self.case, self.maps, self.seed)
            for measure in (each for each in measures if self.applies(each, approach)):
                if isinstance(measure.kind.how, OfSeeds):
                    approach.check(self.case, self.maps, other_seed(self.seed))
                elif measure.kind.is_kept:
                    self.numbers.load(*self._place(measure, approach))
        self.numbers.load(*self._place_of_agreement(approaches))

    def measured(self, measure: MeasureAsked, approach: Approach, values: Array) -> Measured | None:
        """A measure of a map, (H, W); None where it has no value, which is logged if nobody would expect it."""
        if not self.applies(measure, approach):
            return None
        stored = self.numbers.load(*self._place(measure, approach)) if measure.kind.is_kept else None
        if stored is None:
            # Outside: what is wrong with a file is no property of the map.
            how = measure.kind.how
            other = self._other(approach) if isinstance(how, OfSeeds) else None
            method = approach.method(self.case, self.seed) if isinstance(how, OfWeights) else None
            try:
                stored = Stored(self._computed(measure, approach, values, other, method))
            except ResultError as reason:  # a map that is the same everywhere, say
                logger.warning("%s, %s: %s has no value: %s", self.case.name, approach.name, measure.name, reason)
                return None
            if measure.kind.is_kept:
                self.numbers.save(*self._place(measure, approach), stored)
        value = float(stored.arrays["value"])
        if not np.isfinite(value):  # before random weights, maps can be the same everywhere
            logger.warning("%s, %s: %s has no value.", self.case.name, approach.name, measure.name)
            return None
        return Measured(value, stored.arrays)

    def applies(self, measure: MeasureAsked, approach: Approach) -> bool:
        """Whether a measure says something of a method here at all."""
        how = measure.kind.how
        if isinstance(how, OfRegion):
            return self.case.region is not None
        if isinstance(how, OfSeeds | OfWeights) and self.place >= measure.parameters.photos:
            return False
        return approach.about.random if isinstance(how, OfSeeds) else True

    def is_missing(self, measure: MeasureAsked, approach: Approach) -> bool:
        """Whether a measure is still to be taken that takes time."""
        if not measure.kind.is_kept or not self.applies(measure, approach):
            return False
        return not self.numbers.path(*self._place(measure, approach)).exists()

    def agreement(self, approaches: Sequence[Approach], values: Sequence[Array]) -> dict[str, Array]:
        """How alike the maps are, each with each: ``rank_correlation`` and ``top_overlap``, (M, M), NaN if unknown.

        Where one of two maps only says how much pixels matter, the other's absolute values are compared with it.
        """
        compute = partial(_agreement, [approach.about.says == "how much" for approach in approaches], values)
        stored = self.numbers.kept(*self._place_of_agreement(approaches), lambda: Stored(compute()))
        return dict(stored.arrays)

    def _other(self, approach: Approach) -> Array:
        return approach.find(self.case, self.maps, other_seed(self.seed)).values

    def _computed(
        self, measure: MeasureAsked, approach: Approach, values: Array, other: Array | None, method: Method | None
    ) -> dict[str, Array]:
        how, case = measure.kind.how, self.case
        if isinstance(how, OfNetwork):
            return how.value(self.scores, case.x, values, measure.parameters)
        if isinstance(how, OfWeights) and method is not None:
            return self._randomised(measure.parameters, approach, method)
        if isinstance(how, OfMap):
            value = how.value(values)
        elif isinstance(how, OfSeeds) and other is not None:
            value = how.value(values, other)
        elif isinstance(how, OfRegion) and case.region is not None:
            value = how.value(values, case.region, measure.parameters)
        return {"value": np.array(value)}

    def _randomised(self, asked: Any, approach: Approach, method: Method) -> dict[str, Array]:
        case = self.case
        names = layer_names(case.network.load())[: asked.layers]
        found = randomisation_curve(method, case.network, case.x, case.target, self.seed, asked.order, names)
        alike = found.absolute if approach.about.says == "how much" else np.abs(found.signed)
        return {"value": np.array(np.mean(alike)), "layers": alike}

    def _place(self, measure: MeasureAsked, approach: Approach) -> tuple[str, dict[str, Any]]:
        """What a measure's file is called, and what its numbers depend on."""
        identity = {
            "numbers_version": NUMBERS_VERSION,
            "measure": measure.key,
            "parameters": measure.parameters.model_dump(mode="json"),
            "map": dict(approach.identity(self.case, self.seed)),
            "seed": self.seed,
        }
        return f"{self.case.stem}-{approach.name}-{measure.key}", identity

    def _place_of_agreement(self, approaches: Sequence[Approach]) -> tuple[str, dict[str, Any]]:
        identity = {
            "numbers_version": NUMBERS_VERSION,
            "says": [approach.about.says for approach in approaches],
            "maps": [dict(approach.identity(self.case, self.seed)) for approach in approaches],
        }
        return f"{self.case.stem}-agreement", identity


def other_seed(seed: int) -> int:
    """The seed of maps that those of a seed are compared with."""
    return seed + 1 if seed + 1 < 2**64 else 0


def _agreement(unsigned: Sequence[bool], values: Sequence[Array]) -> dict[str, Array]:
    count = len(values)
    found = {name: np.eye(count) for name in ("rank_correlation", "top_overlap")}
    for first, second in combinations(range(count), 2):
        a, b = values[first], values[second]
        if unsigned[first] or unsigned[second]:
            a, b = np.abs(a), np.abs(b)
        try:
            pair = rank_correlation(a, b), top_overlap(a, b)
        except ResultError:  # one is the same everywhere
            pair = np.nan, np.nan
        for matrix, value in zip(found.values(), pair, strict=True):
            matrix[first, second] = matrix[second, first] = value
    return found

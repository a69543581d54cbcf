"""All that a comparison has found, and what follows from it for each measure and method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from predict_diff import __version__
from predict_diff.methods.method import Passes

from ..verifying.interval import Interval, interval
from .approaches import Approach, Found
from .case import Case
from .configuration import Comparison, MeasureAsked
from .measuring import Measured
from .summary import ByPhoto, Summary, over_networks, summaries


@dataclass(frozen=True, eq=False)
class Outcome:
    """What has been found for one photo before one network.

    Attributes
    ----------
    case : Case
    maps : dict of str to Found
        By the names of methods.
    passes : dict of str to Passes
        What each map costs.
    measured : dict of (str, str) to Measured
        By the names of methods and measures; those without a value are missing.
    agreement : dict of str to ndarray, shape (M, M), float64
        How alike the maps are, each with each.
    """

    case: Case
    maps: Mapping[str, Found]
    passes: Mapping[str, Passes]
    measured: Mapping[tuple[str, str], Measured]
    agreement: Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Results:
    """All outcomes of a comparison; the photos of a network lie behind one another, in the order of the comparison.

    Attributes
    ----------
    comparison : Comparison
    outcomes : dict of str to list of Outcome
        By the network's name.
    """

    comparison: Comparison
    outcomes: Mapping[str, list[Outcome]]
    _summaries: dict[tuple[str | None, str], dict[str, Summary]] = field(default_factory=dict)

    @property
    def approaches(self) -> tuple[Approach, ...]:
        return self.comparison.approaches

    @cached_property
    def measures(self) -> list[MeasureAsked]:
        """Those that have a value of some map: what looks at objects has none where nobody says where they are."""
        known = {measure for outcome in self.cases for _, measure in outcome.measured}
        return [each for each in self.comparison.measures if each.name in known]

    @property
    def networks(self) -> list[str]:
        return list(self.outcomes)

    def is_stand_in(self, network: str) -> bool:
        """Whether a network was taken because one that the comparison names is not there."""
        other = self.outcomes[network][0].case.classifier.card.stands_in_for
        asked = {each.name for each in self.comparison.networks}
        return self.comparison.stand_ins and other in asked and other not in self.networks

    @property
    def photos(self) -> int:
        """How many there are."""
        return len(self.outcomes[self.networks[0]])

    @property
    def tables(self) -> list[str | None]:
        """What there are tables of: all networks, where there are several, and each."""
        return [None, *self.networks] if len(self.networks) > 1 else [*self.networks]

    @property
    def over_networks(self) -> str:
        """What is to be said of averages where there are several networks."""
        return f", each averaged over {len(self.networks)} networks first" if len(self.networks) > 1 else ""

    @cached_property
    def cases(self) -> list[Outcome]:
        """All of them, network by network."""
        return [outcome for each in self.outcomes.values() for outcome in each]

    def summaries(self, measure: str, network: str | None = None) -> dict[str, Summary]:
        """Mean and interval over photos of a measure, method by method; of one network, or averaged over all."""
        if (network, measure) not in self._summaries:
            kind = next(each.kind for each in self.measures if each.name == measure)
            by_method = {each.name: self.by_photo(measure, each.name, network) for each in self.approaches}
            self._summaries[network, measure] = summaries(by_method, kind.direction)
        return self._summaries[network, measure]

    def by_photo(self, measure: str, method: str, network: str | None = None) -> ByPhoto:
        """A measure of a method's maps, photo by photo; of one network, or averaged over all."""
        chosen = self.networks if network is None else [network]
        return over_networks(
            [
                {
                    place: outcome.measured[method, measure].value
                    for place, outcome in enumerate(self.outcomes[name])
                    if (method, measure) in outcome.measured
                }
                for name in chosen
            ]
        )

    def seconds(self, method: str, network: str | None = None) -> Interval:
        """Seconds for a map: mean and interval over photos."""
        chosen = self.networks if network is None else [network]
        by_network = [self._seconds(name, method) for name in chosen]
        return interval([float(np.mean(each)) for each in zip(*by_network, strict=True)])

    def passes(self, method: str, network: str) -> Passes:
        """What a map costs."""
        return self.outcomes[network][0].passes[method]

    def curve(self, measure: str, method: str, array: str = "scores") -> NDArray[np.float64] | None:
        """Curves, (photos, T + 1), averaged over networks, of the photos that have one in each; None if none has."""
        rows = []
        for outcomes in zip(*self.outcomes.values(), strict=True):
            curves = [outcome.measured.get((method, measure)) for outcome in outcomes]
            if all(curves):
                rows.append([each.arrays[array] for each in curves if each is not None])
        # Small networks can have fewer squares than steps, and so shorter curves.
        if not rows or any(each.shape != rows[0][0].shape for row in rows for each in row):
            return None
        return np.asarray(np.mean(np.array(rows, np.float64), axis=1))

    @cached_property
    def versions(self) -> dict[str, str]:
        """Of what the maps were computed with, which can be older than what is installed; and of this program."""
        found: dict[str, dict[str, None]] = {}
        for outcome in self.cases:
            for each in outcome.maps.values():
                for package, version in each.versions.items():
                    found.setdefault(package, {})[version] = None
        found.setdefault("prediction-difference", {})[__version__] = None
        return {package: " and ".join(sorted(found[package])) for package in sorted(found)}

    def agreement(self, which: str) -> NDArray[np.float64]:
        """How alike the maps of methods are, (M, M), the mean over photos and networks."""
        return np.asarray(np.mean([outcome.agreement[which] for outcome in self.cases], axis=0))

    def _seconds(self, network: str, method: str) -> list[float]:
        return [outcome.maps[method].seconds for outcome in self.outcomes[network]]

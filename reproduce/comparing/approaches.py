"""How a comparison gets the map of each method: Algorithm 1 as figures run it, the others through their `explain`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from predict_diff.errors import ConfigurationError, ResultError
from predict_diff.methods.method import Method, Passes
from predict_diff.methods.prediction_difference import PredictionDifference
from predict_diff.result import versions

from ..config import SamplerName
from ..runner import share_missing
from ..subject import Subject
from .case import Case
from .storing import Store, Stored

#: Changes whenever the same configuration would give other numbers, so that stored maps are not taken for new ones.
NUMBERS_VERSION = 1

#: What a map tells of a pixel: whether it speaks for or against the class; how much it speaks for it; or only how much
#: it matters.
Says = Literal["for or against", "for", "how much"]


@dataclass(frozen=True, eq=False)
class Found:
    """The map of a method.

    Attributes
    ----------
    values : ndarray, shape (H, W), float64
    seconds : float
        What it took, when it was computed.
    versions : dict of str to str
        Of what it was computed with, which can be older than what is installed.
    """

    values: NDArray[np.float64]
    seconds: float
    versions: Mapping[str, str]


class Approach(Protocol):
    """A method of a comparison, with its parameters."""

    @property
    def name(self) -> str:
        """In this comparison."""

    @property
    def about(self) -> About:
        """What is to be said of it."""

    def settings(self, case: Case) -> dict[str, Any]:
        """The parameters, those by default included."""

    def identity(self, case: Case, seed: int) -> Mapping[str, Any]:
        """All that a map depends on, JSON-able."""

    def passes(self, case: Case) -> Passes:
        """What a map costs."""

    def share_missing(self, case: Case, store: Store, seed: int) -> float:
        """Which share of a map still has to be computed."""

    def check(self, case: Case, store: Store, seed: int) -> None:
        """Raise whatever is impossible, or wrong with what is stored."""

    def find(self, case: Case, store: Store, seed: int) -> Found:
        """The map: what is stored, or computed and stored then."""

    def method(self, case: Case, seed: int) -> Method:
        """What explains the case, and would explain it before another network."""


@dataclass(frozen=True)
class About:
    """What is to be said of a method.

    Attributes
    ----------
    source : str
        The paper that it comes from.
    says : {"for or against", "for", "how much"}
    random : bool
        Whether another seed gives another map.
    """

    source: str
    says: Says
    random: bool


@contextmanager
def _named(name: str, case: Case) -> Iterator[None]:
    """Say of what is impossible about which method it is."""
    try:
        yield
    except ConfigurationError as reason:
        raise ConfigurationError(f"{name}, before {case.classifier.card.title}: {reason}") from reason


@dataclass(frozen=True, eq=False)
class Competitor:
    """A method as `predict_diff.methods` has it.

    Attributes
    ----------
    kind : str
        What the method is called in the YAML.
    parameters : dict
        JSON-able.
    explains : Method
    """

    name: str
    about: About
    kind: str
    parameters: dict[str, Any]
    explains: Method

    def settings(self, case: Case) -> dict[str, Any]:
        return self.parameters

    def passes(self, case: Case) -> Passes:
        with _named(self.name, case):
            return self.explains.passes(case.x.shape)

    def share_missing(self, case: Case, store: Store, seed: int) -> float:
        return 0.0 if store.path(self._stem(case), self.identity(case, seed)).exists() else 1.0

    def check(self, case: Case, store: Store, seed: int) -> None:
        self.passes(case)
        store.load(self._stem(case), self.identity(case, seed))

    def find(self, case: Case, store: Store, seed: int) -> Found:
        found = store.kept(self._stem(case), self.identity(case, seed), lambda: self._computed(case, seed))
        return Found(found.arrays["map"], float(found.provenance["seconds"]), found.provenance["versions"])

    def method(self, case: Case, seed: int) -> Method:
        return self.explains

    def _computed(self, case: Case, seed: int) -> Stored:
        started = time.perf_counter()
        with _named(self.name, case):
            values = self.explains.explain(case.network, case.x, [case.target], seed)[0]
        took = time.perf_counter() - started
        if values.shape != case.x.shape[1:] or not np.isfinite(values).all():
            raise ResultError(
                f"{self.name}: expected a map of {case.x.shape[1]} x {case.x.shape[2]} finite numbers, found NaN, "
                f"infinity or shape {values.shape}; change its parameters, or leave the method out"
            )
        photo = {"name": case.photo.name, "source": case.photo.source}
        # As it is read from the file: sums in another order have other last bits.
        values = np.ascontiguousarray(values, np.float64)
        return Stored({"map": values}, {"seconds": took, "versions": versions(), "photo": photo})

    def _stem(self, case: Case) -> str:
        return f"{case.stem}-{self.kind}"

    def identity(self, case: Case, seed: int) -> dict[str, Any]:
        return {
            "numbers_version": NUMBERS_VERSION,
            "method": self.kind,
            "parameters": self.parameters,
            "seed": seed if self.about.random else None,
            **case.identity,
        }


@dataclass(frozen=True, eq=False)
class Difference:
    """Algorithm 1 as figures run it: their maps are these maps, and what was stopped goes on from its journal.

    Attributes
    ----------
    sampler : {"marginal", "conditional"}
    changes : dict
        Settings that are changed: k, l, samples, stride.
    """

    name: str
    about: About
    sampler: SamplerName
    changes: dict[str, Any]

    def settings(self, case: Case) -> dict[str, Any]:
        used = self.subject(case, 0).settings
        return {"sampler": self.sampler, "k": used.k, "l": used.l, "samples": used.samples, "stride": used.stride}

    def subject(self, case: Case, seed: int) -> Subject:
        """The photo before the network, as figures have it."""
        with _named(self.name, case):
            return case.subject(self.sampler, self.changes, seed)

    def passes(self, case: Case) -> Passes:
        # The photo itself is one more.
        return Passes(self.subject(case, 0).evaluations() + 1)

    def identity(self, case: Case, seed: int) -> Mapping[str, Any]:
        return self.subject(case, seed).identity(self.sampler)

    def share_missing(self, case: Case, store: Store, seed: int) -> float:
        return share_missing(self.subject(case, seed), self.sampler)

    def check(self, case: Case, store: Store, seed: int) -> None:
        subject = self.subject(case, seed)
        with _named(self.name, case):
            subject.check()

    def find(self, case: Case, store: Store, seed: int) -> Found:
        subject = self.subject(case, seed)
        found = subject.stored(self.sampler)
        if found is None:
            case.share_pool(subject)
            found = subject.compute(self.sampler, subject.sampler(self.sampler))
            subject.release()
        values, provenance = found.maps_of([0])[0].astype(np.float64, order="C"), found.provenance
        return Found(values, float(provenance["seconds"]), provenance["versions"])

    def method(self, case: Case, seed: int) -> Method:
        subject = self.subject(case, seed)
        return PredictionDifference(
            sampler=subject.sampler(self.sampler),
            samples=subject.settings.samples,
            stride=subject.settings.stride,
            instances=subject.settings.laplace_instances,
            batch_size=subject.choices.batch_size,
        )

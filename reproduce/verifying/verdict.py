"""What a claim says, and from a measurement to the verdict: computed, never written by hand."""

from __future__ import annotations

import math
from typing import Any, Literal, Self

from pydantic import Field, FiniteFloat, NonNegativeFloat, model_validator

from ..validation import Strict
from .interval import Interval, Relation, decide
from .measurement import Measurement

Verdict = Literal["reproduced", "deviates", "not measurable here"]

#: The same relations with and without equality; they differ for exact numbers only.
_SIDES: dict[str, Relation] = {"above": "above", "at_least": "above", "below": "below", "at_most": "below"}


class Expected(Strict):
    """Where a claim puts a number; a field of claims.yaml, explained there."""

    relation: Literal["above", "below", "at_least", "at_most", "within"]
    threshold: FiniteFloat
    tolerance: NonNegativeFloat | None = None

    @model_validator(mode="after")
    def _tolerance_fits(self) -> Self:
        if (self.relation == "within") != (self.tolerance is not None):
            raise ValueError("expected a tolerance with relation within, and with no other")
        return self

    def __str__(self) -> str:
        if self.tolerance is not None:
            return f"{self.threshold:g} ± {self.tolerance:g}"
        return f"{self.relation.replace('_', ' ')} {self.threshold:g}"


class Claim(Strict):
    """One entry of claims.yaml, where the fields are explained."""

    id: str
    place: str
    statement: str
    check: str
    parameters: dict[str, Any] = Field(default_factory=dict)
    meaning: str
    expected: Expected
    why: str
    trained: bool


def verdict(measured: Measurement, expected: Expected) -> tuple[Verdict, str]:
    """Whether a measurement bears a claim out.

    An interval has to lie on one side of the threshold as a whole. With relation ``within`` it is enough that it
    reaches the threshold's tolerance: whoever measures sees to it that it is not wide.

    Returns
    -------
    verdict : {"reproduced", "deviates", "not measurable here"}
        The last where the interval does not decide, since then what is here does not suffice.
    because : str
        The reason why it does not; empty otherwise.
    """
    if any(end is not None and not math.isfinite(end) for end in (measured.low, measured.high)):
        return "not measurable here", f"{measured.count} of the {measured.of} has no interval; more are needed"
    found = _within(measured, expected) if expected.tolerance is not None else _beside(measured, expected)
    if found is not None:
        return found, ""
    return "not measurable here", (
        f"the 95 % interval {measured.low:.3g} to {measured.high:.3g} holds the threshold {expected.threshold:g}: too "
        f"few {measured.of} ({measured.count}) to decide"
    )


def _beside(measured: Measurement, expected: Expected) -> Verdict | None:
    """For a claim that names a side; None if the interval does not decide."""
    side, threshold = _SIDES[expected.relation], expected.threshold
    if measured.low is None or measured.high is None:
        if measured.value == threshold:
            return "reproduced" if expected.relation in ("at_least", "at_most") else "deviates"
        decided = decide(measured.value, side, threshold)
    else:
        decided = decide(Interval(measured.value, measured.low, measured.high, measured.count), side, threshold)
    return None if decided == "undecided" else decided


def _within(measured: Measurement, expected: Expected) -> Verdict:
    """For a claim that names a number."""
    low, high = (measured.value if end is None else end for end in (measured.low, measured.high))
    tolerance = expected.tolerance or 0.0
    reaches = low <= expected.threshold + tolerance and high >= expected.threshold - tolerance
    return "reproduced" if reaches else "deviates"

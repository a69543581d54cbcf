"""What the check of a claim has measured, or why it could not."""

from __future__ import annotations

import math
from dataclasses import dataclass

from predict_diff.errors import PredictDiffError, ResultError

from .interval import Interval


class NotMeasurableError(PredictDiffError):
    """What a claim is about cannot be measured here; the message is what follows 'because'."""


@dataclass(frozen=True)
class Measurement:
    """One number that stands for a claim.

    Attributes
    ----------
    value : float
        In `unit`.
    low, high : float or None
        Ends of the 95 % interval. None for an exact number, such as a count or a largest difference; NaN where there is
        but one photo, which says nothing of others.
    unit : str
        Of the three; empty for shares, correlations and other pure numbers.
    detail : str
        One line: on which networks, photos and seeds, the spread over seeds, the null.
    count : int
        How many independent units the interval is over.
    of : str
        What these units are.

    Raises
    ------
    ResultError
        If the value is NaN or infinite, which is no measurement.
    """

    value: float
    low: float | None = None
    high: float | None = None
    unit: str = ""
    detail: str = ""
    count: int = 1
    of: str = "photos"

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise ResultError(f"measured value: expected a finite number, found {self.value}; compute it again")

    @classmethod
    def over(cls, found: Interval, unit: str = "", detail: str = "", of: str = "photos") -> Measurement:
        """The mean over some photos, or other independent units, with its interval."""
        return cls(found.mean, found.low, found.high, unit, detail, found.count, of)

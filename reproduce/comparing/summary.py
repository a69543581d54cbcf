"""From a number for each photo, network and method to means, intervals, and what is better than what.

Photos are the independent units: networks are averaged within a photo first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..verifying.interval import Interval, decide, interval

#: Which values of a measure are the better ones; "neither" for what merely describes a map.
Direction = Literal["higher", "lower", "neither"]

#: A measure's value of each photo, by the photo's place in the list.
ByPhoto = Mapping[int, float]


@dataclass(frozen=True)
class Summary:
    """A measure of a method over photos.

    Attributes
    ----------
    interval : Interval
        Mean and 95 % interval.
    best : bool
        Whether it is better than each other method, beyond the interval of their difference, photo by photo.
    """

    interval: Interval
    best: bool = False


def over_networks(values: Sequence[ByPhoto]) -> dict[int, float]:
    """The mean over networks of each photo that has a value in all of them."""
    photos = set.intersection(*(set(each) for each in values)) if values else set()
    return {photo: float(np.mean([each[photo] for each in values])) for photo in sorted(photos)}


def summaries(by_method: Mapping[str, ByPhoto], direction: Direction) -> dict[str, Summary]:
    """Mean and interval of each method that has a value at all, and which one is best.

    Parameters
    ----------
    by_method : mapping of str to mapping
        Methods by name; the values of photos, by the photo's place.
    direction : {"higher", "lower", "neither"}
        With "neither", none is best.
    """
    found = {name: interval(list(values.values())) for name, values in by_method.items() if values}
    best = _best(by_method, found, direction)
    return {name: Summary(each, name == best) for name, each in found.items()}


def paired_difference(first: ByPhoto, second: ByPhoto) -> Interval | None:
    """Mean and interval of the difference, over the photos that both have; None if there is no such photo."""
    shared = sorted(set(first) & set(second))
    return interval([first[photo] - second[photo] for photo in shared]) if shared else None


def _best(by_method: Mapping[str, ByPhoto], found: Mapping[str, Interval], direction: Direction) -> str | None:
    """The method that is better than each other one, beyond the interval of the paired difference; None if none is."""
    if direction == "neither" or len(found) < 2:
        return None
    relation: Literal["above", "below"] = "above" if direction == "higher" else "below"

    def is_better(first: str, second: str) -> bool:
        difference = paired_difference(by_method[first], by_method[second])
        return difference is not None and decide(difference, relation, 0.0) == "reproduced"

    # Not only that with the best mean: methods can have values of different photos.
    return next((one for one in found if all(is_better(one, other) for other in found if other != one)), None)


def number(value: float) -> float | None:
    """A number as JSON has it; None for NaN."""
    return None if math.isnan(value) else float(value)

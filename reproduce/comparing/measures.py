"""The measures that a comparison can take, by the names they have in its YAML: an entry for each, and no more."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt, model_validator

from predict_diff.measures import (
    Curve,
    blurred,
    deletion,
    gini,
    insertion,
    pixel_flipping,
    pointing_game,
    rank_correlation,
    relevance_mass_accuracy,
    total_variation,
)
from predict_diff.measures.scores import Scores

from ..validation import Strict
from .summary import Direction

Array = NDArray[np.float64]
Found = dict[str, Array]

#: Standard deviation of a blurred baseline in pixels.
Sigma = Annotated[float, Field(gt=0, le=1000)]
_SIGMA = 5.0


class Nothing(Strict):
    """No parameters."""


class CurveSettings(Strict):
    """Steps of the curve, at most one for each pixel; what is there before pixels are revealed, or after.

    That is the mean colour, or the photo blurred by a Gaussian of sigma pixels, 5 by default.
    """

    steps: PositiveInt = 100
    baseline: Literal["mean", "blur"]
    sigma: Sigma | None = None

    @model_validator(mode="before")
    @classmethod
    def _sigma_of_blur(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        baseline, sigma = values.get("baseline", cls.model_fields["baseline"].default), values.get("sigma")
        if baseline == "mean" and sigma is not None:
            raise ValueError(f"sigma: expected none with `baseline: mean`, found {sigma!r}; add `baseline: blur`")
        return {**values, "sigma": _SIGMA} if baseline == "blur" and sigma is None else values


class DeletionSettings(CurveSettings):
    """What takes the place of pixels is the mean colour."""

    baseline: Literal["mean", "blur"] = "mean"


class InsertionSettings(CurveSettings):
    """What is there at first is the blurred photo."""

    baseline: Literal["mean", "blur"] = "blur"


class FlippingSettings(Strict):
    """Side of the squares in pixels, and steps of the two curves."""

    square: PositiveInt = 9
    steps: PositiveInt = 100


class PointingSettings(Strict):
    """How far beside the object, in pixels of what the network sees, still counts as a hit."""

    tolerance: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 15.0


class SeedsSettings(Strict):
    """On how many photos, the first ones, maps are made with another seed."""

    photos: PositiveInt = 1


class RandomisationSettings(Strict):
    """On how many photos, the first ones, and for how many layers from the top weights are randomised."""

    photos: PositiveInt = 1
    layers: PositiveInt = 3
    order: Literal["cascading", "independent"] = "cascading"


@dataclass(frozen=True)
class OfMap:
    """Looks at the map alone."""

    value: Callable[[Array], float]


@dataclass(frozen=True)
class OfRegion:
    """Looks at the map and at where the object is."""

    value: Callable[[Array, NDArray[np.bool_], Any], float]


@dataclass(frozen=True)
class OfNetwork:
    """Changes the photo in the order of the map, and looks at what the network says.

    `forward` are the passes for each map, by the photo's height and width; `side` is that of the squares that change at
    once, in pixels.
    """

    value: Callable[[Scores, NDArray[np.float32], Array, Any], Found]
    forward: Callable[[Any, tuple[int, ...]], int]
    side: Callable[[Any], int] = lambda asked: 1


@dataclass(frozen=True)
class OfSeeds:
    """Compares two maps that random numbers have made."""

    value: Callable[[Array, Array], float]


@dataclass(frozen=True)
class OfWeights:
    """Compares the map with those of networks whose weights are random."""


@dataclass(frozen=True)
class Kind:
    """A measure.

    Attributes
    ----------
    title : str
        For headings.
    meaning : str
        What it says, and what it is of a map that knows nothing.
    direction : {"higher", "lower", "neither"}
        Which values are better.
    source : str
        The paper that it comes from.
    parameters : type
        What can be set, and its defaults.
    how : OfMap, OfRegion, OfNetwork, OfSeeds or OfWeights
    """

    title: str
    meaning: str
    direction: Direction
    source: str
    parameters: type[Strict]
    how: OfMap | OfRegion | OfNetwork | OfSeeds | OfWeights

    @property
    def is_kept(self) -> bool:
        """Whether its values take so long that they are stored; maps that are compared are stored themselves."""
        return isinstance(self.how, OfNetwork | OfWeights)


def _deletion(scores: Scores, x: NDArray[np.float32], relevance: Array, asked: DeletionSettings) -> Found:
    return _of_curve(deletion(scores, x, relevance, _baseline(x, asked.sigma), asked.steps))


def _insertion(scores: Scores, x: NDArray[np.float32], relevance: Array, asked: InsertionSettings) -> Found:
    return _of_curve(insertion(scores, x, relevance, _baseline(x, asked.sigma), asked.steps))


def _flipping(scores: Scores, x: NDArray[np.float32], relevance: Array, asked: FlippingSettings) -> Found:
    first = pixel_flipping(scores, x, relevance, "morf", asked.square, steps=asked.steps)
    last = pixel_flipping(scores, x, relevance, "lerf", asked.square, steps=asked.steps)
    return {
        "value": np.array(last.area - first.area),
        "fractions": first.fractions,
        "scores": first.scores,
        "least_first": last.scores,
    }


def _of_curve(found: Curve) -> Found:
    return {"value": np.array(found.area), "fractions": found.fractions, "scores": found.scores}


def _baseline(x: NDArray[np.float32], sigma: float | None) -> NDArray[np.float32]:
    return np.zeros_like(x) if sigma is None else blurred(x, sigma)


def _curve_passes(asked: CurveSettings, size: tuple[int, ...]) -> int:
    return min(asked.steps, math.prod(size)) + 1


def _flipping_passes(asked: FlippingSettings, size: tuple[int, ...]) -> int:
    squares = math.prod(-(-length // asked.square) for length in size)
    return 2 * (min(asked.steps, squares) + 1)


def _pointing(relevance: Array, region: NDArray[np.bool_], asked: PointingSettings) -> float:
    return pointing_game(relevance, region, asked.tolerance)


def _mass(relevance: Array, region: NDArray[np.bool_], asked: Nothing) -> float:
    return relevance_mass_accuracy(relevance, region)


_RISE = "Petsiuk, Das and Saenko 2018, arXiv:1806.07421"

MEASURES: dict[str, Kind] = {
    "deletion": Kind(
        "Deletion",
        "area under the probability of the class while pixels are replaced, the most relevant first",
        "lower",
        _RISE,
        DeletionSettings,
        OfNetwork(_deletion, _curve_passes),
    ),
    "insertion": Kind(
        "Insertion",
        "area under the probability of the class while pixels are revealed, the most relevant first",
        "higher",
        _RISE,
        InsertionSettings,
        OfNetwork(_insertion, _curve_passes),
    ),
    "pixel_flipping": Kind(
        "Flipping",
        "area between the probabilities while squares are replaced, the least and the most relevant first; 0 for a "
        "random map",
        "higher",
        "Bach et al. 2015, PLoS ONE 10; Samek et al. 2017, arXiv:1509.06321",
        FlippingSettings,
        OfNetwork(_flipping, _flipping_passes, lambda asked: asked.square),
    ),
    "sparsity": Kind(
        "Gini",
        "Gini index of the absolute relevance: 0 the same everywhere, 1 in one pixel",
        "neither",
        "Hurley and Rickard 2009, arXiv:0811.4706; Chalasani et al. 2020, arXiv:1810.06583",
        Nothing,
        OfMap(gini),
    ),
    "total_variation": Kind(
        "Total variation",
        "sum of |steps to right and lower neighbours| at norm 1: rough maps have more",
        "neither",
        "Rudin, Osher and Fatemi 1992, Physica D 60",
        Nothing,
        OfMap(total_variation),
    ),
    "pointing_game": Kind(
        "Pointing game",
        "share of photos whose most relevant pixel lies on the object, or so close to it; of several pixels that are "
        "equally relevant, the share that does",
        "higher",
        "Zhang et al. 2018, arXiv:1608.00507",
        PointingSettings,
        OfRegion(_pointing),
    ),
    "mass_accuracy": Kind(
        "Mass on the object",
        "share of the positive relevance that lies on the object; of a random map, the object's share of the pixels",
        "higher",
        "Arras, Osman and Samek 2022, arXiv:2003.07258",
        Nothing,
        OfRegion(_mass),
    ),
    "repeatability": Kind(
        "Two seeds",
        "rank correlation of two maps with different seeds: what is missing to 1 is noise of too few samples; none "
        "where nothing is random",
        "higher",
        "Spearman 1904",
        SeedsSettings,
        OfSeeds(rank_correlation),
    ),
    "weight_randomisation": Kind(
        "Random weights",
        "absolute rank correlation with the maps of networks whose weights are randomised, mean over layers: 0 "
        "for a map that depends on what the network has learnt",
        "lower",
        "Adebayo et al. 2018, arXiv:1810.03292",
        RandomisationSettings,
        OfWeights(),
    ),
}

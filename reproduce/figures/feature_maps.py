"""Which feature maps of a blob a figure draws, by rule or by number; all maps of the blob are explained in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from scipy.stats import rankdata

from predict_diff.errors import ConfigurationError

from ..classifier import Classifier
from ..config import SamplerName
from ..explanation import Explanation
from ..subject import Subject
from ..validation import Strict
from .scene import Scene

#: Paper: figures 5 and 6 sample conditionally.
SAMPLER: SamplerName = "conditional"

#: A picture of more panels would be too large to be drawn, and to be looked at.
_MOST = 64

_FORMS = "a rule with a count, such as {rule: strongest, count: 8}, or numbers, such as [3, 17]"

Array = NDArray[np.float64]


class Choice(Strict):
    """Feature maps by rule, or by number.

    Attributes
    ----------
    rule : {"strongest", "diverse"}, optional
        See `strongest` and `diverse`.
    count : int, optional
        How many maps the rule is to find.
    numbers : list of int, optional
        In place of the two. In YAML they stand alone, as ``maps: [3, 17]``.
    """

    rule: Literal["strongest", "diverse"] | None = None
    count: Annotated[int, Field(ge=1, le=_MOST)] | None = None
    numbers: list[Annotated[int, Field(ge=0)]] | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_list(cls, given: Any) -> Any:
        if isinstance(given, list):
            return {"numbers": given}
        if not isinstance(given, dict):
            raise ValueError(f"expected {_FORMS}, found {str(given)[:80]!r}")
        return given

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.numbers is None) != (self.rule is not None and self.count is not None):
            raise ValueError(f"expected {_FORMS}, found only a part, or both")
        if self.numbers is not None and not 1 <= len(set(self.numbers)) == len(self.numbers) <= _MOST:
            raise ValueError(f"expected 1 to {_MOST} different numbers, found {str(self.numbers)[:80]}")
        return self

    def check(self, classifier: Classifier, blob: str) -> None:
        """ConfigurationError if the blob has no such map, or not so many."""
        available = classifier.network.blobs[blob][0]
        owner = f"blob '{blob}' of {classifier.card.title}"
        strange = [number for number in self.numbers or () if number >= available]
        if strange:
            raise ConfigurationError(
                f"maps: expected numbers from 0 to {available - 1}, for {owner} has {available} feature maps, found "
                f"{strange[0]}; choose others with --set 'maps=[...]'"
            )
        if self.count is not None and self.count > available:
            raise ConfigurationError(
                f"maps: expected at most {available}, as many feature maps as {owner} has, found count {self.count}; "
                f"choose fewer with --set 'maps={{rule: {self.rule}, count: {available}}}'"
            )

    def choose(self, explanations: Sequence[Explanation]) -> list[int]:
        """Numbers of the maps to draw, given the relevance of all maps of a blob for one photo, or for several."""
        if self.numbers is not None:
            return self.numbers
        rule = strongest if self.rule == "strongest" else diverse
        return rule([item.relevance[SAMPLER].relevance for item in explanations], self.count or 1)

    def describe(self) -> str:
        """What was chosen and how, for a caption."""
        if self.numbers is not None:
            return "Feature maps chosen by number."
        largest = "largest mean |relevance| over windows"
        if self.rule == "strongest":
            return f"Feature maps chosen: the {self.count} with the {largest}."
        return (
            f"Feature maps chosen: the one with the {largest}; then, from the stronger half, always the one whose "
            f"relevance is least like that of those chosen before (rank correlation over windows), {self.count} in all."
        )


def subjects_of(scene: Scene, blobs: Sequence[str], choice: Choice) -> list[Subject]:
    """Every network's every photo for all feature maps of each blob, a subject for each blob.

    Blobs are not explained together, although that would be one pass: an early one needs early layers only.

    Raises
    ------
    ConfigurationError
        If a blob has no feature maps, or not those that are to be drawn.
    NetworkError
        If a network has no such blob.
    """
    maps = {(classifier, which): classifier.feature_maps(which) for classifier in scene.classifiers for which in blobs}
    for (classifier, _), targets in maps.items():
        choice.check(classifier, targets[0].blob)
    return [
        scene.subject(photo, classifier, (SAMPLER,), maps[classifier, which])
        for classifier in scene.classifiers
        for photo in scene.photos
        for which in blobs
    ]


def largest(explanation: Explanation, number: int) -> float:
    """The largest absolute value of the relevance map of a feature map, in units of its activation."""
    return float(np.abs(explanation.relevance[SAMPLER].maps_of([number])).max())


def strongest(relevance: Sequence[Array], count: int) -> list[int]:
    """The feature maps with the largest strength, the strongest first.

    Parameters
    ----------
    relevance : sequence of ndarray, shape (M, n), float64
        For each photo: relevance of each window for the mean of each of M feature maps.
    count : int
        At most M.

    Returns
    -------
    list of int
        Different numbers of maps. Of equal ones, the lower comes first.
    """
    return [int(number) for number in np.argsort(-strength(relevance), kind="stable")[:count]]


def strength(relevance: Sequence[Array]) -> Array:
    """Mean |relevance| over windows, relative to the mean over a photo's maps, so that photos weigh alike; (M,)."""
    total = np.zeros(len(relevance[0]))
    for values in relevance:
        # Map by map: a copy of all would take as much memory as they do.
        absolute = np.array([np.abs(row).mean() for row in values])
        total += absolute / (absolute.mean() or 1.0)
    return total / len(relevance)


def diverse(relevance: Sequence[Array], count: int) -> list[int]:
    """The strongest feature map; then, time and again, the one that is least like those chosen before.

    How alike two maps are is the absolute rank correlation of their relevance over windows, averaged over photos. How
    alike a map is to those chosen is the largest of these. Only the stronger half takes part: among weak maps, noise
    would look most different.

    Parameters and result are those of `strongest`.
    """
    half = max(count, -(-len(relevance[0]) // 2))
    candidates = strongest(relevance, half)
    alike = np.zeros((half, half))
    for values in relevance:
        alike += _rank_correlations(values, candidates)
    chosen = [0]
    while len(chosen) < count:
        nearest = np.max(alike[chosen], axis=0)
        nearest[chosen] = np.inf
        chosen.append(int(np.argmin(nearest)))
    return [candidates[number] for number in chosen]


def _rank_correlations(relevance: Array, maps: Sequence[int]) -> Array:
    """|Spearman's rank correlation| over windows of each pair of maps; a map that ranks nothing is like any other."""
    ranks = np.empty((len(maps), relevance.shape[1]), np.float32)
    constant = np.zeros(len(maps), bool)
    for row, number in enumerate(maps):
        centred = rankdata(relevance[number]) - (relevance.shape[1] + 1) / 2
        norm = np.linalg.norm(centred)
        constant[row] = norm == 0
        ranks[row] = centred / (norm or 1.0)
    alike: Array = np.abs(ranks @ ranks.T).astype(np.float64)
    alike[constant] = alike[:, constant] = 1.0
    return alike

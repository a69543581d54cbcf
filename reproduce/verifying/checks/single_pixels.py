"""Windows of one pixel (figure 3): whether removing one has an effect, and where the largest effects lie."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from predict_diff.errors import ConfigurationError
from predict_diff.measures.regions import Mask, overlap
from predict_diff.top_pixels import top_pixels

from ...classifier import Classifier
from ...explanation import Explanation
from ...figures import figure3
from ...figures.make import read_figure
from ...photos import Photo
from ..material import Material
from ..measurement import Measurement
from ..over_photos import Terms, contrast
from ..overlaps import edges, random_overlap, shifted_overlaps
from ..registry import check
from ..standard_maps import noise_share

#: From so many shifts their mean overlap is known to about a thousandth: overlaps of 5 % vary by some hundredths.
_SHIFTS = 1000


@dataclass(frozen=True, eq=False)
class _Pixels:
    """What figure 3 shows of one photo: the maps, and masks (H, W) of their top pixels by absolute value."""

    explanation: Explanation
    share: float

    @property
    def relevant(self) -> Mask:
        return top_pixels(self.explanation.relevance["conditional"].maps_of([0])[0], self.share)

    @property
    def sensitive(self) -> Mask:
        return top_pixels(self.explanation.sensitivity[0], self.share)


@check("single_pixel_effect")
def single_pixel_effect(material: Material, seeds: int = 1) -> Measurement:
    """Share of the squared relevance of single pixels that is no sampling noise.

    It is 1 if samples agree. Null: 0, removing a pixel has no effect and all relevance is noise.
    """
    largest: list[str] = []

    def terms(photo: Photo, classifier: Classifier, seed: int) -> tuple[float, float]:
        found = _pixels(material, photo, classifier, seed).explanation.relevance["conditional"]
        largest.append(f"{photo.name} {np.abs(found.relevance[0]).max():.2g} of {found.known[0]:.3g}")
        return 1.0, noise_share(found, 0)

    found = _over_figure_3(material, terms, ("all of it", "the share that standard errors account for"), seeds)
    return replace(found, detail=f"{found.detail}; largest effects on the unit: {', '.join(largest)}")


@check("single_pixels_and_sensitivity")
def single_pixels_and_sensitivity(material: Material, seeds: int = 1) -> Measurement:
    """Share of the top pixels of k = 1 that are the sensitivity map's, too, less that of shifted top pixels.

    Null: 0. Shifts keep how pixels cluster, and break what they share with the other map.
    """
    beaten: list[str] = []

    def terms(photo: Photo, classifier: Classifier, seed: int) -> tuple[float, float]:
        pixels = _pixels(material, photo, classifier, seed)
        both = overlap(pixels.relevant, pixels.sensitive)
        shifted = shifted_overlaps(pixels.relevant, pixels.sensitive, _SHIFTS, seed)
        beaten.append(f"{photo.name} {(shifted >= both).mean():.3g}")
        return both, float(shifted.mean())

    found = _over_figure_3(material, terms, ("overlap", "its mean under circular shifts"), seeds)
    return replace(found, detail=f"{found.detail}; share of shifts that overlap as much: {', '.join(beaten)}")


@check("outlines")
def outlines(material: Material, seeds: int = 1) -> Measurement:
    """Share of the top pixels of k = 1 on the photo's edges, less that of as many pixels placed at random.

    Null: 0, for pixels that do not care for edges: they lie there as often as edges cover the photo.
    """

    def terms(photo: Photo, classifier: Classifier, seed: int) -> tuple[float, float]:
        pixels = _pixels(material, photo, classifier, seed)
        lines = edges(pixels.explanation.view)
        return overlap(pixels.relevant, lines), random_overlap(lines, int(pixels.relevant.sum())).mean

    return _over_figure_3(material, terms, ("top pixels on edges", "as many at random"), seeds)


@check("outlines_beyond_sensitivity")
def outlines_beyond_sensitivity(material: Material, seeds: int = 1) -> Measurement:
    """Share of the top pixels of k = 1 on the photo's edges, less that of the sensitivity map's top pixels.

    Null: 0, both lie on outlines to one share.
    """

    def terms(photo: Photo, classifier: Classifier, seed: int) -> tuple[float, float]:
        pixels = _pixels(material, photo, classifier, seed)
        lines = edges(pixels.explanation.view)
        return overlap(pixels.relevant, lines), overlap(pixels.sensitive, lines)

    return _over_figure_3(material, terms, ("top pixels on edges", "the sensitivity map's"), seeds)


def _over_figure_3(material: Material, terms: Terms, words: tuple[str, str], seeds: int) -> Measurement:
    """A contrast over the photos of figure 3, unless the user named others, and the first seeds.

    Each map takes minutes; with one seed they are figure 3's own.

    Raises
    ------
    ConfigurationError
        If there are not that many seeds.
    """
    if not 1 <= seeds <= len(material.seeds):
        raise ConfigurationError(
            f"claims.yaml: seeds of a claim: expected 1 to {len(material.seeds)}, as many as it lists, found {seeds}"
        )
    photos = material.photos if material.request.photos else [material.photo(name) for name in _figure().photos]
    network = material.network(_figure().networks[0])
    return contrast(material, terms, words, photos=photos, classifiers=[network], seeds=material.seeds[:seeds])


def _pixels(material: Material, photo: Photo, classifier: Classifier, seed: int) -> _Pixels:
    """As figure 3 has them, so that its maps are read where they are there."""
    top = material.best_three(photo, classifier)[:1]
    k, share = _figure().k, _figure().share
    explanation = material.explanation(photo, classifier, ("conditional",), top, k=k, seed=seed, sensitivity=True)
    return _Pixels(explanation, share)


def _figure() -> figure3.Configuration:
    return cast(figure3.Configuration, read_figure("figure3"))

"""What both samplers' maps of one photo say of the samplers, and how much of it is sampling noise."""

from __future__ import annotations

import numpy as np

from .material import Material
from .measurement import Measurement
from .over_photos import Terms, contrast
from .standard_maps import CLASSES, SAMPLERS, noise_share, standard_maps


def contrast_of_samplers(material: Material, terms: Terms, words: tuple[str, str], samples: int) -> Measurement:
    """A contrast for AlexNet, or what stands in for it, and the first seed; parameters as `contrast` has them.

    Absolute relevance has noise in it that does not average out, and the samplers have not the same share of it: with
    two samples it moves a statistic of absolute relevance by itself. So these claims take the paper's S whatever the
    settings are, on one network and with one seed, since each map takes ten times as long as at S = 2.

    Parameters
    ----------
    samples : int
        S of the maps that `terms` asks for.

    Returns
    -------
    Measurement
        The detail has the share of noise in the highest class's squared relevance, the mean over photos.
    """
    network, seed = material.network("alexnet"), material.seeds[0]
    shares = []
    for photo in material.photos:
        found = standard_maps(material, photo, network, seed, samples).relevance
        shares.append([noise_share(found[name], CLASSES) for name in SAMPLERS])
    by_sampler = ", ".join(f"{name} {share:.3g}" for name, share in zip(SAMPLERS, np.mean(shares, axis=0), strict=True))
    note = f"S = {samples}; sampling noise in the squared relevance: {by_sampler}"
    return contrast(material, terms, words, classifiers=[network], seeds=[seed], note=note)

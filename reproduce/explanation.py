"""What has been computed of one photo before one network: all that figures and claims are made from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from predict_diff.result import RelevanceMap
from predict_diff.targets import Target

from .classifier import Classifier
from .config import SamplerName, Settings
from .photos import Photo


@dataclass(frozen=True, eq=False)
class Explanation:
    """All that a figure shows of one photo and one network.

    Attributes
    ----------
    view : ndarray, shape (H, W, 3), float32
        The photo as the network sees it, RGB in [0, 1].
    best : list of (str, float)
        The classes with the highest probability, by name, and these probabilities.
    targets : tuple of Target
    sensitivity : list of ndarray, shape (H, W), float32
        One for each target; none where they were not asked for.
    relevance : dict
        The relevance map of each sampler; it holds all targets.
    """

    photo: Photo
    classifier: Classifier
    settings: Settings
    view: NDArray[np.float32]
    best: list[tuple[str, float]]
    targets: tuple[Target, ...]
    sensitivity: list[NDArray[np.float32]]
    relevance: dict[SamplerName, RelevanceMap]

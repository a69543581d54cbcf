"""Prediction difference analysis itself, in the call shape of all methods."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from ..algorithm import measures_of, prediction_difference
from ..errors import ConfigurationError, closest
from ..network.choosing import EvaluatorName, choose_evaluator
from ..network.incremental import IncrementalEvaluator
from ..network.minibatch import MiniBatchEvaluator
from ..network.predictor import Predictor
from ..network.target_values import arrangement
from ..result import RelevanceMap
from ..samplers.gaussian import GaussianSampler
from ..samplers.marginal import MarginalSampler
from ..samplers.pool import check_pool
from ..samplers.sampler import Sampler
from ..samplers.statistics import GaussianStatistics
from ..targets import Target
from ..windows import WindowGrid
from .checking import check_evaluation, subject, whole
from .method import Passes
from .parameters import Parameters

logger = logging.getLogger(__name__)

SamplerName = Literal["conditional", "marginal"]

#: Paper: k = 10 and l = k + 4, for photos of 224 and 227 pixels.
PAPER_K, BORDER = 10, 4
#: Fewer images a class than a classifier is trained on: a pool of fewer is no training set.
_IMAGES_OF_A_CLASS = 10

_OF_A_SAMPLER = ("k", "sample", "describe")


@dataclass
class PredictionDifference(Parameters):
    """Algorithm 1: how a target changes when each window is replaced by samples: signed, averaged over windows.

    Zintgraf, Cohen and Welling (2017), *Visualizing Deep Neural Network Decisions: Prediction Difference Analysis*,
    ICLR, arXiv:1702.04595; first as arXiv:1603.02518.

    Parameters
    ----------
    k : int, optional
        Side of a window, in pixels. By default the sampler's, or `window_side`: 10, as in the paper, for images of 91
        pixels on; a tenth of the side, rounded up, but at least 2, for smaller ones.
    l : int, optional
        Side of the outer patch that conditional samples look at; by default k + 4, as far as it fits in.
    sampler : {"conditional", "marginal"} or Sampler, default "conditional"
        "conditional": p(x_w | surround), a Gaussian fitted on 25,000 patches of the images that `fit` gets. "marginal":
        what stands at the same place in `samples` of these images. Any other sampler needs no `fit`.
    samples : int, default 20
        S, for each window.
    stride : int, default 1
        Step between windows, in pixels.
    instances : int, optional
        N of the Laplace correction, which keeps probabilities off 0 and 1: with how many images the classifier was
        trained. By default as many as `fit` gets, if these may be the training images: 10 for each class, at least.
    evaluator : {"auto", "incremental", "minibatch"}
        See `choose_evaluator`.
    batch_size : int, optional
        Images that are evaluated at once; chosen from memory by default.
    """

    k: int | None = None
    l: int | None = None
    sampler: SamplerName | Sampler = "conditional"
    samples: int = 20
    stride: int = 1
    instances: int | None = None
    evaluator: EvaluatorName = "auto"
    batch_size: int | None = None

    def __post_init__(self) -> None:
        self._images: NDArray[np.float32] | None = None
        self._built: tuple[tuple[object, ...], Sampler] | None = None
        self._evaluating: tuple[tuple[object, ...], IncrementalEvaluator | MiniBatchEvaluator] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """For copies: sessions have none, and are made anew."""
        return {**self.__dict__, "_evaluating": None}

    def fit(self, images: NDArray[np.float32]) -> Self:
        """Keep the images that samples come from. The Gaussian is fitted when it is first needed.

        Parameters
        ----------
        images : ndarray, shape (P, C, H, W), float32
            As the network sees them. The ones to be explained should not be among them.

        Raises
        ------
        SamplerError
            If there are none, or they are of another shape or not finite.
        """
        self._images, self._built = check_pool(images), None
        return self

    def explain(
        self, network: Predictor, x: NDArray[np.float32], targets: Sequence[Target], seed: int = 0
    ) -> NDArray[np.float64]:
        """See `Method.explain`; errors as of `relevance_map`."""
        return np.asarray(self.relevance_map(network, x, targets, seed).maps, np.float64)

    def relevance_map(
        self,
        network: Predictor,
        x: NDArray[np.float32],
        targets: Sequence[Target],
        seed: int = 0,
        progress: Callable[[int, int], None] | None = None,
        journal: str | Path | None = None,
    ) -> RelevanceMap:
        """All that Algorithm 1 finds: relevance of windows, maps, and their standard errors.

        Parameters
        ----------
        network, x, targets, seed
            As for `Method.explain`.
        progress, journal
            As for `prediction_difference`.

        Raises
        ------
        ConfigurationError
            If a parameter is impossible, N is not known, or the sampler needs images and `fit` has not been called.
        PredictDiffError
            If image, targets, sampler and network do not fit each other.
        """
        x, targets = subject(network, x, targets)
        check_evaluation(self.evaluator, self.batch_size)
        samples, stride = whole("samples", self.samples), whole("stride", self.stride)
        instances = self._laplace_instances(network, targets)
        sampler = self._sampler(x.shape)
        WindowGrid(x.shape[1], x.shape[2], sampler.k, stride)  # before an evaluator is built
        evaluator = self._evaluator(network, tuple(targets), sampler.k)
        return prediction_difference(
            x, evaluator, sampler, samples, stride, seed, instances, progress=progress, journal=journal
        )

    def passes(self, shape: tuple[int, ...], targets: int = 1) -> Passes:
        """See `Method.passes`."""
        grid = WindowGrid(shape[1], shape[2], self.sides(shape)[0], self.stride)
        return Passes(forward=1 + self.samples * len(grid))

    def sides(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """k and l for images of shape (C, H, W); ConfigurationError if they do not fit in."""
        side = min(shape[1:])
        if not isinstance(self.sampler, str):
            if isinstance(self.sampler, type) or not all(hasattr(self.sampler, name) for name in _OF_A_SAMPLER):
                raise ConfigurationError(
                    f"sampler: expected conditional, marginal or a sampler, found {self.sampler!r}"
                )
            k = whole("the sampler's k", self.sampler.k, side, ", to fit into the image")
            if self.k not in (None, k):
                raise ConfigurationError(f"k: expected {k}, that of the sampler, found {self.k}; leave it out")
            if self.l is not None:
                raise ConfigurationError(f"l: expected none, for the sampler has its own, found {self.l}; leave it out")
            return k, k
        most = None if self.l is None else whole("l", self.l) - 1
        k = whole("k", window_side(shape, most) if self.k is None else self.k, side, ", to fit into the image")
        if self.sampler == "marginal":
            return k, k
        l = min(k + BORDER, side) if self.l is None else whole("l", self.l, side, ", to fit into the image")
        if self.l is not None and l <= k:
            raise ConfigurationError(
                f"l: expected more than k = {k}, so that there is a surround to condition on, found {l}"
            )
        if l == k:
            raise ConfigurationError(
                f"k: expected less than {side}, the side of the image, so that there is a surround to condition on, "
                f"found {k}; choose a smaller k"
            )
        return k, l

    def _sampler(self, shape: tuple[int, ...]) -> Sampler:
        """What draws, made from the images of `fit` unless it was given."""
        k, l = self.sides(shape)
        if not isinstance(self.sampler, str):
            return self.sampler
        if self.sampler not in ("conditional", "marginal"):
            raise ConfigurationError(
                f"sampler: expected conditional, marginal or a sampler, found {self.sampler!r}"
                f"{closest(self.sampler, ('conditional', 'marginal'))}"
            )
        if self._images is None:
            raise ConfigurationError(
                f"pool: expected other images, prepared alike, from which the {self.sampler} sampler learns, found "
                f"none; give some, or a sampler that needs none, such as predict_diff.samplers.BlurFill({k})"
            )
        key = (self.sampler, k, l)
        built = self._built  # which another thread may replace
        if built is None or built[0] != key:
            sampler: Sampler
            if self.sampler == "conditional":
                logger.info("Windows of %d x %d pixels, outer patches of %d x %d.", k, k, l, l)
                sampler = GaussianSampler(GaussianStatistics.fit(self._images, l), k)
            else:
                logger.info("Windows of %d x %d pixels.", k, k)
                sampler = MarginalSampler(self._images, k)
            self._built = built = key, sampler
        return built[1]

    def _evaluator(
        self, network: Predictor, targets: tuple[Target, ...], k: int
    ) -> IncrementalEvaluator | MiniBatchEvaluator:
        """The last one, if it fits: for many images, whose targets may be other units of the same blobs."""
        key = (id(network), arrangement(targets), k, self.batch_size, self.evaluator)
        last = self._evaluating  # which another thread may replace
        if last is None or last[0] != key:
            self._evaluating = last = None  # two at a time may be too large
            self._evaluating = last = key, choose_evaluator(network, targets, k, self.batch_size, self.evaluator)
        return last[1].for_targets(targets)

    def _laplace_instances(self, network: Predictor, targets: Sequence[Target]) -> int:
        """N; 1 where nothing is a probability, since it plays no part then."""
        if self.instances is not None:
            return whole("instances", self.instances)
        measures = measures_of(network, targets)
        if "WE" not in measures:
            return 1
        classes = max(
            network.classes(target.blob) for target, measure in zip(targets, measures, strict=True) if measure == "WE"
        )
        images = 0 if self._images is None else len(self._images)
        if images < _IMAGES_OF_A_CLASS * classes:
            raise ConfigurationError(
                f"instances: expected the number of images that the classifier was trained on (N of the Laplace "
                f"correction), since {images} other images, for {classes} classes, cannot be all of them; for ImageNet "
                f"it is 1281167"
            )
        return images


def window_side(shape: tuple[int, ...], most: int | None = None) -> int:
    """k for images of shape (C, H, W): 10, as in the paper, from 91 pixels on; less for smaller images.

    A tenth of the smaller side, rounded up, but at least 2 pixels, and less than the side.
    """
    side = min(shape[1:])
    k = min(PAPER_K, max(2, ceil(side / 10)), max(1, side - 1))
    return k if most is None else min(k, max(1, most))

"""The method that prediction difference analysis comes from: pixel by pixel, whatever the other pixels say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigurationError
from ..network.choosing import EvaluatorName
from ..network.predictor import Predictor
from ..samplers.marginal import MarginalSampler
from ..samplers.pool import check_pool
from ..targets import Target
from .checking import check_evaluation, subject
from .method import Passes
from .parameters import Parameters
from .prediction_difference import PredictionDifference


@dataclass
class UnivariateMarginal(Parameters):
    """Weight of evidence of single pixels, each replaced by what stands there in other images: signed, in bits.

    Robnik-Šikonja and Kononenko (2008), *Explaining Classifications for Individual Instances*, IEEE Transactions on
    Knowledge and Data Engineering 20(5). It is Algorithm 1 with windows of one pixel and marginal samples: the
    special case that Zintgraf, Cohen and Welling start from.

    Parameters
    ----------
    samples : int, optional
        S: other images, a random choice for each pixel, that its value is taken from; by default 20. None: every
        image that the method has been fitted to, which is the original's sum over a feature's values, each weighted
        with how often it occurs.
    instances : int, optional
        N of the Laplace correction; as for `PredictionDifference`.
    evaluator : {"auto", "incremental", "minibatch"}
        How changed images are evaluated; see `choose_evaluator`.
    batch_size : int, optional
        Images that are evaluated at once; chosen from memory by default.

    Notes
    -----
    A feature is a pixel with all of its channels, as in Zintgraf et al.; the original has features of one value, of
    which continuous ones are made discrete. Targets that are no probabilities get the activation difference.
    """

    samples: int | None = 20
    instances: int | None = None
    evaluator: EvaluatorName = "auto"
    batch_size: int | None = None

    def __post_init__(self) -> None:
        self._images: NDArray[np.float32] | None = None

    def fit(self, images: NDArray[np.float32]) -> Self:
        """Keep the images whose pixels are put in.

        Parameters
        ----------
        images : ndarray, shape (P, C, H, W), float32
            As the network sees them; the ones to be explained should not be among them.

        Raises
        ------
        SamplerError
            If there are none, or they are of another shape or not finite.
        """
        self._images = check_pool(images)
        return self

    def explain(
        self, network: Predictor, x: NDArray[np.float32], targets: Sequence[Target], seed: int = 0
    ) -> NDArray[np.float64]:
        """See `Method.explain`.

        Raises
        ------
        ConfigurationError
            If the method has not been fitted.
        SamplerError
            If it has been fitted to fewer images than `samples`, or to others than the network's.
        """
        x, targets = subject(network, x, targets)
        check_evaluation(self.evaluator, self.batch_size)
        images = self._fitted()
        difference = PredictionDifference(
            sampler=MarginalSampler(images, 1, first=self.samples is None),
            samples=len(images) if self.samples is None else self.samples,
            instances=self.instances,
            evaluator=self.evaluator,
            batch_size=self.batch_size,
        )
        return difference.fit(images).explain(network, x, targets, seed)

    def passes(self, shape: tuple[int, ...], targets: int = 1) -> Passes:
        """See `Method.passes`."""
        samples = len(self._fitted()) if self.samples is None else self.samples
        return Passes(forward=1 + samples * shape[1] * shape[2])

    def _fitted(self) -> NDArray[np.float32]:
        if self._images is None:
            raise ConfigurationError(
                f"{type(self).__name__}: expected a method fitted to other images, found one that is not; call "
                f"fit(images) first"
            )
        return self._images

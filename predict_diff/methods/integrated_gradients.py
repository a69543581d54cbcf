"""Integrated gradients: what each pixel contributes on the straight way from a baseline to the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..network.predictor import Predictor
from ..network.target_values import TargetValues
from ..targets import Target
from .checking import baseline_image, subject, whole
from .gradients import mean_gradients, start
from .method import Passes
from .parameters import Parameters


@dataclass
class IntegratedGradients(Parameters):
    """The mean gradient between a baseline and the image, times their difference, summed over channels: signed.

    Sundararajan, Taly and Yan (2017), *Axiomatic Attribution for Deep Networks*, ICML, arXiv:1703.01365, eq. 1. A
    map's sum over all pixels is the difference between the scores of image and baseline, up to `completeness_gap`.

    Parameters
    ----------
    baseline : float, or array_like of shape (C,) or (C, H, W), default 0
        Where the way begins, in the network's input space: one value, one for each channel, or an image. The paper
        takes a black image; where the mean is subtracted from images, 0 is the mean colour instead.
    steps : int, default 50
        Points on the way. The paper: 20 to 300.
    probability : bool, default False
        Differentiate the probability instead of the score before the softmax.
    batch_size : int, optional
        Images that are differentiated at once; chosen from memory by default.

    Notes
    -----
    The integral is taken by the midpoint rule, at (i + 1/2) / steps of the way. The paper's eq. 3 takes the right
    ends, i / steps, whose error falls with 1 / steps instead of its square. captum takes Gauss-Legendre points by
    default, and these with ``method="riemann_middle"``.

    The paper differentiates the probability. The default here is the score, as for all methods of this package that
    use gradients; `probability` gives the paper's.
    """

    baseline: ArrayLike = 0.0
    steps: int = 50
    probability: bool = False
    batch_size: int | None = None

    def explain(
        self, network: Predictor, x: NDArray[np.float32], targets: Sequence[Target], seed: int = 0
    ) -> NDArray[np.float64]:
        """See `Method.explain`. Nothing is random."""
        x, targets = subject(network, x, targets)
        baseline, steps = baseline_image(self.baseline, x), whole("steps", self.steps)
        way = x - baseline
        starts = [start(network, target, self.probability) for target in targets]
        gradients = mean_gradients(
            network, lambda step: baseline + (step + 0.5) / steps * way, steps, starts, self.batch_size
        )
        return np.stack([(gradient * way).sum(axis=0) for gradient in gradients])

    def completeness_gap(
        self, network: Predictor, x: NDArray[np.float32], targets: Sequence[Target], maps: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """How far maps are from completeness: what they sum to, less the difference of the scores.

        The axiom holds for the integral; a gap that is not small beside the difference asks for more steps.

        Parameters
        ----------
        network, x, targets
            As for `explain`.
        maps : ndarray, shape (U, H, W), float64
            What `explain` gave for them.

        Returns
        -------
        ndarray, shape (U,), float64
            In the score's own units.
        """
        x, targets = subject(network, x, targets)
        ends = np.stack([x, baseline_image(self.baseline, x).astype(np.float32)])
        starts = [start(network, target, self.probability) for target in targets]
        there, here = TargetValues(network, starts)(ends).astype(np.float64)
        return np.asarray(np.asarray(maps, np.float64).sum(axis=(1, 2)) - (there - here))

    def passes(self, shape: tuple[int, ...], targets: int = 1) -> Passes:
        """See `Method.passes`."""
        return Passes(forward=self.steps * targets, backward=self.steps * targets)

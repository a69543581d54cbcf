"""Gradient times input: the first-order share of each pixel in the score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..network.predictor import Predictor
from ..targets import Target
from .checking import subject
from .gradients import mean_gradients, start
from .method import Passes
from .parameters import Parameters


@dataclass
class GradientTimesInput(Parameters):
    """Slope times value of each pixel, summed over channels: signed.

    Shrikumar, Greenside, Shcherbina and Kundaje (2016), *Not Just a Black Box: Learning Important Features Through
    Propagating Activation Differences*, arXiv:1605.01713, which compares with it.

    Parameters
    ----------
    probability : bool, default False
        Differentiate the probability instead of the score before the softmax.

    Notes
    -----
    The value counts from 0 of the network's input space: for a network whose mean is subtracted, from the mean
    colour, so that pixels of that colour get nothing. captum's InputXGradient gives each channel by itself; its sum
    over channels is this map.
    """

    probability: bool = False

    def explain(
        self, network: Predictor, x: NDArray[np.float32], targets: Sequence[Target], seed: int = 0
    ) -> NDArray[np.float64]:
        """See `Method.explain`. Nothing is random."""
        x, targets = subject(network, x, targets)
        starts = [start(network, target, self.probability) for target in targets]
        return np.stack([(gradient * x).sum(axis=0) for gradient in mean_gradients(network, lambda _: x, 1, starts)])

    def passes(self, shape: tuple[int, ...], targets: int = 1) -> Passes:
        """See `Method.passes`."""
        return Passes(forward=targets, backward=targets)

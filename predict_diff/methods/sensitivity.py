"""The sensitivity map of Simonyan et al. as a method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..algorithm import check_finite
from ..network.predictor import Predictor
from ..sensitivity import sensitivity_map
from ..targets import Target
from .checking import subject
from .gradients import keeping_gradient, start
from .method import Passes
from .parameters import Parameters


@dataclass
class Sensitivity(Parameters):
    """How much the class's score reacts to a small change of each pixel: the largest absolute slope over channels.

    Simonyan, Vedaldi and Zisserman (2014), *Deep Inside Convolutional Networks: Visualising Image Classification
    Models and Saliency Maps*, arXiv:1312.6034, section 3. Never negative: it says where, not for or against.

    Parameters
    ----------
    probability : bool, default False
        Differentiate the probability instead of the score before the softmax.

    Notes
    -----
    captum's Saliency gives the absolute gradient of each channel and leaves the rest to its user. Here the maximum
    over channels is taken, as in the paper.
    """

    probability: bool = False

    def explain(
        self, network: Predictor, x: NDArray[np.float32], targets: Sequence[Target], seed: int = 0
    ) -> NDArray[np.float64]:
        """See `Method.explain`. Nothing is random."""
        x, targets = subject(network, x, targets)
        starts = [start(network, target, self.probability) for target in targets]
        with keeping_gradient(network):
            maps = np.stack([sensitivity_map(network, x, begin) for begin in starts])
        check_finite(network, maps, "gradients")
        return maps.astype(np.float64)

    def passes(self, shape: tuple[int, ...], targets: int = 1) -> Passes:
        """See `Method.passes`."""
        return Passes(forward=targets, backward=targets)

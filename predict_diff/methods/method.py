"""What a method of explanation is: it says how much each pixel counts for some targets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ..network.predictor import Predictor
from ..targets import Target


class Passes(NamedTuple):
    """How often the network computes one image: what a method costs on any machine.

    What fills up a batch, and what an incremental evaluator saves, does not count.
    """

    forward: int
    backward: int = 0


class Method(Protocol):
    """Explains one image. Signed where the method is: positive is evidence for the target.

    The same image, targets, seed and batch size give the same map to the last bit; another batch size, which is chosen
    from free memory unless it is said, changes no more than the network's last bits.
    """

    def explain(
        self, network: Predictor, x: NDArray[np.float32], targets: Sequence[Target], seed: int = 0
    ) -> NDArray[np.float64]:
        """The relevance of each pixel for each target.

        Parameters
        ----------
        network : Predictor
        x : ndarray, shape (C, H, W), float32
            The image, as the network sees it.
        targets : sequence of Target
            U of them.
        seed : int, default 0
            Of whatever is random.

        Returns
        -------
        ndarray, shape (U, H, W), float64

        Raises
        ------
        PredictDiffError
            If a parameter is impossible, or the image or a target does not fit the network.
        """
        ...

    def passes(self, shape: tuple[int, ...], targets: int = 1) -> Passes:
        """What explaining so many targets of an image of shape (C, H, W) costs."""
        ...

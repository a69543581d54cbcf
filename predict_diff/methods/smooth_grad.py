"""SmoothGrad: gradients averaged over noisy copies of the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigurationError
from ..network.predictor import Predictor
from ..samplers.sampler import stream
from ..targets import Target
from .checking import subject, whole
from .gradients import mean_gradients, start
from .method import Passes
from .parameters import Parameters


@dataclass
class SmoothGrad(Parameters):
    """The mean gradient over copies of the image with Gaussian noise.

    Smilkov, Thorat, Kim, Viégas and Wattenberg (2017), *SmoothGrad: removing noise by adding noise*, arXiv:1706.03825.

    Parameters
    ----------
    n : int, default 50
        Noisy copies. The paper: little changes beyond 50.
    sigma : float, default 0.15
        Standard deviation of the noise as a share of the image's range, its largest value less its least. The paper:
        0.1 to 0.2. With 0, the gradient itself.
    signed : bool, default False
        The sum over channels instead of the largest absolute value over them.
    probability : bool, default False
        Differentiate the probability instead of the score before the softmax.
    batch_size : int, optional
        Images that are differentiated at once; chosen from memory by default.

    Notes
    -----
    Absolute values are taken of the mean, not the mean of absolute values: noise then cancels, which is the method's
    point. How channels are put together the paper does not say; its authors' code sums absolute values over them.
    Here it is the maximum, so that with `sigma` 0 the map is the sensitivity map of Simonyan et al. captum's
    NoiseTunnel gives each channel by itself and takes the standard deviation in the input's units (``stdevs``); its
    ``smoothgrad`` of a signed gradient is the mean that is taken here.

    Copy i has the same noise whatever the batch size and the number of copies.
    """

    n: int = 50
    sigma: float = 0.15
    signed: bool = False
    probability: bool = False
    batch_size: int | None = None

    def explain(
        self, network: Predictor, x: NDArray[np.float32], targets: Sequence[Target], seed: int = 0
    ) -> NDArray[np.float64]:
        """See `Method.explain`."""
        x, targets = subject(network, x, targets)
        count = whole("n", self.n)
        if not isinstance(self.sigma, int | float | np.number) or not 0 <= self.sigma < np.inf:
            raise ConfigurationError(f"sigma: expected a share of the image's range, 0 or more, found {self.sigma!r}")
        deviation = float(self.sigma) * (float(x.max()) - float(x.min()))

        def noisy(copy: int) -> NDArray[np.float64]:
            return x + deviation * stream(seed, copy, 0, "SmoothGrad").standard_normal(x.shape)

        starts = [start(network, target, self.probability) for target in targets]
        gradients = mean_gradients(network, noisy, count, starts, self.batch_size)
        if self.signed:
            return np.stack([gradient.sum(axis=0) for gradient in gradients])
        return np.stack([np.abs(gradient).max(axis=0) for gradient in gradients])

    def passes(self, shape: tuple[int, ...], targets: int = 1) -> Passes:
        """See `Method.passes`."""
        return Passes(forward=self.n * targets, backward=self.n * targets)

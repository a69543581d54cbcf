"""RISE: random masks, weighted with what the classifier says to the image behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..algorithm import check_finite
from ..errors import ConfigurationError
from ..network.minibatch import MiniBatchEvaluator, suggested_batch_size
from ..network.predictor import Predictor
from ..samplers.sampler import stream
from ..targets import Target
from .checking import baseline_image, size_of_batch, subject, whole
from .method import Passes
from .parameters import Parameters


@dataclass
class Rise(Parameters):
    """How high a target is, on average, when a pixel shows through a random mask.

    Petsiuk, Das and Saenko (2018), *RISE: Randomized Input Sampling for Explanation of Black-box Models*, BMVC,
    arXiv:1806.07421. The map of a target f is ``sum over masks of f(x * mask) * mask / (masks * p)``, their eq. 6: an
    estimate of E[f | the pixel shows]. It is no difference, and so not signed: where nothing matters, it is E[f].

    Parameters
    ----------
    masks : int, default 4000
        How many. The paper: 4000 for VGG16, 8000 for ResNet50.
    cells : int, default 7
        Cells of a mask along each axis. The paper: 7.
    p : float, default 0.5
        Probability that a cell shows the image. The paper: 0.5.
    baseline : float, or array_like of shape (C,) or (C, H, W), default 0
        What shows elsewhere, in the network's input space. The paper: 0, which after its preprocessing is the mean
        colour.
    batch_size : int, optional
        Images that are evaluated at once; chosen from memory by default.

    Notes
    -----
    Masks of ``cells x cells`` are enlarged bilinearly to ``(cells + 1) * cell`` pixels, and the image's size is cut
    out at a random place, as in the paper. A cell is the image's side through `cells`, rounded up as in the authors'
    code, since cells rounded down, as in the paper, need not cover the image; and the cut begins 0 to ``cell - 1``
    pixels in, also as there: with the paper's ``cell`` as well, one of the places would come twice. Beyond the
    middle of the outermost cells their own value goes on, where the authors' code mirrors.

    The division is by p as in the paper and the authors' code, not by the sum of the masks over each pixel, which
    varies less for few masks. Mask i is the same whatever the batch size and the number of masks.
    """

    masks: int = 4000
    cells: int = 7
    p: float = 0.5
    baseline: ArrayLike = 0.0
    batch_size: int | None = None

    def explain(
        self, network: Predictor, x: NDArray[np.float32], targets: Sequence[Target], seed: int = 0
    ) -> NDArray[np.float64]:
        """See `Method.explain`."""
        x, targets = subject(network, x, targets)
        count = whole("masks", self.masks)
        baseline = baseline_image(self.baseline, x)
        way, shape = x - baseline, x.shape[1:]
        enlarge = self._enlarging(*shape)
        size = min(size_of_batch(self.batch_size) or suggested_batch_size(network), count)
        evaluator = MiniBatchEvaluator(network, targets, size)
        total = np.zeros((len(targets), *shape))
        for first in range(0, count, size):
            masks = np.stack([self._mask(seed, first + i, *enlarge, *shape) for i in range(min(size, count - first))])
            batch = np.repeat(x[None], size, axis=0)
            batch[: len(masks)] = baseline + masks[:, None] * way
            values = evaluator.run_batch(batch)[: len(masks)].astype(np.float64)
            check_finite(network, values, "predictions")
            # One after the other: last bits of a product of matrices depend on the batch size and on threads.
            for value, mask in zip(values, masks, strict=True):
                total += value[:, None, None] * mask
        return total / (count * self.p)

    def mask(self, seed: int, number: int, height: int, width: int) -> NDArray[np.float64]:
        """A mask, (height, width): 1 where the image shows, 0 where it does not, and between.

        Raises
        ------
        ConfigurationError
            If there are no such cells, or p is no probability above 0.
        """
        return self._mask(seed, number, *self._enlarging(height, width), height, width)

    def _enlarging(self, height: int, width: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What enlarges rows and columns of a mask."""
        cells = whole("cells", self.cells, min(height, width), ", the image's size")
        if not isinstance(self.p, int | float | np.number) or not 0 < self.p <= 1:
            raise ConfigurationError(f"p: expected a probability above 0, found {self.p!r}; the paper uses 0.5")
        return _bilinear(ceil(height / cells), cells), _bilinear(ceil(width / cells), cells)

    def _mask(
        self, seed: int, number: int, rows: NDArray[np.float64], columns: NDArray[np.float64], height: int, width: int
    ) -> NDArray[np.float64]:
        generator = stream(seed, number, 0, "RISE")
        shows = (generator.random((self.cells, self.cells)) < self.p).astype(np.float64)
        top, left = (int(generator.integers(len(axis) // (self.cells + 1))) for axis in (rows, columns))
        return np.asarray(rows[top : top + height] @ shows @ columns[left : left + width].T)

    def passes(self, shape: tuple[int, ...], targets: int = 1) -> Passes:
        """See `Method.passes`."""
        return Passes(forward=self.masks)


def _bilinear(cell: int, cells: int) -> NDArray[np.float64]:
    """((cells + 1) * cell, cells): enlarges a line of cells, linearly between their middles."""
    size = (cells + 1) * cell
    places = np.clip((np.arange(size) + 0.5) * cells / size - 0.5, 0, cells - 1)
    return np.asarray(np.maximum(0, 1 - np.abs(places[:, None] - np.arange(cells))))

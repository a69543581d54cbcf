"""Occlusion: how much a target drops when a square is covered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..algorithm import prediction_difference
from ..errors import ConfigurationError, closest
from ..network.choosing import EvaluatorName, choose_evaluator
from ..network.predictor import Predictor
from ..samplers.fills import BlurFill, ConstantFill, InpaintingFill, MeanFill, NoiseFill
from ..samplers.sampler import Sampler
from ..targets import Target
from ..windows import WindowGrid
from .checking import check_evaluation, subject, whole
from .method import Passes
from .parameters import Parameters
from .prediction_difference import window_side

#: Fills that need no more than the window's size.
FILLS: dict[str, Callable[[int], Sampler]] = {
    "mean": MeanFill,
    "blur": BlurFill,
    "noise": NoiseFill,
    "inpainting": InpaintingFill,
}


@dataclass
class Occlusion(Parameters):
    """The target's value less its value with a square covered, averaged over the squares that contain a pixel: signed.

    Zeiler and Fergus (2014), *Visualizing and Understanding Convolutional Networks*, ECCV, arXiv:1311.2901, section
    4.2.

    Parameters
    ----------
    fill : float, sequence of float, {"mean", "blur", "noise", "inpainting"} or Sampler, default 0
        What covers: one value or one for each channel, in the network's input space; the fill of that name with its
        default settings; or any sampler of squares of this size.
    size : int, optional
        Side of the square, in pixels; by default that of `PredictionDifference`, `window_side`.
    stride : int, default 1
        Step between squares, in pixels. A last one stands flush with the border.
    samples : int, default 1
        For fills that draw: samples of each square, whose values are averaged.
    evaluator : {"auto", "incremental", "minibatch"}
        How covered images are evaluated; see `choose_evaluator`.
    batch_size : int, optional
        Images that are evaluated at once; chosen from memory by default.

    Notes
    -----
    The original draws the probability of the true class itself, at the place of its grey square: low where it
    matters. Here squares count with the drop, averaged over those that contain a pixel, as comparisons with
    prediction difference need it: positive where there is evidence for the target, and a value for every pixel.
    captum's Occlusion gives the same but at the border, where it cuts the last square off instead of moving it back.
    """

    fill: float | Sequence[float] | str | Sampler = 0.0
    size: int | None = None
    stride: int = 1
    samples: int = 1
    evaluator: EvaluatorName = "auto"
    batch_size: int | None = None

    def explain(
        self, network: Predictor, x: NDArray[np.float32], targets: Sequence[Target], seed: int = 0
    ) -> NDArray[np.float64]:
        """See `Method.explain`."""
        x, targets = subject(network, x, targets)
        check_evaluation(self.evaluator, self.batch_size)
        size = self._checked_side(x.shape)
        WindowGrid(x.shape[1], x.shape[2], size, whole("stride", self.stride))  # before an evaluator is built
        sampler = self._sampler(size)
        evaluator = choose_evaluator(network, targets, size, self.batch_size, self.evaluator)
        found = prediction_difference(x, evaluator, sampler, whole("samples", self.samples), self.stride, seed)
        return found.grid.average(found.known[:, None] - found.expected)

    def _checked_side(self, shape: tuple[int, ...]) -> int:
        size = window_side(shape) if self.size is None else self.size
        return whole("size", size, min(shape[1:]), ", to fit into the image")

    def _sampler(self, size: int) -> Sampler:
        """What covers the squares. ConfigurationError if it is none, or covers others."""
        fill = self.fill
        if isinstance(fill, str):
            if fill not in FILLS:
                raise ConfigurationError(
                    f"fill: expected a number, one for each channel, {', '.join(FILLS)} or a sampler, found {fill!r}"
                    f"{closest(fill, FILLS)}"
                )
            return FILLS[fill](size)
        if isinstance(fill, float | int | np.number | Sequence | np.ndarray):
            return ConstantFill(size, fill)
        if getattr(fill, "k", None) != size:
            found = f"one of {fill.k}" if hasattr(fill, "k") else repr(fill)
            raise ConfigurationError(f"fill: expected a sampler of squares of size {size}, found {found}")
        return fill

    def passes(self, shape: tuple[int, ...], targets: int = 1) -> Passes:
        """See `Method.passes`."""
        grid = WindowGrid(shape[1], shape[2], self._checked_side(shape), whole("stride", self.stride))
        return Passes(forward=1 + whole("samples", self.samples) * len(grid))

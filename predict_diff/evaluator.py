"""What computes the targets of perturbed photos."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .network.predictor import Predictor
from .targets import Target


class Evaluator(Protocol):
    """Computes targets of perturbed photos; see `predict_diff.network.minibatch` and `.incremental`."""

    targets: tuple[Target, ...]
    batch_size: int

    @property
    def network(self) -> Predictor:
        """What is evaluated."""
        ...

    @property
    def batching(self) -> dict[str, Any]:
        """The evaluator, and everything about its batches that last bits depend on, JSON-able."""
        ...

    def values(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """The targets of the photo itself.

        Parameters
        ----------
        x : ndarray, shape (C, H, W), float32

        Returns
        -------
        ndarray, shape (U,), float64
        """
        ...

    def batches(self, windows: NDArray[np.int64], samples: int) -> Iterator[NDArray[np.int64]]:
        """Which windows to sample and evaluate together.

        Parameters
        ----------
        windows : ndarray, shape (n, 2), int64
            Upper left pixels.
        samples : int
            S, for each window.

        Yields
        ------
        ndarray, int64
            Numbers of windows; each window is in one batch.
        """
        ...

    def evaluate(
        self, x: NDArray[np.float32], windows: NDArray[np.int64], patches: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """The targets of photos in which one window has been replaced by one sample.

        Parameters
        ----------
        x : ndarray, shape (C, H, W), float32
            The photo.
        windows : ndarray, shape (n, 2), int64
            Upper left pixels.
        patches : ndarray, shape (n, S, C, k, k), float32
            What goes into each window.

        Returns
        -------
        ndarray, shape (n, S, U), float32
        """
        ...

"""A map that knows nothing: the floor below which no measure of an explanation should be."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from predict_diff.methods.method import Passes
from predict_diff.methods.parameters import Parameters
from predict_diff.network.predictor import Predictor
from predict_diff.samplers import stream
from predict_diff.targets import Target


@dataclass
class RandomMap(Parameters):
    """Independent standard normal numbers, one for each pixel: evidence for and against in a random order.

    Other photos, seeds and targets have other numbers.
    """

    def explain(
        self, network: Predictor, x: NDArray[np.float32], targets: Sequence[Target], seed: int = 0
    ) -> NDArray[np.float64]:
        """See `predict_diff.methods.method.Method.explain`."""
        photo = hashlib.sha256(np.ascontiguousarray(x).tobytes()).hexdigest()
        shape = x.shape[1:]
        return np.stack([stream(seed, 0, 0, f"random map {photo} {target}").normal(size=shape) for target in targets])

    def passes(self, shape: tuple[int, ...], targets: int = 1) -> Passes:
        """None at all."""
        return Passes(0)

"""What a lower precision costs, in probability and in bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import NetworkError
from .evaluator import Evaluator
from .evidence import IMAGENET_TRAINING_INSTANCES, activation_difference, expectation, weight_of_evidence
from .targets import Measure


@dataclass(frozen=True)
class PrecisionError:
    """By how much the results of one evaluator differ from those of a more precise one, at most.

    Attributes
    ----------
    probability : float, or None
        Over the predictions for the photo and for every sample; None if no target is a probability.
    bits : float, or None
        Weight of evidence of a window, in bits; None likewise.
    activation : float, or None
        Activation difference of a window, in the units' own units; None if all targets are probabilities.
    windows, samples : int
        How many windows were compared, and S.
    """

    probability: float | None
    bits: float | None
    activation: float | None
    windows: int
    samples: int

    def __str__(self) -> str:
        named = ((self.probability, "in probability"), (self.bits, "bits"), (self.activation, "in activation"))
        apart = " and ".join(f"{value:.2g} {unit}" for value, unit in named if value is not None)
        return f"at most {apart} from full precision, over {self.windows} windows of {self.samples} samples"

    def describe(self) -> dict[str, Any]:
        """What a result should say of the precision, JSON-able."""
        return asdict(self)


def precision_error(
    reference: Evaluator,
    evaluator: Evaluator,
    measures: Sequence[Measure],
    x: NDArray[np.float32],
    windows: NDArray[np.int64],
    patches: NDArray[np.float32],
    instances: int = IMAGENET_TRAINING_INSTANCES,
) -> PrecisionError:
    """Compare two evaluators of the same targets, for the same samples in the same windows.

    Parameters
    ----------
    reference, evaluator : Evaluator
        The first in full precision.
    measures : sequence of {"WE", "AD"}
        How a change of each target is measured; see `algorithm.measures_of`.
    x : ndarray, shape (C, H, W), float32
        The photo.
    windows : ndarray, shape (n, 2), int64
        Upper left pixels.
    patches : ndarray, shape (n, S, C, k, k), float32
        What goes into each window.
    instances : int
        N of the Laplace correction.

    Raises
    ------
    NetworkError
        If one of them gives NaN or infinity.
    """
    both = [_evaluated(one, x, windows, patches) for one in (reference, evaluator)]
    predictions, evidence, activation = [], [], []
    for u, (target, measure) in enumerate(zip(reference.targets, measures, strict=True)):
        known, expected = ([one[part][u] for one in both] for part in (0, 2))
        if measure == "AD":
            activation.append(_apart(*map(activation_difference, known, expected)))
            continue
        classes = reference.network.classes(target.blob)
        pairs = zip(known, expected, strict=True)
        evidence.append(_apart(*(weight_of_evidence(*pair, instances, classes) for pair in pairs)))
        predictions += [_apart(*known), _apart(*(one[1][..., u] for one in both))]
    return PrecisionError(
        max(predictions, default=None),
        max(evidence, default=None),
        max(activation, default=None),
        windows=patches.shape[0],
        samples=patches.shape[1],
    )


def _evaluated(
    evaluator: Evaluator, x: NDArray[np.float32], windows: NDArray[np.int64], patches: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float32], NDArray[np.float64]]:
    """Targets of the photo, (U,), those of every sample, (n, S, U), and their means over samples, (U, n)."""
    known, predictions = evaluator.values(x), evaluator.evaluate(x, windows, patches)
    if not (np.isfinite(known).all() and np.isfinite(predictions).all()):
        network = evaluator.network
        raise NetworkError(
            f"{network.name}: precision {network.precision}: expected finite predictions, found NaN or infinity; use "
            f"precision full or tf32"
        )
    return known, predictions, expectation(predictions)[0]


def _apart(one: NDArray[Any], other: NDArray[Any]) -> float:
    return float(np.abs(np.asarray(one, np.float64) - np.asarray(other, np.float64)).max(initial=0.0))

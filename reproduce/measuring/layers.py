"""Figure 4's two layers in one pass, beside one layer alone: the second must come nearly for nothing."""

from __future__ import annotations

import time
from statistics import median

import numpy as np
from numpy.typing import NDArray

from predict_diff.algorithm import marginalise
from predict_diff.network.choosing import choose_evaluator
from predict_diff.network.network import Network
from predict_diff.samplers import Sampler
from predict_diff.targets import Target

#: Paper: figure 4 shows the three highest classes.
_CLASSES = 3
_SEED = 0


def both_layers(
    network: Network,
    output: str,
    x: NDArray[np.float32],
    sampler: Sampler,
    windows: NDArray[np.int64],
    samples: int,
    rounds: int,
) -> float:
    """Time of a pass over penultimate and output layer over that of a pass over the output layer.

    Parameters
    ----------
    network : Network
    output : str
        Blob of probabilities.
    x : ndarray, shape (C, H, W), float32
    sampler : Sampler
    windows : ndarray, shape (n, 2), int64
    samples, rounds : int
        S; how often the two take turns.

    Returns
    -------
    float
        Median over rounds.
    """
    one = [Target(output, (unit,)) for unit in range(_CLASSES)]
    both = [Target(network.penultimate(output), target.index) for target in one] + one
    pair = [choose_evaluator(network, targets, sampler.k) for targets in (both, one)]
    patches = sampler.sample(x, windows, samples, _SEED)
    ratios = []
    for _ in range(1 + rounds):
        seconds = []
        for evaluator in pair:
            started = time.perf_counter()
            for part in evaluator.batches(windows, samples):
                marginalise(x, evaluator, windows[part], patches[part])
            seconds.append(time.perf_counter() - started)
        ratios.append(seconds[0] / seconds[1])
    # The first time, ONNX Runtime sees each shape for the first time.
    return median(ratios[1:])

"""Converted networks beside the same networks built directly in ONNX: conversion must not cost anything."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray

from predict_diff.caffe.reader import read_weights
from predict_diff.errors import NetworkError
from predict_diff.network.minibatch import MiniBatchEvaluator
from predict_diff.network.network import Network
from predict_diff.targets import Target

from .. import handwritten, networks
from ..embedded import package_file
from ..torch_file import read_state_dict

_ROUNDS = 14
#: Photos for each of the two in a round, about.
_PHOTOS = 60


class Comparison(NamedTuple):
    """A converted network and its twin.

    Attributes
    ----------
    ratio : float
        Time of the converted network over that of the other, median over rounds in which the two alternate.
    difference : float
        Their largest difference in probability, of any class.
    """

    ratio: float
    difference: float


def compare(
    network: Network, twin: onnx.ModelProto, x: NDArray[np.float32], output: str, batch_size: int, threads: int | None
) -> Comparison:
    """Run a network and its twin in turns.

    Parameters
    ----------
    network : Network
    twin : onnx.ModelProto
        Its blobs have other names, but for `output`.
    x : ndarray, shape (C, H, W), float32
    output : str
        Blob of probabilities.
    batch_size : int
    threads : int or None
        Threads on the CPU; all cores by default.
    """
    classes = [Target(output, (unit,)) for unit in range(network.blobs[output][0])]
    pair = [MiniBatchEvaluator(one, classes, batch_size) for one in (network, Network(twin, network.provider, threads))]
    batch = np.repeat(x[None], batch_size, axis=0)
    ours, theirs = (one.run_batch(batch) for one in pair)
    repeats = max(1, _PHOTOS // batch_size)
    ratios = []
    for _ in range(_ROUNDS):
        first, second = (_seconds(one, batch, repeats) for one in pair)
        ratios.append(first / second)
    return Comparison(median(ratios), float(np.abs(ours - theirs).max()))


def _seconds(evaluator: MiniBatchEvaluator, batch: NDArray[np.float32], repeats: int) -> float:
    started = time.perf_counter()
    for _ in range(repeats):
        evaluator.run_batch(batch)
    return time.perf_counter() - started


def _efficientnet_lite0(weights: Path) -> onnx.ModelProto:
    package = networks.card("efficientnet_lite0").weights.package
    path = None if package is None else package_file(package)
    if package is None or path is None:
        raise NetworkError("benchmark: expected the package of EfficientNet-Lite0, found none; run `reproduce weights`")
    return handwritten.efficientnet_lite0(read_state_dict(path, package.sha256, package.bytes))


def _alexnet(weights: Path) -> onnx.ModelProto:
    layers = read_weights(weights).layers

    def blobs(layer: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        kernel, bias = layers[layer].blobs
        # Files of 2014 state four sizes for everything.
        return (kernel[0, 0] if layer.startswith("fc") else kernel), bias.ravel()

    return handwritten.alexnet(blobs)


#: The same network, built directly, from its .caffemodel or what that was packed from.
HANDWRITTEN: dict[str, Callable[[Path], onnx.ModelProto]] = {
    "efficientnet_lite0": _efficientnet_lite0,
    "alexnet": _alexnet,
}

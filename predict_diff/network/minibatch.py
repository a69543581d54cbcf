"""Evaluates perturbed photos in mini-batches: every target of every sample, in one pass."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Sequence
from math import lcm, prod
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigurationError
from ..targets import Target
from .network import Network
from .predictor import Predictor
from .target_values import TargetValues

logger = logging.getLogger(__name__)

#: What the activations of one batch may take, as far as a batch size is chosen from memory.
_ACTIVATION_BYTES = {"cpu": 1 << 29, "cuda": 1 << 33}
_LARGEST_BATCH = {"cpu": 20, "cuda": 400}

#: Samples that are drawn and evaluated between two reports of progress, about.
_SAMPLES_AT_ONCE = 400


class MiniBatchEvaluator:
    """The values of some targets for photos in which a window has been replaced.

    Every batch has the same shape; the last is filled up with the photo itself. Results therefore do not depend
    on how many windows a call has, and CUDA tunes its convolutions once.

    Parameters
    ----------
    network : Predictor
        A network, or anything else that has blobs.
    targets : sequence of Target
        All of them are computed in the same pass.
    batch_size : int, optional
        Photos in a batch; chosen from memory and provider by default.

    Raises
    ------
    ConfigurationError
        If the network has no such target, or the batch size is not positive.
    """

    def __init__(self, network: Predictor, targets: Sequence[Target], batch_size: int | None = None) -> None:
        self.network = network
        self.targets = checked_targets(network, targets, batch_size)
        self.batch_size = batch_size or suggested_batch_size(network)
        self._values = TargetValues(network, self.targets)

    @property
    def batching(self) -> dict[str, Any]:
        """See `predict_diff.evaluator.Evaluator.batching`."""
        return {"evaluator": type(self).__name__, "batch_size": self.batch_size}

    def for_targets(self, targets: Sequence[Target]) -> Self:
        """The same for other targets, without another session; both can be used by turns.

        Parameters
        ----------
        targets : sequence of Target
            Of the same blobs, in the same order, and with as many numbers each.

        Raises
        ------
        ConfigurationError
            If they are of other blobs, or the network has no such target.
        """
        other = copy.copy(self)
        other.targets = checked_targets(self.network, targets, None)
        other._values = self._values.for_targets(other.targets)
        return other

    def values(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """See `predict_diff.evaluator.Evaluator.values`."""
        return np.asarray(self.run_batch(np.broadcast_to(x, (self.batch_size, *x.shape)))[0], np.float64)

    def batches(self, windows: NDArray[np.int64], samples: int) -> Iterator[NDArray[np.int64]]:
        """See `predict_diff.evaluator.Evaluator.batches`: windows as they come, so that their samples fill batches."""
        for part in in_parts(len(windows), samples, self.batch_size):
            yield np.arange(part.start, part.stop)

    def evaluate(
        self, x: NDArray[np.float32], windows: NDArray[np.int64], patches: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """See `predict_diff.evaluator.Evaluator.evaluate`."""
        count, samples, _, k, _ = patches.shape
        flat = patches.reshape(count * samples, *patches.shape[2:])
        values = np.empty((count * samples, len(self.targets)), np.float32)
        # A fresh array for each call, but not for each batch: only the windows are put in and taken out again.
        batch = np.repeat(x[None], self.batch_size, axis=0)
        for start in range(0, len(flat), self.batch_size):
            stop = min(start + self.batch_size, len(flat))
            places = [windows[i // samples] for i in range(start, stop)]
            for photo, (row, column), patch in zip(batch, places, flat[start:stop], strict=False):
                photo[:, row : row + k, column : column + k] = patch
            values[start:stop] = self.run_batch(batch)[: stop - start]
            for photo, (row, column) in zip(batch, places, strict=False):
                photo[:, row : row + k, column : column + k] = x[:, row : row + k, column : column + k]
        return values.reshape(count, samples, len(self.targets))

    def run_batch(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """The bare network: the targets, (batch_size, U), of one full batch of photos."""
        return self._values(np.ascontiguousarray(batch))


def checked_targets(network: Predictor, targets: Sequence[Target], batch_size: int | None) -> tuple[Target, ...]:
    """The targets under the names of their blobs; ConfigurationError for those that a network does not have."""
    if not targets:
        raise ConfigurationError("targets: expected at least one, found none")
    if batch_size is not None and batch_size < 1:
        raise ConfigurationError(f"batch size: expected at least 1, found {batch_size}")
    if batch_size is not None and batch_size > network.largest_batch:
        raise ConfigurationError(
            f"batch size: expected at most {network.largest_batch}, which {network.name} takes at once "
            f"{'on CUDA' if network.provider == 'cuda' else 'as it was exported'}, found {batch_size}"
        )
    resolved = tuple(Target(network.resolve(target.blob), target.index) for target in targets)
    for target in resolved:
        target.check(network.blobs)
    return resolved


def suggested_batch_size(network: Predictor) -> int:
    """As many photos as the provider gains from, and whose activations fit into a part of the memory.

    Or as many as the network's file insists on.
    """
    if isinstance(network, Network) and network.fixed_batch is not None:
        return network.fixed_batch
    numbers = sum(prod(shape) for shape in network.blobs.values()) + prod(network.input_shape)
    return photos_that_fit(network.provider, numbers, min(network.largest_batch, _LARGEST_BATCH[network.provider]))


def photos_that_fit(provider: str, numbers: int, most: int) -> int:
    """How many photos of so many float32 numbers each fit into a part of the memory: at least 1, `most` at most."""
    budget = _ACTIVATION_BYTES[provider]
    if provider == "cpu":
        budget = min(budget, _available_memory() // 4)
    return int(max(1, min(most, budget // (4 * numbers))))


def in_parts(windows: int, samples: int, batch_size: int) -> Iterator[slice]:
    """Ranges of windows whose samples fill whole batches where that is possible without waiting long.

    Parameters
    ----------
    windows : int
        How many there are.
    samples : int
        S, for each window.
    batch_size : int
    """
    whole = lcm(samples, batch_size) // samples
    at_once = max(1, _SAMPLES_AT_ONCE // samples)
    if whole <= 4 * at_once:
        at_once = whole * max(1, at_once // whole)
    for start in range(0, windows, at_once):
        yield slice(start, min(start + at_once, windows))


def _available_memory() -> int:
    """Bytes that the system could hand out now; generous where it does not say."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        logger.debug("This system does not tell how much memory is available.")
    return 1 << 32

"""Which way perturbed photos are evaluated: incrementally where that is faster."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from ..errors import NetworkError
from ..targets import Target
from .incremental import IncrementalEvaluator
from .minibatch import MiniBatchEvaluator, checked_targets
from .network import Network
from .predictor import Predictor

logger = logging.getLogger(__name__)

EvaluatorName = Literal["auto", "incremental", "minibatch"]

#: A smaller gain is not worth a second way of computing.
_WORTHWHILE = 1.1

#: Of which networks and k it has been said that they are evaluated whole.
_said: set[tuple[str, int]] = set()


def choose_evaluator(
    network: Predictor,
    targets: Sequence[Target],
    k: int,
    batch_size: int | None = None,
    kind: EvaluatorName = "auto",
    batching: Mapping[str, Any] | None = None,
) -> IncrementalEvaluator | MiniBatchEvaluator:
    """The incremental evaluator where it is faster; where too little can be evaluated on squares, the other, saying so.

    Parameters
    ----------
    network, targets, k, batch_size
        As for `IncrementalEvaluator`.
    kind : {"auto", "incremental", "minibatch"}
        A name takes that evaluator in any case.
    batching : mapping, optional
        Of an evaluator that is to be made once more, with the same batches whatever the memory.
    """
    checked_targets(network, targets, batch_size)  # what is wrong with them is no reason to evaluate otherwise
    if batching is not None:
        if batching["evaluator"] == MiniBatchEvaluator.__name__:
            return MiniBatchEvaluator(network, targets, batching["batch_size"])
        return IncrementalEvaluator(_with_graph(network), targets, k, batching=batching)
    if kind == "minibatch":
        return MiniBatchEvaluator(network, targets, batch_size)
    if kind == "incremental":
        return IncrementalEvaluator(_with_graph(network), targets, k, batch_size)
    if not isinstance(network, Network):
        return MiniBatchEvaluator(network, targets, batch_size)
    if network.fixed_batch is not None:
        reason = f"it takes exactly {network.fixed_batch} images at once"
        return _evaluate_whole(network, targets, k, batch_size, reason)
    reason = "it takes no images"
    if len(network.input_shape) == 3:
        try:
            incremental = IncrementalEvaluator(network, targets, k, batch_size)
        except NetworkError as error:
            return _evaluate_whole(network, targets, k, batch_size, str(error))
        # On a GPU it composes the photos where they are needed, whatever else is gained.
        if incremental.frontier.gain >= _WORTHWHILE or network.provider == "cuda":
            return incremental
        reason = f"windows of {k} pixels change most of it"
    return _evaluate_whole(network, targets, k, batch_size, reason)


def _with_graph(network: Predictor) -> Network:
    """The network itself. NetworkError if it is a function, of which nobody knows what a window changes."""
    if not isinstance(network, Network):
        raise NetworkError(
            f"{network.name}: expected a network whose graph is known, found a function, which has to be evaluated "
            f"whole; choose the evaluator minibatch"
        )
    return network


def _evaluate_whole(
    network: Predictor, targets: Sequence[Target], k: int, batch_size: int | None, reason: str
) -> MiniBatchEvaluator:
    if (network.name, k) not in _said:
        _said.add((network.name, k))
        logger.info("%s: every layer is evaluated whole: %s.", network.name, reason)
    return MiniBatchEvaluator(network, targets, batch_size)

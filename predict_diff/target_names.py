"""What users call the things to be explained: a class by number or label, the most probable one, any unit."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray

from .errors import ConfigurationError, NetworkError, closest, in_short
from .network.predictor import Predictor
from .targets import Target

#: "top", a class by number or label, BLOB:UNIT, or a target.
Wanted = str | int | Target


def find_targets(
    network: Predictor, x: NDArray[np.float32], wanted: Sequence[Wanted], labels: Sequence[str] = ()
) -> list[Target]:
    """The targets that are meant, for one image.

    Parameters
    ----------
    network : Predictor
    x : ndarray, shape (C, H, W), float32
    wanted : sequence of "top", int, str or Target
    labels : sequence of str
        Names of the classes, in order.

    Raises
    ------
    ConfigurationError
        If there is no such class, label or unit, or nothing is wanted.
    NetworkError
        If a class is wanted, and the network does not give probabilities of classes.
    """
    if not wanted:
        raise ConfigurationError("target: expected at least one, found none; 'top' is the most probable class")
    return [_target(network, x, one, labels) for one in wanted]


def _target(network: Predictor, x: NDArray[np.float32], wanted: Wanted, labels: Sequence[str]) -> Target:
    if isinstance(wanted, Target):
        return wanted
    if isinstance(wanted, str) and wanted != "top" and wanted not in labels and ":" in wanted:
        return Target.parse(wanted)
    blob = _probabilities(network)
    shape = network.blobs[blob]
    classes = prod(shape)
    if labels and len(labels) != classes:
        raise ConfigurationError(f"labels: expected {classes}, one for each class, found {len(labels)}")
    if isinstance(wanted, str):
        number = int(np.argmax(network.run(x, blob)[blob])) if wanted == "top" else _by_label(wanted, labels)
    elif isinstance(wanted, int | np.integer) and not isinstance(wanted, bool):
        number = int(wanted)
    else:
        raise ConfigurationError(
            f"target: expected 'top', a class by number or label, or a Target, found {in_short(wanted)}"
        )
    if not 0 <= number < classes:
        raise ConfigurationError(f"target: expected a class from 0 to {classes - 1}, found {number}")
    return Target(blob, (number, *(0 for _ in shape[1:])))


def _by_label(wanted: str, labels: Sequence[str]) -> int:
    if not labels:
        raise ConfigurationError(
            f"target: expected 'top', the number of a class or BLOB:UNIT, found '{wanted}', and no labels; give "
            f"them in the spec: InputSpec(labels=...)"
        )
    places = [number for number, label in enumerate(labels) if label == wanted]
    if not places:
        places = [number for number, label in enumerate(labels) if label.casefold() == wanted.casefold()]
    if len(places) != 1:
        problem = f"classes {', '.join(map(str, places))} have that label; give the number" if places else "none has it"
        raise ConfigurationError(
            f"target: expected one of {len(labels)} labels, found '{wanted}': {problem}"
            f"{'' if places else closest(wanted, labels)}"
        )
    return places[0]


def _probabilities(network: Predictor) -> str:
    """The output that has the probabilities of the classes."""
    found = [
        name
        for name in network.outputs
        if name in network.blobs
        and network.is_probability(name)
        and network.blobs[name][:1] == (prod(network.blobs[name]),)
    ]
    if len(found) == 1:
        return found[0]
    names = ", ".join(network.outputs)
    if found:
        raise NetworkError(
            f"{network.name}: expected one output with probabilities, found {', '.join(found)}; name the target: "
            f"'{found[-1]}:0' is its first class"
        )
    raise NetworkError(
        f"{network.name}: expected an output with probabilities of classes, found scores or something else ({names}); "
        f"give the file with InputSpec(softmax=True), or explain a score itself: '{network.outputs[-1]}:0'"
    )

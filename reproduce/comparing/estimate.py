"""What a comparison will cost: passes that are still to be made, and seconds on this machine, from a short trial."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from predict_diff.errors import NetworkError
from predict_diff.methods.method import Passes

from ..forecast import seconds_per_evaluation
from .approaches import Approach, Difference
from .case import Case
from .configuration import MeasureAsked
from .measures import OfNetwork, OfSeeds, OfWeights
from .measuring import Bench, other_seed

#: Photos in a batch of the trial.
_TRIAL_BATCH = 20

#: What everything beside the network takes of a window's or mask's time, about: drawing, masking, adding up.
_BESIDE = 1.1


@dataclass
class Cost:
    """What is still to be computed of a method before a network, or of a measure.

    Attributes
    ----------
    name : str
    network : str
        Its title.
    missing : float
        How many maps, or measurements; a map that was begun counts in part.
    total : int
    passes : Passes
        Of one.
    seconds : float
        For all that are missing.
    """

    name: str
    network: str
    missing: float
    total: int
    passes: Passes
    seconds: float


@dataclass(frozen=True)
class Speed:
    """Seconds of a pass of one photo, forward and backward; NaN where a network has no gradient."""

    forward: float
    backward: float

    def of(self, passes: Passes) -> float:
        """Seconds for some passes."""
        backward = passes.backward * self.backward if passes.backward else 0.0
        return _BESIDE * (passes.forward * self.forward + backward)


def costs(benches: Sequence[Bench], approaches: Sequence[Approach], measures: Sequence[MeasureAsked]) -> list[Cost]:
    """What is still to be computed for the photos of one network.

    Parameters
    ----------
    benches : sequence of Bench
        Of one network.
    approaches : sequence of Approach
    measures : sequence of MeasureAsked

    Returns
    -------
    list of Cost
        One for each method, and one for each measure that takes time.
    """
    found = [_of_maps(benches, approach, measures) for approach in approaches]
    found += [_of_measure(benches, measure, approaches) for measure in measures if measure.kind.is_kept]
    if any(cost.missing for cost in found):
        case, missing = benches[0].case, [cost for cost in found if cost.missing]
        speed = speed_of(case, any(cost.passes.backward for cost in missing))
        windows = [each for each in approaches if isinstance(each, Difference)]
        names = [each.name for each in windows]
        # Of windows, whatever their side, only what they change is computed.
        if any(cost.name in names for cost in missing):
            window = Speed(_seconds_a_window(windows[0], case), float("nan"))
        for cost in missing:
            cost.seconds = cost.missing * (window if cost.name in names else speed).of(cost.passes)
    return found


def speed_of(case: Case, backward: bool) -> Speed:
    """What a pass takes, from a short trial."""
    network, target = case.network, case.target
    batch = np.repeat(case.x[None], min(_TRIAL_BATCH, network.largest_batch), axis=0)
    forward = _fastest(lambda: network.run(batch, target.blob)) / len(batch)
    if not backward:
        return Speed(forward, float("nan"))
    try:
        # With it goes what building the graph takes: little beside many passes, most of a single one.
        took = _fastest(lambda: network.gradient(batch, network.penultimate(target.blob), target.index))
    except NetworkError:
        return Speed(forward, float("nan"))
    return Speed(forward, took / len(batch))


def _of_maps(benches: Sequence[Bench], approach: Approach, measures: Sequence[MeasureAsked]) -> Cost:
    shares = [approach.share_missing(bench.case, bench.maps, bench.seed) for bench in benches]
    for measure in measures:
        if isinstance(measure.kind.how, OfSeeds):
            shares += [
                approach.share_missing(bench.case, bench.maps, other_seed(bench.seed))
                for bench in benches
                if bench.applies(measure, approach)
            ]
    case = benches[0].case
    return Cost(approach.name, case.classifier.card.title, sum(shares), len(shares), approach.passes(case), 0.0)


def _of_measure(benches: Sequence[Bench], measure: MeasureAsked, approaches: Sequence[Approach]) -> Cost:
    applying = [(bench, approach) for bench in benches for approach in approaches if bench.applies(measure, approach)]
    missing = sum(bench.is_missing(measure, approach) for bench, approach in applying)
    how, case, passes = measure.kind.how, benches[0].case, Passes(0)
    if isinstance(how, OfNetwork):
        passes = Passes(how.forward(measure.parameters, case.x.shape[1:]))
    elif isinstance(how, OfWeights):
        # Of each method as many maps as layers, and that of the trained network; methods cost differently.
        each = [approach.passes(case) for approach in approaches]
        factor = (measure.parameters.layers + 1) / len(each)
        passes = Passes(*(round(factor * sum(counts)) for counts in zip(*each, strict=True)))
    return Cost(measure.name, case.classifier.card.title, missing, len(applying), passes, 0.0)


def _seconds_a_window(approach: Difference, case: Case) -> float:
    """Seconds for a sample of a window."""
    subject = approach.subject(case, 0)
    try:
        return seconds_per_evaluation(subject)
    finally:
        subject.release()


def _fastest(call: Callable[[], object]) -> float:
    """Seconds of the faster of two calls: the first time, a network is slower."""
    times = []
    for _ in range(2):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return min(times)

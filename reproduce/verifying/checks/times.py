"""How long one photo takes, beside what the paper says of its own machine."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import PositiveInt

from predict_diff.errors import NetworkError
from predict_diff.network.incremental import IncrementalEvaluator
from predict_diff.network.network import Network
from predict_diff.network.runtime import choose_provider
from predict_diff.targets import Target
from predict_diff.windows import WindowGrid

from ... import networks
from ...benchmark import apart
from ...measuring.case import Case, Files, photo_and_sampler, prepare
from ...measuring.clocks import TimedSampler
from ...measuring.measure import algorithm, projected_hours
from ...measuring.sample import spread_windows
from ..interval import interval
from ..material import Material
from ..measurement import Measurement, NotMeasurableError
from ..registry import check

T = TypeVar("T")

#: Cells of the sample of windows along each axis: what windows cost on average is then known to 1.6 %.
_SIDE = 4
_ROUNDS = 5


@check("time")
def time(material: Material, network: str, samples: PositiveInt, unit: Literal["h", "min"]) -> Measurement:
    """How long the relevance map of one photo takes on this machine, at the paper's settings: k = 10, every window.

    By Algorithm 1 with the conditional sampler, in full precision, projected from a few windows that stand for all.
    The network is the paper's, whatever its weights: random ones, where the trained ones are missing, cost the same.
    The interval is over rounds. Null: none; the paper's number is of another machine.

    Parameters
    ----------
    network : str
        In models/.
    samples : int
        S.
    unit : {"h", "min"}
    """
    engine = material.request.engine
    provider = choose_provider(engine.provider)
    case = Case(network, provider, threads=engine.threads)
    kind, seconds = _seconds(case, engine.device)
    size = networks.card(network).input_size - case.k + 1
    # What a window takes grows with S, but for the sampler's conditional mean, which is a few percent at most.
    scale = samples / case.samples * (60 if unit == "min" else 1)
    found = interval([projected_hours(size**2, 1 / each) * scale for each in seconds])
    detail = (
        f"{networks.card(network).title} with {kind} weights, {provider.upper()}; {_SIDE**2} of {size**2:,} windows "
        f"in {_ROUNDS} rounds"
    )
    return Measurement.over(found, unit, detail, "rounds")


@cache
def _seconds(case: Case, device: int) -> tuple[str, tuple[float, ...]]:
    """What the weights are, and seconds for a window in each round; measured once for all S."""
    with tempfile.TemporaryDirectory() as folder:
        # In processes of their own, so that their memory is gone at once.
        files = _apart(prepare, case, Path(folder))
        return files.kind, _apart(seconds_per_window, case, files, device)


def _apart(work: Callable[..., T], *arguments: Any) -> T:
    """A call in a process of its own. NotMeasurableError if that dies; other errors are the call's."""
    try:
        return apart(work, *arguments)
    except NetworkError as reason:
        # What the call itself raises was raised elsewhere, and has no context here.
        if isinstance(reason.__context__, EOFError):
            raise NotMeasurableError(
                "the process that takes the time was killed or crashed, perhaps for want of memory; free some, and "
                "check this claim again"
            ) from None
        raise


def seconds_per_window(case: Case, files: Files, device: int) -> tuple[float, ...]:
    """Seconds for a window of Algorithm 1 in each round; the first time through is not counted."""
    network = Network(files.model, case.provider, case.threads, case.precision, device)
    x, drawn_by = photo_and_sampler(case)
    sampler = TimedSampler(drawn_by)
    windows = spread_windows(WindowGrid(x.shape[1], x.shape[2], case.k), _SIDE, seed=0)
    output = networks.card(case.network).blobs.output
    evaluator = IncrementalEvaluator(network, [Target(output, (0,))], case.k)
    passes = [algorithm(x, evaluator, sampler, windows, case.samples) for _ in range(1 + _ROUNDS)]
    return tuple(each.seconds / each.windows for each in passes[1:])

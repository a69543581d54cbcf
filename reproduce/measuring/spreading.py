"""The same maps by this process alone and by the workers of a cluster, in turns."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

from predict_diff.errors import PredictDiffError

from .. import home
from ..classifier import Engine
from ..cluster import compute_on_cluster
from ..config import settings
from ..jobs import Job, MapJob
from ..progress import duration
from ..subject import Choices
from ..workers import open_workers

#: Explained in each round, by marginal sampling, whose samples cost next to nothing.
_PHOTO = "chelsea"
_ROUNDS = 3
#: S, of each window: about half a minute on two cores.
_SAMPLES = 10


def spread(network: str) -> str:
    """Measure how much longer a cluster takes than one process, and how much two workers gain; a table to read.

    Every round computes the same map anew, in the `quick` profile with S = 10: alone on all cores, alone on one
    thread, by one worker on all cores, by as many workers as there are cores, with one thread each. Networks are open,
    and workers are there, before the clock starts.
    """
    cores = os.cpu_count() or 1
    ways = {"alone": (0, cores), "alone, one thread": (0, 1), "one worker": (1, cores), f"{cores} workers": (cores, 1)}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(_ROUNDS):
        for way, (workers, threads) in ways.items():
            with tempfile.TemporaryDirectory() as folder:
                seconds[way].append(_seconds(_job(network, Path(folder), threads), workers))
    alone = seconds["alone"]
    best = [min(pair) for pair in zip(alone, seconds["alone, one thread"], strict=True)]
    lines = [f"{network}, one map; medians of {_ROUNDS} rounds:"]
    for way, times in seconds.items():
        ratio = median(ours / theirs for ours, theirs in zip(times, alone, strict=True))
        gain = median(theirs / ours for ours, theirs in zip(times, best, strict=True))
        lines.append(
            f"{way:>18}: {duration(median(times)):>6}, {ratio:.3f} of the time alone, "
            f"{gain:.2f} of the best throughput alone"
        )
    return "\n".join(lines)


def _job(network: str, out: Path, threads: int) -> MapJob:
    chosen = settings("paper", "quick", samples=_SAMPLES)
    engine = Engine("cpu", threads)
    return MapJob(_PHOTO, network, None, ("top",), "marginal", chosen, Choices(out), engine, str(home.root()))


def _seconds(job: MapJob, workers: int) -> float:
    """How long a map takes, once everything is open; alone if there are no workers."""
    if workers == 0:
        _trial(job, 0).run()
        started = time.perf_counter()
        job.run()
        return time.perf_counter() - started
    with open_workers(f"local:{workers}", threads=job.engine.threads) as crew:
        compute_on_cluster(crew, [_trial(job, number) for number in range(4 * workers)], job.choices.out, _raise)
        started = time.perf_counter()
        compute_on_cluster(crew, [job], job.choices.out, _raise)
        return time.perf_counter() - started


def _trial(job: MapJob, seed: int) -> MapJob:
    """The same at little cost."""
    cheap = {"samples": 1, "stride": job.settings.k, "seed": seed}
    return replace(job, settings=job.settings.model_copy(update=cheap))


def _raise(job: Job, how: Path | PredictDiffError) -> None:
    if isinstance(how, PredictDiffError):
        raise how

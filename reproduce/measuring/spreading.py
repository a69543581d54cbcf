"""The same maps by this process alone and by the workers of a cluster, in turns."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
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

#: Maps of a round: photos, each by marginal sampling, whose samples cost next to nothing.
_PHOTOS = ("chelsea", "coffee")
_ROUNDS = 3


def spread(network: str) -> str:
    """Measure how much longer a cluster takes than one process, and how much two workers gain; a table to read.

    Every round computes the same maps anew, in the `quick` profile with the paper's S: alone on all cores, alone on one
    thread, by one worker on all cores, by as many workers as there are cores, with one thread each. Networks are open,
    and workers are there, before the clock starts.
    """
    cores = os.cpu_count() or 1
    ways = {"alone": (0, cores), "alone, one thread": (0, 1), "one worker": (1, cores), f"{cores} workers": (cores, 1)}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(_ROUNDS):
        for way, (workers, threads) in ways.items():
            with tempfile.TemporaryDirectory() as folder:
                seconds[way].append(_seconds(_jobs(network, Path(folder), threads), Path(folder), workers, threads))
    alone = seconds["alone"]
    best = [min(pair) for pair in zip(alone, seconds["alone, one thread"], strict=True)]
    lines = [f"{network}, {len(_PHOTOS)} maps; medians of {_ROUNDS} rounds:"]
    for way, times in seconds.items():
        ratio = median(ours / theirs for ours, theirs in zip(times, alone, strict=True))
        gain = median(theirs / ours for ours, theirs in zip(times, best, strict=True))
        lines.append(
            f"{way:>18}: {duration(median(times)):>6}, {ratio:.3f} of the time alone, "
            f"{gain:.2f} of the best throughput alone"
        )
    return "\n".join(lines)


def _jobs(network: str, out: Path, threads: int) -> list[MapJob]:
    chosen = settings("paper", "quick", samples=settings("paper", "paper").samples)
    engine = Engine("cpu", threads)
    return [
        MapJob(photo, network, None, ("top",), "marginal", chosen, Choices(out), engine, str(home.root()))
        for photo in _PHOTOS
    ]


def _seconds(jobs: Sequence[MapJob], out: Path, workers: int, threads: int) -> float:
    # Once before, at little cost, so that everything is open.
    trial = [replace(job, settings=job.settings.model_copy(update={"samples": 1, "stride": 10})) for job in jobs]
    if workers == 0:
        for job in trial:
            job.run()
        started = time.perf_counter()
        for job in jobs:
            job.run()
        return time.perf_counter() - started
    with open_workers(f"local:{workers}", threads=threads) as crew:
        compute_on_cluster(crew, trial, out, _raise)
        started = time.perf_counter()
        compute_on_cluster(crew, jobs, out, _raise)
        return time.perf_counter() - started


def _raise(job: Job, how: Path | PredictDiffError) -> None:
    if isinstance(how, PredictDiffError):
        raise how

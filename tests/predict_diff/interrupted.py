"""A small map with a journal, for processes that are stopped in the middle; see `interruptions`."""

from __future__ import annotations

import logging
import os
import resource
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from small_network import SIDE, small_model

from predict_diff import exclusive
from predict_diff.algorithm import prediction_difference
from predict_diff.authors_code import Faults
from predict_diff.errors import PredictDiffError
from predict_diff.network.incremental import IncrementalEvaluator
from predict_diff.network.minibatch import MiniBatchEvaluator
from predict_diff.network.network import Network
from predict_diff.result import RelevanceMap
from predict_diff.samplers import GaussianSampler, GaussianStatistics, MarginalSampler
from predict_diff.targets import Target

#: The modules that a journal and a map go through.
MODULES = [
    f"predict_diff.{name}" for name in ("algorithm", "exclusive", "journal", "journal_file", "sealed", "storage")
]

MAP, JOURNAL, COARSER, LOG = "map.h5", "run.h5", "coarser.h5", "evaluated"

K = 3
CLASS = Target("prob", (2,))


@dataclass(frozen=True)
class Kind:
    """What is computed: which targets, by which evaluator, with which sampler, in parts of how many windows."""

    targets: tuple[Target, ...] = (CLASS,)
    evaluator: type[MiniBatchEvaluator] | type[IncrementalEvaluator] = IncrementalEvaluator
    conditional: bool = False
    samples: int = 4
    stride: int = 1
    stale_window: bool = False
    coarser: bool = False
    part: int = 3


KINDS = {
    "plain": Kind(),
    "few parts": Kind(part=48),
    "conditional": Kind(conditional=True),
    "many targets": Kind((Target("conv", (2,)), Target("fc", (3,)), CLASS), MiniBatchEvaluator),
    "one sample": Kind(samples=1, evaluator=MiniBatchEvaluator),
    # Authors' code: one window is drawn and evaluated once more, after all others.
    "stale window": Kind(stale_window=True, part=25),
    "coarse": Kind(stride=2),
    "from a coarser map": Kind(coarser=True),
    "few parts from a coarser map": Kind(coarser=True, part=48),
}


def explain(
    folder: str,
    kind: str,
    pause: float = 0.0,
    journal: bool = True,
    locks: bool = True,
    limit: int | None = None,
    disk: str | None = None,
    filled: int = 0,
) -> int:
    """Compute a map, or go on with it, and save it; then the journal goes. Prints what the progress was.

    Parameters
    ----------
    folder : str
        Of all files.
    kind : str
        One of `KINDS`.
    pause : float
        Seconds that every part takes at least.
    journal : bool
        Whether there is one.
    locks : bool
        Whether the system has any.
    limit : int, optional
        Bytes that a file can have: what lies behind cannot be written.
    disk : str, optional
        Another folder for journal and map. The map is copied from there in the end.
    filled : int
        Bytes on that disk that something else takes, if they are there.

    Returns
    -------
    int
        As of the command line: 2 after one line on standard error.
    """
    place, results, chosen = Path(folder), Path(disk or folder), KINDS[kind]
    if (results / MAP).exists():
        RelevanceMap.load(results / MAP)
        (results / JOURNAL).unlink(missing_ok=True)
        return 0
    logging.basicConfig(format="%(message)s")
    if not locks:
        exclusive.fcntl = None  # type: ignore[assignment]
    if disk is not None:
        with suppress(OSError), (results / "filling").open("wb", buffering=0) as filling:
            filling.write(bytes(filled))
    try:
        with _limited(limit):
            found = _map(place, chosen, pause, results / JOURNAL if journal else None)
            found.save(results / MAP)
    except PredictDiffError as error:
        print(error, file=sys.stderr)
        return 2
    (results / JOURNAL).unlink(missing_ok=True)
    if disk is not None:
        shutil.copy(results / MAP, place)
        (results / MAP).unlink()
    return 0


@contextmanager
def _limited(limit: int | None) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, before if limit is None else (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _map(place: Path, kind: Kind, pause: float, journal: Path | None) -> RelevanceMap:
    noise = np.random.default_rng(1).normal(0, 2, (60, 3, SIDE, SIDE))
    photos = (noise + np.roll(noise, 1, 2) + np.roll(noise, 1, 3)).astype(np.float32)
    network = Network(small_model(), provider="cpu", threads=1)
    if kind.conditional:
        sampler: Any = GaussianSampler(GaussianStatistics.fit(photos[1:], 5, patches=400), K)
    else:
        sampler = MarginalSampler(photos[1:], K)
    options: dict[str, Any] = {"batch_size": 5}
    if kind.evaluator is IncrementalEvaluator:
        options["k"] = K
    return prediction_difference(
        photos[0],
        _watched(kind, place / LOG, pause)(network, kind.targets, **options),
        sampler,
        samples=kind.samples,
        stride=kind.stride,
        faults=Faults(stale_window=kind.stale_window),
        coarser=RelevanceMap.load(place / COARSER) if kind.coarser else None,
        journal=journal,
        progress=lambda done, total: print(done, total, flush=True),
    )


def _watched(kind: Kind, log: Path, pause: float) -> Any:
    """An evaluator in small parts, which writes down who evaluates which windows, before it does."""

    class Watched(kind.evaluator):  # type: ignore[name-defined, misc]
        def batches(self, windows: NDArray[np.int64], samples: int) -> Iterator[NDArray[np.int64]]:
            for batch in super().batches(windows, samples):
                for start in range(0, len(batch), kind.part):
                    yield batch[start : start + kind.part]

        def evaluate(self, x: Any, windows: NDArray[np.int64], patches: Any) -> Any:
            places = " ".join(f"{row},{column}" for row, column in windows)
            handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.write(handle, f"{os.getpid()} {places}\n".encode())
            os.close(handle)
            time.sleep(pause)
            return super().evaluate(x, windows, patches)

    return Watched

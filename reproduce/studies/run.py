"""Jobs -> maps -> index: what computes the maps of a study, here or on a cluster, and takes down how each ends."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from predict_diff.errors import PredictDiffError, ResultError
from predict_diff.journal import Journal
from predict_diff.plan import ranges
from predict_diff.result import RelevanceMap

from ..cluster import Ended, compute_on_cluster
from ..forecast import check_folder
from ..jobs import Job, MapJob
from ..photos import printable
from ..progress import duration
from ..runner import MAPS, file_name, finish, journal_path, keep, open_run
from ..workers import Workers
from .appearance import Appearance
from .columns import target_rows
from .index import Index
from .thumbnails import write_thumbnail

logger = logging.getLogger(__name__)

#: Seconds between two times that the results so far are written, at least; and how much longer than writing takes.
_EVERY, _RARELY = 60.0, 20.0

#: If writing takes more seconds, it is left to the end: workers of a cluster would wait.
_LONGEST = 30.0

#: Where less is free, in bytes, it is no use to go on.
_ROOM = 16 << 20


@dataclass
class Outcome:
    """How many maps ended how in one run."""

    done: int = 0
    failed: int = 0


def run_jobs(
    work: Iterable[tuple[int, Job]],
    index: Index,
    out: Path,
    workers: Workers | None = None,
    appearance: Appearance | None = None,
    force: bool = False,
    publish: Callable[[], object] | None = None,
) -> Outcome:
    """Compute what is not there yet of some maps, and put into the index how each ends.

    Parameters
    ----------
    work : iterable of (int, Job)
        Jobs, all different objects, with the numbers that the index knows them by. They are taken one after the other,
        as they are computed; there may be any number.
    index : Index
    out : Path
        Folder for results.
    workers : Workers, optional
        Of a cluster; by default maps are computed in this process.
    appearance : Appearance, optional
        What maps look like: names of classes, and photos for thumbnails.
    force : bool
        Whether maps in damaged files are computed again.
    publish : callable, optional
        Called now and then, between two maps, to write the results so far.

    Raises
    ------
    PredictDiffError
        What concerns all maps: the index cannot be written, the disk is full, the scheduler is gone. That a map cannot
        be computed is taken down.
    """
    recorder = _Recorder(index, out, appearance or Appearance(), force, publish)
    try:
        while work:
            if workers is None:
                compute_here(recorder.taken(work), out, recorder.ended, force)
            else:
                compute_on_cluster(workers, recorder.taken(work), out, recorder.ended, force)
            work = recorder.again()
    except _StopError as stop:
        raise stop.reason from stop
    return recorder.outcome


def compute_here(jobs: Iterable[Job], out: Path, ended: Ended, force: bool = False) -> None:
    """Compute and store the maps of some jobs in this process; those that are there already are not computed again.

    Parameters are those of `run_jobs`; `ended` is told of each job.
    """
    for job in jobs:
        try:
            how: Path | PredictDiffError = _map_of(job, out, force)
        except PredictDiffError as error:
            how = error
        ended(job, how)


def _map_of(job: Job, out: Path, force: bool) -> Path:
    """Where a job's map lies, which is computed if it is not there."""
    plan = job.plan()
    path = out / MAPS / file_name(plan, out)
    if path.exists():
        return path
    with open_run(journal_path(out, path.name), plan, force) as journal:
        if path.exists():  # another process was faster
            journal.discard()
            return path
        keep(journal, _computed(job, journal))
        finish(journal, out)
    return path


def _computed(job: Job, journal: Journal) -> Iterator[tuple[int, NDArray[np.float64], float]]:
    for parts in ranges(journal.missing):
        for part, found in zip(parts, job.compute(journal.plan.only(parts)), strict=True):
            yield part, *found


class _StopError(Exception):
    """What ends a run; not a PredictDiffError, which would be taken for one of the map that has just ended."""

    def __init__(self, reason: PredictDiffError) -> None:
        super().__init__(str(reason))
        self.reason = reason


class _Recorder:
    """Takes down how jobs end."""

    def __init__(
        self, index: Index, out: Path, appearance: Appearance, force: bool, publish: Callable[[], object] | None
    ) -> None:
        self._index, self._out, self._appearance, self._force = index, out, appearance, force
        self._publish = publish
        self._under_way: dict[int, tuple[int, Job]] = {}
        self._damaged: list[tuple[int, Job]] = []
        self._left = index.counts().left
        self._began = self._published = time.monotonic()
        self._pause = _EVERY
        self.outcome = Outcome()

    def taken(self, work: Iterable[tuple[int, Job]]) -> Iterator[Job]:
        """The jobs alone; which is which is remembered until it has ended."""
        for number, job in work:
            self._under_way[id(job)] = number, job
            yield job

    def again(self) -> list[tuple[int, Job]]:
        """Jobs whose maps were damaged, and are computed again: once."""
        damaged, self._damaged, self._force = self._damaged, [], False
        return damaged

    def ended(self, job: Job, how: Path | PredictDiffError) -> None:
        """A job has ended. _StopError if it is no use to go on."""
        number, _ = self._under_way.pop(id(job))
        try:
            if isinstance(how, PredictDiffError):
                self._failed(number, job, how)
            else:
                self._done(number, job, how)
            self._publish_now_and_then()
        except PredictDiffError as reason:
            raise _StopError(reason) from reason

    def _done(self, number: int, job: Job, path: Path) -> None:
        try:
            found = RelevanceMap.load(path)
        except ResultError as damage:
            if not self._force:
                self._failed(number, job, damage)
                return
            logger.warning("%s; it is computed again.", str(damage).split(";")[0])
            path.unlink(missing_ok=True)
            self._damaged.append((number, job))
            return
        class_name = partial(self._appearance.class_name, job)
        seconds = float(found.provenance.get("seconds", 0.0))
        identity = found.provenance.get("identity") or {}
        write_thumbnail(self._out, path, found, self._appearance.view(job), self._appearance.palette)
        self._index.done(number, path.name, seconds, identity.get("photo"), target_rows(found, class_name))
        self.outcome.done += 1
        title = found.provenance.get("title", job.name)
        # A title names the seed where it is not 0; in a study they are told apart.
        seed = ", seed 0" if found.provenance.get("seed") == 0 else ""
        logger.info("%s%s: %d windows in %s; %s.", title, seed, len(found.grid), duration(seconds), self._rest())

    def _failed(self, number: int, job: Job, error: PredictDiffError) -> None:
        self._index.failed(number, str(error))
        self.outcome.failed += 1
        logger.warning("%s failed: %s; %s.", _called(job), error, self._rest())
        if isinstance(error, ResultError):
            check_folder(self._out, _ROOM)

    def _rest(self) -> str:
        """How many of those that were left at the beginning have ended, and how long the others will take."""
        ended = self.outcome.done + self.outcome.failed
        if ended == self._left:
            return f"{ended} of {self._left}"
        seconds = (time.monotonic() - self._began) / ended * (self._left - ended)
        return f"{ended} of {self._left}, {duration(seconds)} left"

    def _publish_now_and_then(self) -> None:
        if self._publish is None or time.monotonic() - self._published < self._pause:
            return
        started = time.monotonic()
        self._publish()
        self._published = time.monotonic()
        # What is written grows with the study.
        took = self._published - started
        self._pause = max(_EVERY, _RARELY * took)
        if took > _LONGEST:
            self._publish = None
            logger.info("Writing the results took %s; from now on it is left to the end.", duration(took))


def _called(job: Job) -> str:
    """A job in words."""
    seed = f", seed {job.settings.seed}" if isinstance(job, MapJob) else ""
    return printable(job.name) + seed

"""Many maps on many workers: ranges of windows as tasks of Dask, whose results go into the same journals.

Whoever asks holds the journals and writes them; workers hold networks, samplers and the activations of photos. A task
is a range of windows that takes seconds, so that a worker that is lost costs what it had not finished, and no more.
"""

from __future__ import annotations

import logging
import math
import queue
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predict_diff.errors import NetworkError, PredictDiffError
from predict_diff.journal import Journal
from predict_diff.plan import Plan, ranges

from .jobs import Job
from .progress import Progress
from .runner import MAPS, file_name, finish, journal_path, open_run
from .workers import Workers

logger = logging.getLogger(__name__)

#: What a task should take, in seconds: much longer than handing it out, much shorter than what one can afford to lose.
_TASK_SECONDS = 5.0

#: Tasks that are handed out for each thread of the workers, so that none waits for the next.
_AHEAD = 2

#: Seconds that a window takes at least, for all that is measured.
_SHORTEST = 1e-6

#: How often a job may lose workers before it is taken for the reason.
_LOSSES = 20

#: Seconds between two looks at how many workers there are.
_LOOK = 2.0

Values = list[tuple[NDArray[np.float64], float]]
#: Told of each job when it ends: where its map lies, or what was wrong.
Ended = Callable[[Job, Path | PredictDiffError], None]


def compute_on_cluster(workers: Workers, jobs: Iterable[Job], out: Path, ended: Ended, force: bool = False) -> None:
    """Compute and store the maps of some jobs; those that are there already are not computed again.

    Parameters
    ----------
    workers : Workers
    jobs : iterable of Job
        Taken one after the other, when workers would have nothing to do; there may be any number.
    out : Path
        Folder for results.
    ended : callable
        Told of each job when it ends.
    force : bool, default False
        Runs that were begun with other libraries or batches are begun anew.

    Raises
    ------
    NetworkError
        If the scheduler is gone for too long.
    """
    with Progress("windows", None, "windows") as progress:
        _Dispatcher(workers, iter(jobs), out, ended, progress, force).run()


@dataclass(eq=False)
class _Map:
    """A job that has been begun. Others may ask for the same map."""

    jobs: list[Job]
    journal: Journal | None = None
    waiting: deque[range] = field(default_factory=deque)
    handed_out: int = 0
    losses: int = 0

    @property
    def plan(self) -> Plan:
        """What is computed, once that is known."""
        if self.journal is None:
            raise RuntimeError("its plan has not come yet")
        return self.journal.plan


@dataclass(frozen=True, eq=False)
class _Task:
    """What a worker was asked for: the plan of a map, or the values of some of its parts."""

    map: _Map
    parts: range | None


class _Dispatcher:
    """Hands out tasks and takes in what comes back, until all jobs have ended."""

    def __init__(
        self, workers: Workers, jobs: Iterator[Job], out: Path, ended: Ended, progress: Progress, force: bool
    ) -> None:
        self._workers, self._out, self._ended, self._progress, self._force = workers, out, ended, progress, force
        self._jobs, self._next = jobs, next(jobs, None)
        self._begun: list[_Map] = []
        self._tasks: dict[Any, _Task] = {}
        self._back: queue.SimpleQueue[Any] = queue.SimpleQueue()
        #: Seconds that a window takes, for each kind of job.
        self._speed: dict[str, float] = {}
        self._threads, self._looked = -1, -math.inf

    def run(self) -> None:
        try:
            while self._next is not None or self._begun:
                self._look()
                while len(self._tasks) < max(1, self._threads) * _AHEAD and self._hand_out():
                    pass
                self._take_in()
        finally:
            self._workers.cancel(self._tasks)
            for begun in self._begun:
                if begun.journal is not None:
                    begun.journal.close()

    def _look(self) -> None:
        """See how many workers there are, and whether there is still someone to ask."""
        if time.monotonic() - self._looked < _LOOK:
            return
        try:
            threads = self._workers.threads()
        except OSError:
            self._start_again()
            threads = self._workers.threads()
        if threads != self._threads:
            logger.info("Workers: %s.", f"{threads} at work" if threads else "none yet; waiting for some")
        self._threads, self._looked = threads, time.monotonic()

    def _start_again(self) -> None:
        """The scheduler is gone, and all that was handed out with it."""
        logger.warning("The scheduler is gone; waiting for it to come back.")
        tasks, self._tasks = list(self._tasks.values()), {}
        self._workers.reconnect()
        for task in tasks:
            self._return(task)

    def _hand_out(self) -> bool:
        """Hand out one task more; False if there is none."""
        for begun in self._begun:
            if begun.waiting:
                parts = self._some(begun)
                self._submit(_Task(begun, parts), _values, begun.jobs[0], begun.plan.only(parts))
                return True
        if self._next is None:
            return False
        begun = _Map([self._next])
        self._next = next(self._jobs, None)
        self._begun.append(begun)
        self._submit(_Task(begun, None), _plan, begun.jobs[0])
        return True

    def _some(self, begun: _Map) -> range:
        """As many of the parts that wait as take about the time of a task; fewer if others would have nothing to do."""
        parts, plan = begun.waiting[0], begun.plan
        windows = _TASK_SECONDS / max(self._speed.get(begun.jobs[0].kind, math.inf), _SHORTEST)
        count = int(np.searchsorted(plan.bounds, plan.bounds[parts.start] + windows, side="right")) - 1 - parts.start
        if self._next is None:
            left = sum(len(some) for other in self._begun for some in other.waiting)
            count = min(count, -(-left // max(1, self._threads)))
        cut = parts.start + min(len(parts), max(1, count))
        if cut == parts.stop:
            begun.waiting.popleft()
        else:
            begun.waiting[0] = range(cut, parts.stop)
        return range(parts.start, cut)

    def _submit(self, task: _Task, function: Callable[..., Any], *arguments: Any) -> None:
        future = self._workers.submit(function, *arguments)
        task.map.handed_out += 1
        self._tasks[future] = task
        future.add_done_callback(self._back.put)

    def _take_in(self) -> None:
        """Wait for a task to be done, and take in what it gives."""
        try:
            future = self._back.get(timeout=_LOOK)
        except queue.Empty:
            return
        task = self._tasks.pop(future, None)
        if task is None:  # of a scheduler that is gone
            return
        found = self._workers.result(future)
        if found is None:
            self._return(task)
            return
        task.map.handed_out -= 1
        try:
            if isinstance(found, PredictDiffError):
                raise found
            if task.parts is None:
                self._begin(task.map, found)
            else:
                self._keep(task.map, task.parts, found)
        except PredictDiffError as error:
            self._end(task.map, error)

    def _return(self, task: _Task) -> None:
        """A task that was lost is handed out again, if not too many were."""
        begun = task.map
        begun.handed_out -= 1
        begun.losses += 1
        if begun not in self._begun:
            return
        if begun.losses > _LOSSES:
            self._end(
                begun,
                NetworkError(
                    f"{begun.jobs[0].name}: expected workers to live through it, found that {begun.losses} were lost, "
                    f"perhaps for want of memory; give workers more, or choose a smaller --batch-size"
                ),
            )
        elif task.parts is None:
            self._submit(task, _plan, begun.jobs[0])
        else:
            begun.waiting.appendleft(task.parts)

    def _begin(self, begun: _Map, plan: Plan) -> None:
        """A plan has come: open its journal, unless the map is there or on the way."""
        path = self._out / MAPS / file_name(plan, self._out)
        same = [other for other in self._begun if other.journal and other.journal.plan.provenance["file"] == path.name]
        if same:
            same[0].jobs += begun.jobs
            self._begun.remove(begun)
        elif path.exists():
            self._end(begun, path)
        else:
            begun.journal = open_run(journal_path(self._out, path.name, plan.shard), plan, self._force)
            begun.waiting.extend(ranges(begun.journal.missing))
            self._end_if_complete(begun)

    def _keep(self, begun: _Map, parts: range, values: Values) -> None:
        if begun.journal is None or begun not in self._begun:
            return  # it has ended with an error meanwhile
        for part, (numbers, seconds) in zip(parts, values, strict=True):
            begun.journal.write(part, numbers, seconds)
            self._progress.update(len(numbers))
        windows = sum(len(numbers) for numbers, _ in values)
        self._speed[begun.jobs[0].kind] = sum(seconds for _, seconds in values) / windows
        self._end_if_complete(begun)

    def _end_if_complete(self, begun: _Map) -> None:
        if begun.journal is None or begun.waiting or begun.handed_out:
            return
        file = file_name(begun.journal.plan, begun.journal.path)
        if begun.journal.plan.shard[1] > 1:
            begun.journal.sync()
            self._end(begun, begun.journal.path)
        else:
            finish(begun.journal, self._out)
            self._end(begun, self._out / MAPS / file)

    def _end(self, begun: _Map, how: Path | PredictDiffError) -> None:
        if begun.journal is not None:
            begun.journal.close()
        self._begun.remove(begun)
        for job in begun.jobs:
            self._ended(job, how)


def _plan(job: Job) -> Plan:
    """On a worker: what is to be computed."""
    return job.plan()


def _values(job: Job, plan: Plan) -> Values:
    """On a worker: the values of a part of it."""
    return list(job.compute(plan))

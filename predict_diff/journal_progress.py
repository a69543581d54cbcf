"""How far a journal is, for one who only looks; and what is in it, once it is complete."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from .errors import ResultError
from .exclusive import is_locked
from .journal import Journal
from .journal_file import COMMIT, SEAL_PATTERN, DamagedError, Extent, Places, owner, read_plan, take
from .plan import Plan
from .sealed import SEAL_SIZE

#: What to do about a damaged journal.
_MEND = "copy it again, or run the command again that computes it"


@dataclass(frozen=True)
class Progress:
    """How far a journal is, as one who only looks at it sees it.

    Attributes
    ----------
    plan : Plan
    done, total : int
        Windows.
    seconds : float
        Computing time of those done.
    processes : int
        How many processes have computed them.
    latest : float or None
        When the last part was written, in seconds since 1970.
    rate : float or None
        Windows a second of the latest process, between its first part and its last.
    owner : str
        Which process has, or had, it: host, number, and since when.
    running : bool
        Whether a process has it now.
    """

    plan: Plan
    done: int
    total: int
    seconds: float
    processes: int
    latest: float | None
    rate: float | None
    owner: str
    running: bool


@dataclass(frozen=True)
class Glance:
    """How far a journal is, as far as its first bytes and its checksums tell.

    Attributes
    ----------
    done, total : int
        Parts, which need not be of one size; 0 as long as it is being begun.
    latest : float or None
        When the last part was written, in seconds since 1970.
    running : bool
        Whether a process has it now.
    """

    done: int
    total: int
    latest: float | None
    running: bool


def look(path: str | Path) -> Progress:
    """How far a journal is, without disturbing who writes it.

    Checksums of the numbers are not compared: a part that was torn counts here.

    Raises
    ------
    ResultError
        If it is none, or its beginning is damaged.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            plan, places = _read_plan(path, file)
            records = np.frombuffer(bytes(take(file, places.commits)), COMMIT)
            running = is_locked(file)
    except DamagedError as damage:
        raise _damaged(path, damage) from damage
    except OSError as reason:
        raise _unreadable(path, reason) from reason
    written = records["time"] > 0
    windows = np.diff(plan.bounds)
    latest, rate = None, None
    if written.any():
        last = int(np.argmax(records["time"]))
        latest = float(records["time"][last])
        own = written & (records["process"] == records["process"][last])
        first = int(np.flatnonzero(own)[np.argmin(records["time"][own])])
        elapsed = latest - float(records["time"][first])
        if elapsed > 0:
            rate = float(windows[own].sum() - windows[first]) / elapsed
    return Progress(
        plan=plan,
        done=int(windows[written].sum()),
        total=len(plan.order),
        seconds=float(records["seconds"][written].sum()),
        processes=len(np.unique(records["process"][written])),
        latest=latest,
        rate=rate,
        owner=owner(path),
        running=running,
    )


def glance(path: str | Path) -> Glance:
    """How far a journal is, roughly, and many times faster than `look`: its plan is not read.

    Raises
    ------
    ResultError
        If it is none, or its first bytes are damaged.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            match = SEAL_PATTERN.match(file.read(SEAL_SIZE))
            running = is_locked(file)
            if match is None:
                if running:  # it is just being begun
                    return Glance(0, 0, None, running)
                raise ResultError(f"{path}: expected a journal of a map, found another file, or a damaged one")
            start, total = int(match[4]), int(match[5]) // COMMIT.itemsize
            # Of a file that has lost its end; a size that it does not have would fill the memory.
            there = max(0, min(total, (os.fstat(file.fileno()).st_size - start) // COMMIT.itemsize))
            records = take(file, Extent(start, there * COMMIT.itemsize))
    except OSError as reason:
        raise _unreadable(path, reason) from reason
    times = np.frombuffer(bytes(records), COMMIT)["time"]
    written = times[times > 0]
    return Glance(len(written), total, float(written.max()) if len(written) else None, running)


def read_values(path: str | Path, plan: Plan) -> Iterator[NDArray[np.float64]]:
    """The values of a journal that is complete. The file is only read, and may be one that cannot be written.

    Parameters
    ----------
    path : path
    plan : Plan
        The journal's, as `look` found it.

    Yields
    ------
    ndarray, shape (rows of a part, 3, U), float64
        Part by part, each compared with its checksum.

    Raises
    ------
    ResultError
        If a part is missing or damaged, or the journal is another by now.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            theirs, places = _read_plan(path, file)
            if plan.differences(theirs) or not np.array_equal(plan.order, theirs.order):
                raise ResultError(f"{path}: expected it to stay as it is, found it begun anew meanwhile; try again")
            journal = _ReadOnly(path, file, theirs, places)
            journal._go_on()
            if missing := sum(len(theirs.windows(part)) for part in journal.missing):
                raise ResultError(
                    f"{path}: expected {len(theirs.order)} windows, found {missing} of them missing or damaged; copy "
                    f"the file again, or run the same command again: it computes only these"
                )
            yield from journal.values()
    except DamagedError as damage:
        raise _damaged(path, damage) from damage
    except OSError as reason:
        raise _unreadable(path, reason) from reason


def _read_plan(path: Path, file: BinaryIO) -> tuple[Plan, Places]:
    """As `read_plan`, of a file that is not to be changed: one that has lost its end is damaged as long as it has."""
    match = SEAL_PATTERN.match(file.read(SEAL_SIZE))
    if match is not None and os.fstat(file.fileno()).st_size < int(match[2]) + int(match[3]):
        raise ResultError(f"{path}: expected a journal of a map, found a damaged one (it has lost its end); {_MEND}")
    return read_plan(path, file)


class _ReadOnly(Journal):
    """A journal that nobody writes to."""

    def _take(self) -> None:
        """Who had it last stays written down."""


def _damaged(path: Path, damage: DamagedError) -> ResultError:
    return ResultError(f"{path}: expected a journal of a map, found one with a damaged beginning ({damage}); {_MEND}")


def _unreadable(path: Path, reason: OSError) -> ResultError:
    return ResultError(f"{path}: expected a journal that can be read ({reason.strerror})")

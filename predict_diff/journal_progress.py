"""How far a journal is, for one who only looks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .errors import ResultError
from .exclusive import is_locked
from .journal_file import COMMIT, DamagedError, owner, read_plan, take
from .plan import Plan


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
    latest: float | None
    rate: float | None
    owner: str
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
            plan, places = read_plan(path, file)
            records = np.frombuffer(bytes(take(file, places.commits)), COMMIT)
            running = is_locked(file)
    except DamagedError as damage:
        raise ResultError(
            f"{path}: expected a journal of a map, found one with a damaged beginning ({damage})"
        ) from damage
    except OSError as reason:
        raise ResultError(f"{path}: expected a journal that can be read ({reason.strerror})") from reason
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
        latest=latest,
        rate=rate,
        owner=owner(path),
        running=running,
    )

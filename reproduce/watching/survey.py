"""What lies in a folder of results: runs that are not complete, and maps. Only what is shown is opened."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from predict_diff.errors import ConfigurationError, ResultError
from predict_diff.journal_progress import Progress, glance, look
from predict_diff.layout import Layout
from predict_diff.result import KIND
from predict_diff.sealed import SEAL_SIZE, open_sealed

from ..runner import MAPS, PARTS, file_name

State = Literal["running", "damaged", "stopped", "complete"]

#: States, those first that people want to see first.
STATES: tuple[State, ...] = ("running", "damaged", "stopped", "complete")


@dataclass(frozen=True)
class Run:
    """A run whose map is not stored yet, or a shard of it.

    Attributes
    ----------
    path : Path
        Its journal.
    state : {"running", "damaged", "stopped", "complete"}
    latest : float
        When it was last written to, in seconds since 1970.
    progress : Progress or None
        How far it is, if it has been opened, and could be.
    damage : str
        What is wrong with it, if something is.
    superfluous : bool
        Whether its map is there already, as far as it has been opened.
    """

    path: Path
    state: State
    latest: float
    progress: Progress | None = None
    damage: str = ""
    superfluous: bool = False


@dataclass(frozen=True)
class StoredMap:
    """A file with a map.

    Attributes
    ----------
    path : Path
    stored : float
        When, in seconds since 1970.
    title : str
        What is explained, if it has been opened.
    windows : int
    seconds : float or None
        How long it took, if it says so.
    damage : str
        What is wrong with it, if something is.
    """

    path: Path
    stored: float
    title: str = ""
    windows: int = 0
    seconds: float | None = None
    damage: str = ""


@dataclass(frozen=True)
class Survey:
    """What lies in a folder.

    Attributes
    ----------
    folder : Path
    runs : list of Run
        Those that run first.
    maps : int
    latest : list of StoredMap
        The latest first; damaged ones left out.
    damaged : list of StoredMap
        Maps that were opened and could not be read, and those that are too short for one.
    """

    folder: Path
    runs: list[Run]
    maps: int
    latest: list[StoredMap]
    damaged: list[StoredMap]

    def count(self, state: State) -> int:
        """How many runs are in a state."""
        return sum(run.state == state for run in self.runs)


def survey(folder: Path, runs: int, maps: int) -> Survey:
    """What lies in a folder for results.

    Parameters
    ----------
    folder : Path
    runs, maps : int
        How many are opened at most; what others are is seen from outside, where damage can hide.

    Raises
    ------
    ResultError
        If there is no such folder.
    """
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing there"
        raise ResultError(f"{folder}: expected a folder of results, found {found}; name the one given as --out")
    begun = sorted((_run(Path(path), status) for path, status in _files(folder / PARTS)), key=_order)
    begun[:runs] = [_opened(folder, run) for run in begun[:runs]]
    stored = sorted(_files(folder / MAPS), key=lambda file: -file[1].st_mtime_ns)
    recent = [_described(path, status.st_mtime_ns, status.st_size) for path, status in stored[:maps]]
    short = [_described(path, status.st_mtime_ns, 0) for path, status in stored[maps:] if status.st_size < SEAL_SIZE]
    return Survey(
        folder=folder,
        runs=sorted(begun, key=_order),
        maps=len(stored),
        latest=[one for one in recent if not one.damage],
        damaged=[*(one for one in recent if one.damage), *short],
    )


def _files(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """HDF5 files in a folder, none if there is no such folder; temporary files begin with a dot."""
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".h5") and not entry.name.startswith("."):
                try:
                    yield entry.path, entry.stat()
                except FileNotFoundError:  # a run that has just become a map
                    continue


def _run(path: Path, status: os.stat_result) -> Run:
    try:
        found = glance(path)
    except ResultError as damage:
        return Run(path, "damaged", status.st_mtime, damage=_reason(path, damage))
    latest = status.st_mtime if found.latest is None else found.latest
    if found.running:
        return Run(path, "running", latest)
    return Run(path, "complete" if found.done == found.total else "stopped", latest)


def _order(run: Run) -> tuple[object, ...]:
    """Those that run keep their places from one look to the next; of the others, the latest comes first."""
    names = [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", run.path.name)]
    return STATES.index(run.state), 0.0 if run.state == "running" else -run.latest, names


def _opened(folder: Path, run: Run) -> Run:
    if run.damage:
        return run
    try:
        found = look(run.path)
        superfluous = (folder / MAPS / file_name(found.plan, run.path)).exists()
    except ResultError as damage:
        # One that runs may have been begun this moment.
        return run if run.state == "running" else replace(run, state="damaged", damage=_reason(run.path, damage))
    return replace(run, progress=found, superfluous=superfluous)


@lru_cache(maxsize=64)
def _described(path: str, changed: int, size: int) -> StoredMap:
    """A map in a file as it was at a time, in nanoseconds: one that has not changed since is not read again."""
    found = StoredMap(Path(path), changed / 1e9)
    try:
        if size < SEAL_SIZE:
            raise ValueError("it is too short")
        with open_sealed(found.path, KIND) as file:
            layout = Layout.read(file)
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, ConfigurationError) as reason:
        return replace(found, damage=" ".join(str(reason).split()))
    made: dict[str, Any] = layout.provenance if isinstance(layout.provenance, dict) else {}
    seconds = made.get("seconds")
    return replace(
        found,
        title=str(made.get("title", found.path.stem)),
        windows=len(layout.grid),
        seconds=float(seconds) if isinstance(seconds, int | float) else None,
    )


def _reason(path: Path, damage: ResultError) -> str:
    """What stands in brackets in the message on a damaged journal."""
    found = re.findall(r"\(([^()]*)\)", str(damage).removeprefix(str(path)))
    return str(found[-1]) if found else "no journal"

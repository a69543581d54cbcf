"""Shards -> maps: `reproduce merge` puts together what several processes, or several machines, have computed."""

from __future__ import annotations

import logging
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from predict_diff.errors import ResultError
from predict_diff.journal_progress import Progress, look, read_values
from predict_diff.plan import Plan
from predict_diff.plan import merge as merge_plans
from predict_diff.result import RelevanceMap
from predict_diff.sealed import SEAL_SIZE

from .options import out_option
from .progress import duration
from .runner import MAPS, PARTS, file_name

logger = logging.getLogger(__name__)

#: How files of this program begin.
_OURS, _JOURNAL = b"prediction-difference ", b"prediction-difference journal "

#: At the end of the name of a shard's file.
_SHARD = re.compile(r"-\d+of\d+\.h5$")

#: So many shards are named in a message.
_NAMED = 5


@click.command(short_help="Put the shards of maps together.")
@click.argument("parts", nargs=-1, type=click.Path(path_type=Path), metavar="[PARTS]...")
@out_option("Folder for results, which gets the maps.")
@click.option("--keep", is_flag=True, help="Leave the shards where they are; otherwise those in --out are deleted.")
def merge(parts: tuple[Path, ...], out: Path, keep: bool) -> None:
    """Put shards together to maps, which are those of one uninterrupted run, to the last bit.

    PARTS are files of shards, of any number of maps, or folders with such files. Default: parts in --out. A map is
    stored once all its windows are there, each exactly once.
    """
    problems = []
    for name, paths in by_map(find(parts or (out / PARTS,))).items():
        try:
            click.echo(merge_map(name, paths, out, keep))
        except ResultError as problem:
            problems.append((name, str(problem)))
    if len(problems) == 1:
        raise ResultError(problems[0][1])
    if problems:
        for _, reason in problems:
            logger.warning("%s", reason)
        names = ", ".join(_first([name for name, _ in problems]))
        raise ResultError(f"{len(problems)} maps could not be put together, for the reasons above: {names}")


def find(places: Iterable[Path]) -> list[Path]:
    """The files of shards in some places, each once.

    Parameters
    ----------
    places : iterable of Path
        Files, or folders: then files ``*.h5`` in them and in their ``parts`` that are not known to be something else.

    Raises
    ------
    ResultError
        If a place does not exist, or there is none in a folder.
    """
    found: dict[Path, Path] = {}
    for place in places:
        if not place.exists():
            raise ResultError(f"{place}: expected a shard, or a folder of shards, found nothing there; name another")
        files = [place]
        if place.is_dir():
            files = sorted(file for folder in (place, place / PARTS) for file in folder.glob("*.h5") if _may_be(file))
            if not files:
                raise ResultError(f"{place}: expected shards (*.h5) in this folder, found none; name another")
        found |= {file.resolve(): file for file in files}
    return list(found.values())


def by_map(paths: Iterable[Path]) -> dict[str, list[Path]]:
    """Files of shards, by the name of the map that they belong to; what cannot be read goes by its own name."""
    maps = defaultdict(list)
    for path in paths:
        try:
            name = file_name(look(path).plan, path)
        except ResultError:  # is raised again when this map is merged
            name = _SHARD.sub(".h5", path.name)
        maps[name].append(path)
    return dict(sorted(maps.items()))


def merge_map(name: str, paths: Sequence[Path], out: Path, keep: bool = False) -> Path:
    """Put the shards of one map together, and store it; one that is there already is left.

    Parameters
    ----------
    name : str
        Of the map's file.
    paths : sequence of Path
        Files of its shards, in any order.
    out : Path
        Folder for results.
    keep : bool
        Shards that lie in `out` are not deleted.

    Returns
    -------
    Path
        Of the map.

    Raises
    ------
    ResultError
        If windows are missing or there twice, shards are of different maps or damaged, a process is still at one of
        them, or the map cannot be stored.
    """
    place = out / MAPS / name
    if not place.exists():
        try:
            _put_together(name, paths, place)
        except ResultError:
            if not place.exists():  # otherwise another process was faster, and may have deleted them
                raise
        else:
            if not keep:
                _delete(paths, out / PARTS)
            return place
    _check(place)
    if clutter := _first([str(path) for path in paths if path.exists()]):
        logger.info("%s: is there already; its shards are no longer needed: %s.", place, ", ".join(clutter))
    return place


@dataclass(frozen=True)
class _Part:
    """A shard in a file, and how far it is."""

    path: Path
    progress: Progress

    @property
    def span(self) -> tuple[Fraction, Fraction]:
        """Which stretch of the map it is, from 0 to 1."""
        number, count = self.progress.plan.shard
        return Fraction(number - 1, count), Fraction(number, count)

    def __str__(self) -> str:
        number, count = self.progress.plan.shard
        return f"shard {number} of {count}" if count > 1 else "the run in one piece"


def _put_together(name: str, paths: Sequence[Path], place: Path) -> None:
    """Store the map of some shards. Errors are those of `merge_map`."""
    parts = sorted((_read(path) for path in paths), key=lambda part: (part.span, str(part.path)))
    _refuse_running(parts)
    plans = [part.progress.plan for part in parts]
    if _of_one_map(plans):
        _refuse_incomplete(name, parts)
    provenance = {
        "seconds": (seconds := sum(part.progress.seconds for part in parts)),
        "processes": sum(part.progress.processes for part in parts),
        "shards": len(parts),
    }
    found = merge_plans(plans, _Values(parts), [str(part.path) for part in parts], provenance)
    found.save(place)
    shards = f"{len(parts)} shard{'s' * (len(parts) > 1)}"
    title = found.provenance.get("title", name)
    logger.info("%s: %d windows from %s, computed in %s.", title, len(found.grid), shards, duration(seconds))


class _Values(Sequence[Iterable[NDArray[np.float64]]]):
    """The values of shards, read when they are needed: whatever is wrong with their plans shows before."""

    def __init__(self, parts: Sequence[_Part]) -> None:
        self._parts = parts

    def __len__(self) -> int:
        return len(self._parts)

    def __getitem__(self, index: int) -> Iterable[NDArray[np.float64]]:  # type: ignore[override]
        part = self._parts[index]
        return read_values(part.path, part.progress.plan)


def _read(path: Path) -> _Part:
    progress = look(path)
    file_name(progress.plan, path)
    number, count = progress.plan.shard
    if not 1 <= number <= count:
        raise ResultError(f"{path}: expected a shard such as 3 of 16, found {number} of {count}; compute it anew")
    return _Part(path, progress)


def _refuse_running(parts: Sequence[_Part]) -> None:
    for part in parts:
        found = part.progress
        if found.running:
            raise ResultError(
                f"{part.path}: expected a shard that nobody is at, found {found.owner} at it, and {found.done} of "
                f"{found.total} windows; wait for its end, and merge again"
            )


def _of_one_map(plans: Sequence[Plan]) -> bool:
    """Whether no two plans contradict each other; if they do, `predict_diff.plan.merge` says how."""
    windows = np.concatenate([plan.order[: len(plan.order) - plan.twice] for plan in plans])
    return len(np.unique(windows)) == len(windows) and not any(plans[0].differences(plan) for plan in plans)


def _refuse_incomplete(name: str, parts: Sequence[_Part]) -> None:
    """ResultError if windows are missing, which says all of them: in shards that are not there, or not finished."""
    plans = [part.progress.plan for part in parts]
    total = len(plans[0].grid) + any(plan.twice for plan in plans)
    missing = total - sum(part.progress.done for part in parts)
    if missing <= 0:
        return
    found = [
        f"{part} has {part.progress.done} of {part.progress.total}"
        for part in parts
        if part.progress.done < part.progress.total
    ]
    reasons = [*_first(found), *([f"{absent} not there"] if (absent := _absent(parts)) else [])]
    raise ResultError(
        f"{name}: expected all {total} windows, found {missing} missing ({', '.join(reasons)}); the commands that "
        f"compute these shards go on where they were stopped: run them, and merge again"
    )


def _absent(parts: Sequence[_Part]) -> str:
    """Which shards are not there, in words, as few as possible: ``shards 3 and 6 to 8 of 16 are``."""
    spans = [part.span for part in parts]
    edges = [Fraction(0), *(edge for span in sorted(spans) for edge in span), Fraction(1)]
    gaps = [(start, stop) for start, stop in zip(edges[::2], edges[1::2], strict=True) if start < stop]
    if not gaps:
        return ""
    counts = sorted({part.progress.plan.shard[1] for part in parts})
    exact = (count for count in counts if all((edge * count).denominator == 1 for gap in gaps for edge in gap))
    count = next(exact, math.lcm(*counts))
    named = [(int(start * count) + 1, int(stop * count)) for start, stop in gaps]
    several = len(named) > 1 or named[0][0] < named[0][1]
    listed = [f"{first} to {last}" if first < last else str(first) for first, last in named]
    return f"shard{'s' * several} {', '.join(_first(listed))} of {count} {'are' if several else 'is'}"


def _check(place: Path) -> None:
    """ResultError unless a map can be read."""
    try:
        RelevanceMap.load(place)
    except ResultError as damage:
        raise ResultError(f"{str(damage).split(';')[0]}; delete the file, and merge again") from damage


def _delete(paths: Iterable[Path], folder: Path) -> None:
    """Delete shards that have been merged, if they lie in the folder of those to be."""
    for path in paths:
        if path.resolve().parent == folder.resolve():
            path.unlink(missing_ok=True)


def _may_be(path: Path) -> bool:
    """Whether a file is a shard, perhaps a damaged one: all but other files of this program."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        beginning = file.read(SEAL_SIZE)
    return beginning.startswith(_JOURNAL) or not beginning.startswith(_OURS)


def _first(words: Sequence[str]) -> list[str]:
    """The first of some words, and dots if there are more."""
    return [*words[:_NAMED], *(["..."] if len(words) > _NAMED else [])]

"""Runs and maps as a table for people, as wide as their terminal."""

from __future__ import annotations

import re
import shlex
import time
from collections import Counter
from collections.abc import Sequence

from ..progress import duration
from ..runner import MAPS, PARTS
from .columns import aligned, cut, printable, shortened, width
from .survey import STATES, Run, Survey

#: So many damaged maps are named.
_DAMAGED_MAPS = 5

#: A process that has written nothing for so many seconds may hang.
_SILENT = 300.0

#: A run's name on the line of its numbers is not cut shorter than this.
_LEAST_NAME = 40

_HEADINGS = ("run", "shard", "windows", "done", "per s", "left", "state")
_RIGHT = (False, True, True, True, True, True, False)
_INDENT = "  "


def table(found: Survey, study: Sequence[str], columns: int, most_runs: int, now: float) -> list[str]:
    """What lies in a folder, as lines.

    Parameters
    ----------
    found : Survey
        What lies in it.
    study : sequence of str
        What is to be said of a study, line by line.
    columns : int
        Of the terminal.
    most_runs : int
        How many runs are shown; of the others only how many they are.
    now : float
        Seconds since 1970.
    """
    sections = [_runs(found.runs, columns, most_runs, now), _maps(found, columns, now), list(study)]
    lines: list[str] = []
    for section in filter(None, sections):
        lines += [*section, ""]
    return [*lines, *_summary(found, bool(study))]


def _runs(runs: Sequence[Run], columns: int, most: int, now: float) -> list[str]:
    if not runs:
        return []
    lines = _in_columns([_row(run, now) for run in runs[:most]], columns)
    if rest := runs[most:]:
        lines.append(f"... and more: {_counts(rest)}")
    return lines


def _row(run: Run, now: float) -> list[str]:
    """The cells of a run, as `_HEADINGS` names them."""
    found, state = run.progress, _state(run, now)
    if found is None:
        return [printable(run.path.name), "", "", "", "", "", state]
    number, count = found.plan.shard
    return [
        printable(str(found.plan.provenance.get("title", ""))) or printable(run.path.name),
        f"{number}/{count}" if count > 1 else "",
        f"{found.done:,} of {found.total:,}",
        f"{100 * found.done // found.total} %",
        _rate(found.rate),
        duration((found.total - found.done) / found.rate) if run.state == "running" and found.rate else "",
        state,
    ]


def _state(run: Run, now: float) -> str:
    if run.state == "running":
        silent = f", silent since {_clock(run.latest, now)}" if now - run.latest > _SILENT else ""
        return f"running: {_process(run.progress.owner)}{silent}" if run.progress else "running: begins"
    if run.superfluous:
        return "no longer needed: the map is there"
    if run.state == "stopped":
        return f"stopped since {_clock(run.latest, now)}"
    return f"damaged ({printable(run.damage)})" if run.damage else run.state


def _in_columns(rows: Sequence[list[str]], columns: int) -> list[str]:
    """Rows on a line each if they fit, otherwise with the run's name on a line of its own."""
    shown = [any(row[column] for row in rows) or column == 0 for column in range(len(_HEADINGS))]
    cells = [[cell for cell, show in zip(row, shown, strict=True) if show] for row in (list(_HEADINGS), *rows)]
    right = [flush for flush, show in zip(_RIGHT, shown, strict=True) if show]
    numbers = aligned([row[1:] for row in cells], right[1:])
    room = columns - max(map(width, numbers)) - len(_INDENT)
    if room >= min(_LEAST_NAME, max(width(row[0]) for row in rows)):
        names = aligned([[shortened(row[0], room)] for row in cells], [False])
        widest = max(map(width, names))
        return [
            (name + " " * (widest - width(name)) + _INDENT + number).rstrip()
            for name, number in zip(names, numbers, strict=True)
        ]
    lines = [_INDENT + numbers[0]]
    before = None
    for row, number in zip(rows, numbers[1:], strict=True):
        if row[0] != before:  # shards of one map
            lines.append(shortened(row[0], columns))
        before = row[0]
        lines += _wrapped(number, row[-1], columns)
    return lines


def _wrapped(numbers: str, state: str, columns: int) -> list[str]:
    """A row, or two if the state does not fit behind the numbers."""
    if width(_INDENT + numbers) <= columns:
        return [_INDENT + numbers]
    rest = (_INDENT + numbers.removesuffix(state)).rstrip()
    return [rest] * bool(rest) + [cut(2 * _INDENT + state, columns)]


def _maps(found: Survey, columns: int, now: float) -> list[str]:
    if not found.maps:
        return []
    rows = []
    for one in found.latest:
        took = "" if one.seconds is None else f" in {duration(one.seconds)}"
        rows.append([_clock(one.stored, now), printable(one.title), f"{one.windows:,} windows{took}"])
    damaged = [printable(f"{one.path}: damaged ({one.damage}); delete it") for one in found.damaged[:_DAMAGED_MAPS]]
    if (more := len(found.damaged) - _DAMAGED_MAPS) > 0:
        damaged.append(f"... and {more:,} more damaged maps")
    return [f"{_number_of_maps(found)}{', the latest:' * bool(rows)}", *_with_names(rows, columns), *damaged]


def _with_names(rows: Sequence[list[str]], columns: int) -> list[str]:
    """Rows of a time, a name and numbers, with names as long as there is room."""
    if not rows:
        return []
    room = columns - sum(max(width(row[column]) for row in rows) for column in (0, 2)) - 3 * len(_INDENT)
    shorter = [[when, shortened(name, max(room, 10)), numbers] for when, name, numbers in rows]
    return [_INDENT + line for line in aligned(shorter, (False, False, True))]


def _summary(found: Survey, study: bool) -> list[str]:
    if not found.runs and not found.maps:
        hint = "; name the folder above it" if found.folder.resolve().name in (MAPS, PARTS) else ""
        return [] if study else [f"{found.folder}: no runs and no maps are here yet{hint}"]
    damaged = f", {len(found.damaged):,} of them damaged" if found.damaged else ""
    # Its own lines say whether a study runs, between two maps too.
    none = "no map is under way" if study else "nothing runs"
    lines = [f"{found.folder}: {_counts(found.runs) or none}; {_number_of_maps(found)}{damaged}"]
    if any(run.state == "complete" and not run.superfluous for run in found.runs):
        lines.append(f"What is complete becomes maps with: reproduce merge --out {shlex.quote(str(found.folder))}")
    return lines


def _counts(runs: Sequence[Run]) -> str:
    """How many runs are in which state, in words."""
    counts = Counter(run.state for run in runs)
    return ", ".join(f"{counts[state]:,} {state}" for state in STATES if counts[state])


def _number_of_maps(found: Survey) -> str:
    return f"{found.maps:,} map{'s' * (found.maps > 1)}" if found.maps else "no maps"


def _rate(rate: float | None) -> str:
    if rate is None:
        return ""
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"


def _process(owner: str) -> str:
    """Who has a run, without since when, which is of no use beside how far it is."""
    return re.sub(r" since [0-9: -]+$", "", owner)


def _clock(when: float, now: float) -> str:
    """The time of day, and the day unless it is today."""
    then = time.localtime(when)
    today = time.strftime("%Y-%m-%d", then) == time.strftime("%Y-%m-%d", time.localtime(now))
    return time.strftime("%H:%M" if today else "%Y-%m-%d %H:%M", then)

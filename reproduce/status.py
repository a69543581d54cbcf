"""`reproduce status`: what runs, what was stopped and what is finished in a folder of results."""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path

import click

from .watching.columns import cut, width
from .watching.survey import survey
from .watching.table import table

#: Seconds between two looks, and between two tables where there is no terminal.
_LOOK_EVERY, _PRINT_EVERY = 2.0, 60.0

#: So many looks have to find that nothing runs: between two maps of one command nothing does for a moment.
_LAST_LOOKS = 6

#: How many runs are shown, and how many maps, at most.
_MOST_RUNS, _LATEST_MAPS = 20, 3

#: Lines that are kept for all but the runs.
_OTHER_LINES = 10


@click.command(short_help="Show what runs, and what is finished.")
@click.argument("folder", type=click.Path(path_type=Path), default=Path("results"))
@click.option("--follow", is_flag=True, help="Show it again every 2 seconds, until nothing runs any longer.")
def status(folder: Path, follow: bool) -> None:
    """Show what runs, what was stopped, and which maps are finished in FOLDER, that of --out (default: results).

    It only looks, at any time, and disturbs nothing.
    """
    if follow:
        _follow(folder)
    else:
        lines, _ = _look(folder, _MOST_RUNS, shutil.get_terminal_size().columns)
        click.echo("\n".join(lines))


def lines_of_study(folder: Path) -> list[str]:
    """What is to be said of the study in a folder, line by line; nothing if there is none."""
    from .studies.summary import summary

    return summary(folder)


def _study_runs(folder: Path) -> bool:
    from .studies.summary import is_any_running

    return is_any_running(folder)


def _look(folder: Path, most_runs: int, columns: int) -> tuple[list[str], bool]:
    """What there is to see now, and whether something runs."""
    found = survey(folder, most_runs, _LATEST_MAPS)
    # A study also opens networks, fits Gaussians and writes tables, and no journal runs meanwhile.
    running = found.count("running") > 0 or _study_runs(folder)
    return table(found, lines_of_study(folder), columns, most_runs, time.time()), running


def _follow(folder: Path) -> None:
    """Show it again and again: in place on a terminal, elsewhere as one table below the other."""
    on_terminal = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    show = _InPlace() if on_terminal else _OneByOne()
    idle = _LAST_LOOKS - 1  # if nothing runs in the first place, there is nothing to follow
    while True:
        lines, running = _look(folder, show.most_runs, show.columns)
        idle = 0 if running else idle + 1
        ends = idle >= _LAST_LOOKS
        show(lines, ends)
        if ends:
            return
        time.sleep(_LOOK_EVERY)


class _InPlace:
    """Tables on a terminal, each where the one before was."""

    def __init__(self) -> None:
        self._shown: list[str] = []

    @property
    def columns(self) -> int:
        # In the last column, some terminals begin a new line.
        return shutil.get_terminal_size().columns - 1

    @property
    def most_runs(self) -> int:
        return max(1, min(_MOST_RUNS, shutil.get_terminal_size().lines - _OTHER_LINES))

    def __call__(self, lines: list[str], ends: bool) -> None:
        columns, height = shutil.get_terminal_size()
        # As many lines up as they take now, should the terminal be narrower than it was.
        up = sum(max(1, -(-width(line) // columns)) for line in self._shown)
        # What does not fit would scroll, and could not be taken back.
        self._shown = [cut(line, self.columns) for line in lines[-(height - 1) :]]
        start = f"\x1b[{min(up, height - 1)}A\r\x1b[J" if up else ""
        click.echo(start + "\n".join(self._shown))
        sys.stdout.flush()


class _OneByOne:
    """Tables in a file, one a minute, and the last."""

    most_runs = _MOST_RUNS

    def __init__(self) -> None:
        self._printed: float | None = None
        self.columns = shutil.get_terminal_size().columns

    def __call__(self, lines: list[str], ends: bool) -> None:
        now = time.monotonic()
        if ends or self._printed is None or now - self._printed >= _PRINT_EVERY:
            separator = [] if self._printed is None else [""]
            click.echo("\n".join([*separator, time.strftime("%Y-%m-%d %H:%M:%S"), *lines]))
            sys.stdout.flush()
            self._printed = now

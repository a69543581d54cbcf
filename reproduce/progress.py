"""How far a long piece of work is: a bar on a terminal or in a notebook, a line a minute elsewhere."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, NamedTuple, Self

from tqdm import tqdm

from .watching.columns import printable, shortened

logger = logging.getLogger(__name__)

#: Seconds between lines where they stay, and where one takes the place of the one before.
_EVERY, _EVERY_IN_PLACE = 60.0, 1.0

#: What is beside the bar; on a narrow terminal without numbers.
_BESIDE = "{desc}: {percentage:3.0f} %|{bar}| {n_fmt}/{total_fmt} [{rate_noinv_fmt}, {remaining} left]"
_NARROW = "{desc}: {percentage:3.0f} %|{bar}| {rate_noinv_fmt}, {remaining} left"

#: Columns of a narrow terminal, and what a narrow bar takes beside its name.
_NARROW_COLUMNS, _BAR_COLUMNS = 110, 39


class _Lines(NamedTuple):
    """What shows a line, so many seconds after the one before at the earliest, perhaps in its place."""

    say: Callable[[str], None]
    every: float
    in_place: bool = False


class Progress:
    """Progress of one piece of work, with its rate and the time left.

    On a terminal it is a bar, which vanishes at the end. In a notebook it is a bar too or, without ipywidgets, a line
    of text that changes in place. Elsewhere a line a minute is logged.

    Parameters
    ----------
    name : str
        What is being done.
    total : int or None
        How much there is to do, if known.
    unit : str, default "windows"
        Of what; "B" for bytes.
    start : int, default 0
        How much was done before; it does not count for the rate.

    Examples
    --------
    What calls back with the work done and the total can report to it:

    >>> report = Progress("cat").report
    >>> for done in range(10, 40, 10):
    ...     report(done, 30)

    so in a program of yours, `prediction_difference(x, evaluator, sampler, progress=Progress("cat").report)`.
    """

    def __init__(self, name: str, total: int | None = None, unit: str = "windows", start: int = 0) -> None:
        self._name, self._total, self._unit, self._done = printable(name), total, unit, start
        self._shown, self._first = False, start
        self._began = self._said = time.monotonic()
        self._bar: tqdm[Any] | None = None
        self._lines: _Lines | None = None

    def __enter__(self) -> Self:
        self._show()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def update(self, count: int) -> None:
        """So much more is done."""
        if not self._shown:
            self._show()
        self._done += count
        if self._bar is not None:
            self._bar.update(count)
        elif self._lines is not None and (now := time.monotonic()) - self._said >= self._lines.every:
            self._said = now
            self._lines.say(f"{self._name}: {self._line(now - self._began)}")

    def to(self, done: int) -> None:
        """So much is done in all."""
        self.update(done - self._done)

    def report(self, done: int, total: int) -> None:
        """So much is done in all, of so much: for whatever calls back with both, as `prediction_difference` does.

        It is shown from the first call on, whose work counts as done before, and until all is done.
        """
        if total != self._total or done < self._done:  # the first call, or that of another piece of work
            self.close()
            self._total, self._done = total, done
            self._show()
        else:
            self.to(done)
        if done >= total:
            self.close()

    def close(self) -> None:
        """It is not shown any longer; a line of text stays, and says how long it took."""
        if self._bar is not None:
            self._bar.close()
        elif self._lines is not None and self._lines.in_place and self._said > self._began:
            took = duration(time.monotonic() - self._began)
            self._lines.say(f"{self._name}: {self._count()}, took {took}")
        self._bar = self._lines = None

    def _show(self) -> None:
        self._shown, self._first = True, self._done
        self._began = self._said = time.monotonic()
        if _in_notebook():
            from tqdm import notebook

            if getattr(notebook, "IProgress", None) is not None:  # ipywidgets' bar
                self._bar = self._as_bar(notebook.tqdm, self._name, _BESIDE)
            else:
                self._lines = _lines_in_place()
        elif sys.stderr is not None and sys.stderr.isatty():
            columns = _columns()
            name = shortened(self._name, max(10, columns - _BAR_COLUMNS - len(self._unit)))
            self._bar = self._as_bar(tqdm, name, _BESIDE if columns >= _NARROW_COLUMNS else _NARROW)
        else:
            self._lines = _Lines(lambda line: logger.info("%s", line), _EVERY)

    def _as_bar(self, kind: Callable[..., tqdm[Any]], name: str, beside: str) -> tqdm[Any]:
        return kind(
            total=self._total,
            initial=self._done,
            desc=name,
            unit=self._unit if self._unit == "B" else f" {self._unit}",
            unit_scale=self._unit == "B",
            bar_format=None if self._total is None else beside,
            dynamic_ncols=True,
            leave=False,
        )

    def _line(self, seconds: float) -> str:
        rate = (self._done - self._first) / seconds
        speed = f"{rate:,.3g} {self._unit}/s" if rate < 1000 else f"{rate:,.0f} {self._unit}/s"
        if self._total is None:
            return f"{self._count()}, {speed}"
        left = duration((self._total - self._done) / rate) + " left" if rate > 0 else "waiting"
        return f"{self._count()}, {speed}, {left}"

    def _count(self) -> str:
        if self._total is None:
            return f"{self._done:,} {self._unit}"
        return f"{self._done:,} of {self._total:,} {self._unit} ({100 * self._done / self._total:.0f} %)"


def duration(seconds: float) -> str:
    """A length of time as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def _in_notebook() -> bool:
    """Whether this is the kernel of a notebook, and not IPython on a terminal."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and "IPKernelApp" in shell.config


def _lines_in_place() -> _Lines:
    """A line below a notebook's cell; later ones take its place."""
    display = importlib.import_module("IPython.display").display
    handle: Any = None

    def say(line: str) -> None:
        nonlocal handle
        if handle is None:
            handle = display({"text/plain": line}, raw=True, display_id=True)
        else:
            handle.update({"text/plain": line}, raw=True)

    return _Lines(say, _EVERY_IN_PLACE, in_place=True)


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def counted(count: int, what: str) -> str:
    """So many of something, in words."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"

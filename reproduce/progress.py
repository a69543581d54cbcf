"""How far a long piece of work is: a bar on a terminal, a line a minute elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from types import TracebackType
from typing import Self

from tqdm import tqdm

logger = logging.getLogger(__name__)

#: Seconds between lines where there is no terminal.
_EVERY = 60.0


class Progress:
    """Progress of one piece of work, with its rate and the time left.

    Parameters
    ----------
    name : str
        What is being done.
    total : int or None
        How much there is to do, if known.
    unit : str
        Of what; "B" for bytes.
    start : int, default 0
        How much was done before.
    """

    def __init__(self, name: str, total: int | None, unit: str, start: int = 0) -> None:
        self._name, self._total, self._unit, self._done = name, total, unit, start
        self._began = self._said = time.monotonic()
        self._first = start
        self._bar = tqdm(
            total=total,
            initial=start,
            desc=name,
            unit=unit if unit == "B" else f" {unit}",
            unit_scale=unit == "B",
            disable=not sys.stderr.isatty(),
            leave=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.close()

    def update(self, count: int) -> None:
        """So much more is done."""
        self._done += count
        self._bar.update(count)
        now = time.monotonic()
        if self._bar.disable and now - self._said >= _EVERY:
            self._said = now
            logger.info("%s: %s", self._name, self._line(now - self._began))

    def to(self, done: int) -> None:
        """So much is done in all."""
        self.update(done - self._done)

    def _line(self, seconds: float) -> str:
        rate = (self._done - self._first) / seconds
        speed = f"{rate:,.3g} {self._unit}/s" if rate < 1000 else f"{rate:,.0f} {self._unit}/s"
        if self._total is None:
            return f"{self._done:,} {self._unit}, {speed}"
        left = duration((self._total - self._done) / rate) + " left" if rate > 0 else "waiting"
        part = f"{self._done:,} of {self._total:,} {self._unit} ({100 * self._done / self._total:.0f} %)"
        return f"{part}, {speed}, {left}"


def duration(seconds: float) -> str:
    """A length of time as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"

"""How far the studies in a folder are, in a few lines: for `reproduce status`."""

from __future__ import annotations

import re
import time
from pathlib import Path

from predict_diff.errors import ResultError

from ..progress import duration
from ..runner import WHOLE
from .index import Index, copy_of
from .log import is_running
from .names import Files

#: Seconds over which the rate is taken.
_RECENT = 3600.0


def summary(folder: Path) -> list[str]:
    """Lines on each study, or shard of one, whose index lies in a folder: none, if there is none.

    What cannot be read is said, and is no error.
    """
    lines = []
    for files in _studies(folder):
        try:
            with copy_of(files.index) as index:
                lines += _lines(files, index)
        except ResultError as damage:
            lines.append(str(damage))
    return lines


def is_any_running(folder: Path) -> bool:
    """Whether a process makes a study, or a shard of one, in a folder."""
    return any(is_running(files.log) for files in _studies(folder))


def _studies(folder: Path) -> list[Files]:
    found = []
    for path in sorted(folder.glob("study*.sqlite")):
        match = re.fullmatch(r"study(?:-(\d{1,6})of(\d{1,6}))?", path.stem)
        if match is not None:
            found.append(Files(folder, (int(match[1]), int(match[2])) if match[1] else WHOLE))
    return sorted(found, key=lambda files: files.shard[::-1])


def _lines(files: Files, index: Index) -> list[str]:
    counts, now = index.counts(), time.time()
    running = is_running(files.log)
    recent, first, error = index.latest(now - _RECENT)
    shard = "" if files.shard == WHOLE else f", shard {files.shard[0]} of {files.shard[1]}"
    failed = f", {counts.failed} failed" if counts.failed else ""
    line = f"study {index.title()}{shard}: {counts.done} of {counts.total} maps done{failed}; "
    if running and recent > 1 and first is not None and now > first:
        # The first of them began before.
        rate = (recent - 1) / (now - first)
        line += f"running, {rate * 3600:,.0f} maps an hour, {duration(counts.left / rate)} left"
    elif running:
        line += "running"
    else:
        line += "not running" if counts.left else "complete"
    return [line, f"  last error: {error}"] if error else [line]

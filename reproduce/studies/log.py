"""The log of a study: lines with date and time that a person can read, in a file that one process has at a time."""

from __future__ import annotations

import io
import logging
import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from predict_diff.errors import ResultError
from predict_diff.exclusive import is_locked, lock_in_a_moment

from ..photos import printable

#: Whose lines are kept, and whose are not: how far each map is.
_PACKAGES = ("reproduce", "predict_diff")
_NOT_KEPT = "reproduce.progress"

#: How the line begins that says who has the study.
START = "start: "

#: Bytes at the end of a log in which its last start is looked for.
_TAIL = 1 << 20


@contextmanager
def open_log(path: Path) -> Iterator[None]:
    """Append to a study's log what is logged; nobody else may have it at that time.

    Raises
    ------
    ResultError
        If another process has it, or it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        raw = cast(BinaryIO, path.open("a+b", buffering=0))
    except OSError as reason:
        raise ResultError(
            f"{path}: could not be written ({reason.strerror}); choose a folder that you may write to with --out"
        ) from reason
    with raw:
        if not lock_in_a_moment(raw):
            raise ResultError(
                f"{path}: expected to be the only one that makes this study, found {_owner(path)} at it; wait for its "
                f"end, stop it, or choose another folder with --out"
            )
        if _is_torn(raw):
            raw.write(b"\n")
        with _kept(_Handler(io.TextIOWrapper(raw, "utf-8", "backslashreplace", write_through=True))):
            yield


def is_running(path: Path) -> bool:
    """Whether a process makes the study of a log."""
    try:
        with path.open("rb") as file:
            return is_locked(file)
    except OSError:
        return False


def process() -> str:
    """This process, and where it runs."""
    return f"process {os.getpid()} on {platform.node()}"


class _Handler(logging.StreamHandler[io.TextIOWrapper]):
    """A line for each record; on a full disk none, which the index will notice."""

    def __init__(self, stream: io.TextIOWrapper) -> None:
        super().__init__(stream)
        self.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
        self.addFilter(lambda record: record.name != _NOT_KEPT)

    def format(self, record: logging.LogRecord) -> str:
        return printable(" ".join(super().format(record).split()))

    def handleError(self, record: logging.LogRecord) -> None:
        pass


@contextmanager
def _kept(handler: _Handler) -> Iterator[None]:
    """Packages log into a handler too; that a map is complete is said by the study alone."""
    packages, maps = [logging.getLogger(name) for name in _PACKAGES], logging.getLogger("reproduce.runner")
    levels = {logger: logger.level for logger in (*packages, maps)}
    for logger in packages:
        logger.addHandler(handler)
        logger.setLevel(logger.level or logging.INFO)
    maps.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger in packages:
            logger.removeHandler(handler)
        for logger, level in levels.items():
            logger.setLevel(level)


def _is_torn(file: BinaryIO) -> bool:
    """Whether a process was killed in the midst of a line."""
    size = file.seek(0, os.SEEK_END)
    if size == 0:
        return False
    file.seek(size - 1)
    return file.read(1) != b"\n"


def _owner(path: Path) -> str:
    """Who started last."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            starts = re.findall(
                rf"^(\S+ \S+) {START}.*?(process \d+ on \S+)", file.read().decode(errors="replace"), re.M
            )
    except OSError:
        starts = []
    return f"{starts[-1][1].rstrip(',;:')} since {starts[-1][0]}" if starts else "another process"

"""What is written into an index: which maps there are, and how each ended. All within transactions of the caller's."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .expand import Item
from .schema import TARGETS

#: Only question marks are put together.
_INSERT = f"INSERT INTO targets VALUES ({', '.join('?' * (2 + len(TARGETS)))})"  # noqa: S608  # nosec B608


def photo_number(database: sqlite3.Connection, item: Item) -> int:
    """The number of an item's photo. What is known of maps of another one under its name is forgotten."""
    path, stamp = os.fsencode(item.photo), (item.size, item.mtime_ns)
    row = database.execute("SELECT id, size, mtime_ns FROM photos WHERE path = ?", (path,)).fetchone()
    if row is None:
        added = database.execute("INSERT INTO photos (path, size, mtime_ns) VALUES (?, ?, ?)", (path, *stamp))
        return int(added.lastrowid or 0)
    if row[1:] != stamp:
        values = (*stamp, row[0])
        database.execute("UPDATE photos SET size = ?, mtime_ns = ?, sha256 = NULL WHERE id = ?", values)
        for (job,) in database.execute("SELECT id FROM jobs WHERE photo = ?", (row[0],)).fetchall():
            _forget(database, job)
    return int(row[0])


def take_down(database: sqlite3.Connection, photo: int, item: Item, generation: int, maps: Path) -> None:
    """An item belongs to the study; what is known of it is kept if its configuration and map are there."""
    row = database.execute(
        "SELECT id, state, configuration, map FROM jobs WHERE photo = ? AND network = ? AND sampler = ? AND seed = ?",
        (photo, item.network, item.sampler, str(item.seed)),
    ).fetchone()
    if row is None:
        database.execute(
            "INSERT INTO jobs (number, photo, network, sampler, seed, configuration, generation) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (item.number, photo, item.network, item.sampler, str(item.seed), item.configuration, generation),
        )
        return
    job, state, configuration, file = row
    if configuration != item.configuration or (state == "done" and not (maps / file).is_file()):
        _forget(database, job)
    database.execute(
        "UPDATE jobs SET number = ?, configuration = ?, generation = ? WHERE id = ?",
        (item.number, item.configuration, generation, job),
    )


def _forget(database: sqlite3.Connection, job: int) -> None:
    """A map is to be done again."""
    database.execute("DELETE FROM targets WHERE job = ?", (job,))
    database.execute(
        "UPDATE jobs SET state = 'waiting', error = NULL, map = NULL, seconds = NULL, ended = NULL WHERE id = ?", (job,)
    )


def finish(
    database: sqlite3.Connection, job: int, file: str, seconds: float, ended: float, rows: Iterable[Sequence[Any]]
) -> None:
    """A map is done."""
    database.execute("DELETE FROM targets WHERE job = ?", (job,))
    numbered = ((job, place, *row) for place, row in enumerate(rows))
    database.executemany(_INSERT, numbered)
    database.execute(
        "UPDATE jobs SET state = 'done', error = NULL, map = ?, seconds = ?, ended = ? WHERE id = ?",
        (file, seconds, ended, job),
    )


def fail(database: sqlite3.Connection, job: int, reason: str, ended: float) -> None:
    """There is no map."""
    _forget(database, job)
    database.execute("UPDATE jobs SET state = 'failed', error = ?, ended = ? WHERE id = ?", (reason, ended, job))


def take_over(database: sqlite3.Connection, found: tuple[Any, ...], rows: Iterable[Sequence[Any]]) -> bool:
    """What another index knows of a map counts here, if it is of the same photo and configuration and not done.

    Parameters
    ----------
    found : tuple
        A row of its view `maps`, without the first two columns.
    rows : iterable
        Of its targets.
    """
    path, size, mtime_ns, sha256, _, network, sampler, seed, configuration, _, _, file, seconds, ended = found
    mine = database.execute(
        "SELECT job, photo FROM maps WHERE path = ? AND size = ? AND mtime_ns = ? AND network = ? AND sampler = ? "
        "AND seed = ? AND configuration = ? AND state <> 'done'",
        (path, size, mtime_ns, network, sampler, seed, configuration),
    ).fetchone()
    if mine is None:
        return False
    finish(database, mine[0], file, seconds, ended, rows)
    database.execute("UPDATE photos SET sha256 = ? WHERE id = ?", (sha256, mine[1]))
    return True

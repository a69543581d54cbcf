"""The index of a study: which maps there are, and their numbers; a SQLite file, a transaction for each map that ends.

The maps are the truth. Whatever the index does not know for sure is found out from them again, so that losing it costs
time only.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import Any, Self

from predict_diff.errors import ResultError

from ..photos import printable
from ..runner import MAPS
from .entries import fail, finish, photo_number, take_down, take_over
from .expand import Item
from .schema import TARGETS, copy_of_database, open_database, unusable

#: Rows that are taken at a time: others may write between them.
_CHUNK = 500

#: Of a row of the view `maps`, without its first two columns.
_MAP = 11


@dataclass(frozen=True)
class Counts:
    """How many maps a study has, are done, and failed when they were last tried."""

    total: int
    done: int
    failed: int

    @property
    def left(self) -> int:
        return self.total - self.done


@dataclass(frozen=True)
class Standing:
    """A map that has ended: what it is of, where it lies or why there is none, and its first target's numbers."""

    number: int
    photo: str
    network: str
    sampler: str
    seed: int
    map: str | None
    seconds: float | None
    error: str | None
    target: dict[str, Any]


class Index:
    """An index that is open; one process writes it at a time. See `open_index`."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection, self.path = connection, path

    # --- what belongs to the study ---

    def register(self, title: str, items: Iterable[Item]) -> Counts:
        """Take down which maps a study has. What is known of one is kept if photo and configuration are the same.

        A map that is done and whose file is gone is to be done again; what is no longer in the study is forgotten.
        """
        folder = self.path.parent / MAPS
        with self._transaction() as database:
            (before,) = database.execute("SELECT ifnull(max(generation), 0) FROM jobs").fetchone()
            database.execute("REPLACE INTO about VALUES ('title', ?)", (printable(title),))
            photo, last = -1, None
            for item in items:
                if item.photo != last:
                    photo, last = photo_number(database, item), item.photo
                take_down(database, photo, item, before + 1, folder)
            old = (before + 1,)
            database.execute("DELETE FROM targets WHERE job IN (SELECT id FROM jobs WHERE generation <> ?)", old)
            database.execute("DELETE FROM jobs WHERE generation <> ?", old)
            database.execute("DELETE FROM photos WHERE id NOT IN (SELECT photo FROM jobs)")
        return self.counts()

    def adopt(self, other: Path) -> int:
        """Take over what another index knows, such as a shard's, of maps that are not done here; how many."""
        with copy_of(other) as part:
            return self._take_over(part)

    def _take_over(self, part: Index) -> int:
        adopted = 0
        with self._transaction() as database:
            for job, _, *found in part._execute("SELECT * FROM maps WHERE state = 'done'"):
                if (self.path.parent / MAPS / found[_MAP]).is_file():
                    rows = part._execute("SELECT * FROM targets WHERE job = ? ORDER BY place", (job,))
                    adopted += take_over(database, tuple(found), (row[2:] for row in rows))
        return adopted

    def waiting(self) -> Iterator[tuple[int, Item]]:
        """What is still to be done, in order, and under which number `done` and `failed` know it; failed ones too."""
        last = -1
        while True:
            rows = self._execute(
                "SELECT job, number, path, size, mtime_ns, network, sampler, seed, configuration FROM maps "
                "WHERE number > ? AND state <> 'done' ORDER BY number LIMIT ?",
                (last, _CHUNK),
            ).fetchall()
            for job, number, path, size, mtime_ns, network, sampler, seed, configuration in rows:
                photo = os.fsdecode(path)
                yield job, Item(number, photo, size, mtime_ns, network, sampler, int(seed), configuration)
                last = number
            if not rows:
                return

    # --- what has ended ---

    def done(self, job: int, file: str, seconds: float, sha256: str | None, rows: Iterable[Sequence[Any]]) -> None:
        """A map is there.

        Parameters
        ----------
        job : int
            As `waiting` numbers it.
        file : str
            The name of the map's file.
        seconds : float
            Its computing time.
        sha256 : str or None
            Of the photo's pixels.
        rows : iterable
            Of `columns.target_rows`.
        """
        with self._transaction() as database:
            finish(database, job, file, seconds, time.time(), rows)
            database.execute(
                "UPDATE photos SET sha256 = ? WHERE id = (SELECT photo FROM jobs WHERE id = ?)", (sha256, job)
            )

    def failed(self, job: int, reason: str) -> None:
        """There is no map, and this is why."""
        with self._transaction() as database:
            fail(database, job, printable(reason), time.time())

    # --- what is asked ---

    def counts(self) -> Counts:
        """How many maps there are, and how many of them have ended how."""
        states = dict(self._execute("SELECT state, count(*) FROM jobs GROUP BY state").fetchall())
        return Counts(sum(states.values()), states.get("done", 0), states.get("failed", 0))

    def title(self) -> str:
        """The study's."""
        row = self._execute("SELECT value FROM about WHERE name = 'title'").fetchone()
        return str(row[0]) if row else ""

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """The rows of the table, in the study's order; `columns.COLUMNS` says what they hold. None is an empty cell."""
        for path, sha256, network, sampler, seed, seconds, file, state, error, _, _, *cells in self._execute(
            "SELECT m.path, m.sha256, m.network, m.sampler, m.seed, m.seconds, m.map, m.state, m.error, t.* "
            "FROM maps m LEFT JOIN targets t ON t.job = m.job WHERE m.state <> 'waiting' ORDER BY m.number, t.place"
        ):
            photo = printable(os.fsdecode(path))
            place = f"{MAPS}/{file}" if file else None
            yield (photo, sha256, network, sampler, int(seed), *cells, seconds, place, state, error)

    def standings(self, state: str, after: int = -1, limit: int = -1) -> list[Standing]:
        """Maps that are done, or failed, in the study's order: some of them, after a number in it."""
        rows = self._execute(
            "SELECT m.number, m.path, m.network, m.sampler, m.seed, m.map, m.seconds, m.error, t.* FROM maps m "
            "LEFT JOIN targets t ON t.job = m.job AND t.place = 0 WHERE m.state = ? AND m.number > ? "
            "ORDER BY m.number LIMIT ?",
            (state, after, limit),
        )
        return [
            Standing(
                number=number,
                photo=printable(os.fsdecode(path)),
                network=network,
                sampler=sampler,
                seed=int(seed),
                map=file,
                seconds=seconds,
                error=error,
                target=dict(zip(TARGETS, cells, strict=True)),
            )
            for number, path, network, sampler, seed, file, seconds, error, _, _, *cells in rows
        ]

    def latest(self, since: float) -> tuple[int, float | None, str | None]:
        """How many maps were done since then, when the first of these was, and why the last one that failed did."""
        count, first = self._execute(
            "SELECT count(*), min(ended) FROM jobs WHERE state = 'done' AND ended >= ?", (since,)
        ).fetchone()
        error = self._execute("SELECT error FROM jobs WHERE state = 'failed' ORDER BY ended DESC LIMIT 1").fetchone()
        return int(count), first, error[0] if error else None

    def sha256(self, path: Path) -> str:
        """SHA-256 of a file's bytes, which are read only if its size or time of change is new.

        Raises
        ------
        ResultError
            If the file cannot be read.
        """
        try:
            found = path.stat()
            name, stamp = os.fsencode(path.absolute()), (found.st_size, found.st_mtime_ns)
            known = self._execute("SELECT size, mtime_ns, sha256 FROM files WHERE path = ?", (name,)).fetchone()
            if known is not None and known[:2] == stamp:
                return str(known[2])
            with path.open("rb") as file:
                digest = file_digest(file, "sha256").hexdigest()
        except OSError as reason:
            raise ResultError(f"{path}: expected a file that can be read ({reason.strerror})") from reason
        with self._transaction() as database:
            database.execute("REPLACE INTO files VALUES (?, ?, ?, ?)", (name, *stamp, digest))
        return digest

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()

    def _execute(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        try:
            return self._connection.execute(statement, values)
        except sqlite3.Error as reason:
            raise unusable(self.path, reason) from reason

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All of a block, or nothing; part of the one that has been begun, if one has."""
        if self._connection.in_transaction:
            yield self._connection
            return
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            yield self._connection
            self._connection.execute("COMMIT")
        except sqlite3.Error as reason:
            raise unusable(self.path, reason) from reason
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")


@contextmanager
def open_index(path: Path, force: bool = False) -> Iterator[Index]:
    """Begin an index, or go on with the one that is there.

    Parameters
    ----------
    path : Path
    force : bool
        Whether one that is damaged, or another program's, is begun anew.

    Raises
    ------
    ResultError
        If it cannot be read or written, unless it may be begun anew.
    """
    with Index(open_database(path, force), path) as index:
        yield index


@contextmanager
def copy_of(path: Path) -> Iterator[Index]:
    """An index as it is now, or an empty one, for one who only looks: what is changed in it is lost.

    Raises
    ------
    ResultError
        If there is one that cannot be read.
    """
    with Index(copy_of_database(path), path) as index:
        yield index

"""The tables of an index, and opening the files that hold them, which may be damaged or anyone's."""

from __future__ import annotations

import logging
import sqlite3
from functools import cache
from pathlib import Path
from urllib.parse import quote

from predict_diff.errors import ResultError

from .columns import TARGET

logger = logging.getLogger(__name__)

#: What says that a SQLite file is such an index, and which version its tables have.
_APPLICATION, _VERSION = 0x50444146, 1

#: Seconds to wait while another process reads, or for one that only begins.
_PATIENCE = 60.0

#: Columns of `targets`.
TARGETS = tuple(column.name for column in TARGET)

_TARGETS = ", ".join(
    f"{column.name} {column.kind.upper()} CHECK (typeof({column.name}) IN ('{column.kind}', 'null'))"
    for column in TARGET
)

_SCHEMA = (
    "CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    # Names of files are bytes.
    "CREATE TABLE files (path BLOB PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, "
    "sha256 TEXT NOT NULL)",
    "CREATE TABLE photos (id INTEGER PRIMARY KEY, path BLOB NOT NULL UNIQUE CHECK (typeof(path) = 'blob'), "
    "size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, sha256 TEXT)",
    "CREATE TABLE jobs (id INTEGER PRIMARY KEY, number INTEGER NOT NULL CHECK (typeof(number) = 'integer'), "
    "photo INTEGER NOT NULL REFERENCES photos (id), network TEXT NOT NULL, sampler TEXT NOT NULL, "
    # A seed has 64 bits without a sign.
    "seed TEXT NOT NULL CHECK (seed GLOB '[0-9]*' AND seed NOT GLOB '*[^0-9]*'), "
    "configuration TEXT NOT NULL, generation INTEGER NOT NULL CHECK (typeof(generation) = 'integer'), "
    "state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'done', 'failed')), "
    "error TEXT, map TEXT CHECK (state <> 'done' OR (map IS NOT NULL AND map NOT LIKE '%/%')), "
    "seconds REAL CHECK (typeof(seconds) IN ('real', 'null')), ended REAL CHECK (typeof(ended) IN ('real', 'null')), "
    "UNIQUE (photo, network, sampler, seed))",
    "CREATE INDEX jobs_by_number ON jobs (number)",
    "CREATE INDEX jobs_by_end ON jobs (state, ended)",
    f"CREATE TABLE targets (job INTEGER NOT NULL REFERENCES jobs (id), place INTEGER NOT NULL, {_TARGETS}, "
    "PRIMARY KEY (job, place)) WITHOUT ROWID",
    "CREATE VIEW maps AS SELECT j.id AS job, j.number, p.path, p.size, p.mtime_ns, p.sha256, j.photo, j.network, "
    "j.sampler, j.seed, j.configuration, j.state, j.error, j.map, j.seconds, j.ended "
    "FROM jobs j JOIN photos p ON p.id = j.photo",
)


def open_database(path: Path, force: bool = False) -> sqlite3.Connection:
    """Open an index for writing; it is made if there is none.

    Raises
    ------
    ResultError
        If it cannot be read or written; or is damaged or another's, unless it may be replaced (`force`).
    """
    try:
        return _opened(path)
    except _StrangeError as strange:
        if not force:
            raise ResultError(f"{strange}; say --force to have it made again from the maps") from strange
        logger.warning("%s; it is made again from the maps.", strange)
        for part in (path, path.with_name(f"{path.name}-journal")):
            part.unlink(missing_ok=True)
        return _opened(path)


def copy_of_database(path: Path) -> sqlite3.Connection:
    """A copy of an index in a temporary file that vanishes when it is closed; empty if there is none.

    Raises
    ------
    ResultError
        If it is damaged, or another's.
    """
    copy = sqlite3.connect("", isolation_level=None)
    try:
        if path.exists():
            found = _connect(path, "ro")
            try:
                found.backup(copy)
            finally:
                found.close()
        _check(copy, path)
    except sqlite3.Error as reason:
        copy.close()
        raise unusable(path, reason) from reason
    except _StrangeError as strange:
        copy.close()
        raise ResultError(f"{strange}; say --force to have it made again from the maps") from strange
    return copy


def unusable(path: Path, reason: sqlite3.Error) -> ResultError:
    """What is to be said when SQLite gives up."""
    if isinstance(reason, sqlite3.OperationalError):
        return ResultError(
            f"{path}: could not be read or written ({reason}); free some space or choose a folder that you may write "
            f"to: what is complete is kept, and the same command goes on from there"
        )
    return ResultError(
        f"{path}: expected the index of a study, but it is damaged ({reason}); say --force to have it made again from "
        f"the maps"
    )


class _StrangeError(Exception):
    """A file that is no index of this version, or damaged."""


def _opened(path: Path) -> sqlite3.Connection:
    connection = None
    try:
        connection = _connect(path, "rwc")
        _check(connection, path)
        # A power failure may cost the last maps' rows, which are found out again.
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection
    except sqlite3.OperationalError as reason:
        _close(connection)
        raise unusable(path, reason) from reason
    except sqlite3.DatabaseError as reason:
        _close(connection)
        raise _StrangeError(f"{path}: expected the index of a study, but it is damaged ({reason})") from reason
    except BaseException:
        _close(connection)
        raise


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    # The name is bytes to the system, and text to SQLite, which takes it from an address.
    address = f"file:{quote(bytes(path.absolute()))}?mode={mode}"
    return sqlite3.connect(address, uri=True, timeout=_PATIENCE, isolation_level=None)


def _close(connection: sqlite3.Connection | None) -> None:
    if connection is not None:
        connection.close()


def _check(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables if there are none; _StrangeError if they are not ours, or damaged."""
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("BEGIN IMMEDIATE")
    try:
        found = _tables(connection)
        marks = tuple(connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
        if not found and marks == (0, 0):
            _make(connection)
        elif found != _expected() or marks != (_APPLICATION, _VERSION):
            raise _StrangeError(f"{path}: expected the index of a study, found another database or another version's")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    (health,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if health != "ok":
        raise _StrangeError(f"{path}: expected the index of a study, but it is damaged ({health})")


def _make(connection: sqlite3.Connection) -> None:
    for statement in _SCHEMA:
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {_APPLICATION}")
    connection.execute(f"PRAGMA user_version = {_VERSION}")


def _tables(connection: sqlite3.Connection) -> list[tuple[str, ...]]:
    return connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name").fetchall()


@cache
def _expected() -> list[tuple[str, ...]]:
    connection = sqlite3.connect(":memory:")
    _make(connection)
    found = _tables(connection)
    connection.close()
    return found

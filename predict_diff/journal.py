"""What has been computed of a map so far, in an HDF5 file that survives whatever stops the program.

The file gets its whole size, and everything that the HDF5 library has to write, before the first window is computed.
From then on only numbers are put into their places, beside a checksum for each part: a part counts if its numbers have
its checksum. So the file can be read by any program at any moment; whatever was torn, by a killed process, a power
failure or a copy that broke off, is found and computed again; and the same numbers written twice do no harm.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import platform
import secrets
import struct
import time
from pathlib import Path
from typing import BinaryIO, Self, cast

import numpy as np
from numpy.typing import NDArray

from .errors import ResultError
from .exclusive import lock
from .journal_file import (
    COMMIT,
    DamagedError,
    Extent,
    Places,
    owner,
    put,
    read_plan,
    take,
    take_into,
    write_owner,
    write_plan,
)
from .plan import Plan
from .storage import sync_folder

logger = logging.getLogger(__name__)

#: Seconds between two requests to the system to put everything on the disk: so much a power failure costs at most.
_SYNC_EVERY = 5.0

#: How often, and with how many seconds between, a lock is asked for.
_TRIES, _MOMENT = 5, 0.05


class OtherRunError(ResultError):
    """A journal that was begun with another configuration."""


class Journal:
    """The values of a plan's parts, written as they come. One process has it at a time; see `open_journal`.

    Attributes
    ----------
    path : Path
    plan : Plan
        The one with which it was begun.
    """

    def __init__(self, path: Path, file: BinaryIO, plan: Plan, places: Places) -> None:
        self.path, self.plan = path, plan
        self._file, self._places = file, places
        self._process = secrets.randbits(63)
        self._records = np.zeros(len(plan), COMMIT)
        self._done = np.zeros(len(plan), bool)
        self._synced = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()

    @property
    def missing(self) -> list[int]:
        """Numbers of the parts that are not there, in order."""
        return [int(part) for part in np.flatnonzero(~self._done)]

    @property
    def windows_done(self) -> int:
        """How many rows are there."""
        return int(np.diff(self.plan.bounds)[self._done].sum())

    @property
    def seconds(self) -> float:
        """Computing time of what is there."""
        return float(self._records["seconds"][self._done].sum())

    @property
    def processes(self) -> int:
        """How many processes have computed what is there."""
        return len(np.unique(self._records["process"][self._done]))

    def write(self, part: int, values: NDArray[np.float64], seconds: float) -> None:
        """Keep the values of a part.

        Parameters
        ----------
        part : int
        values : ndarray, shape (rows of the part, 3, U), float64
        seconds : float
            What they took.

        Raises
        ------
        ResultError
            If they cannot be written. What was there before stays.
        """
        extent = self._extent(part)
        data = np.ascontiguousarray(values, "<f8").tobytes()
        if len(data) != extent.size:
            raise ValueError(f"part {part}: values of shape {values.shape} do not fit")
        record = np.zeros(1, COMMIT)
        record["seconds"], record["time"], record["process"] = seconds, time.time(), self._process
        record["checksum"] = np.frombuffer(self._checksum(part, record[0], data), np.uint8)
        try:
            put(self._file, extent.start, data)
            put(self._file, self._places.commits.start + part * COMMIT.itemsize, record.tobytes())
            if time.monotonic() - self._synced >= _SYNC_EVERY:
                self.sync()
        except OSError as reason:
            raise _unwritable(self.path, reason) from reason
        self._records[part], self._done[part] = record[0], True

    def values(self) -> NDArray[np.float64]:
        """(rows, 3, U) float64: the values of all parts; whatever is there where some are missing."""
        found = np.zeros(self.plan.shape, "<f8")
        take_into(self._file, self._places.values.start, found.data.cast("B"))
        return found

    def sync(self) -> None:
        """Have the system put on the disk what it still holds in memory."""
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()

    def close(self) -> None:
        """Let go of the file, so that another process may go on."""
        self._file.close()

    def discard(self) -> None:
        """Delete the file: its values are elsewhere."""
        self.path.unlink(missing_ok=True)
        self.close()

    def _extent(self, part: int) -> Extent:
        rows, size = self.plan.rows(part), 8 * math.prod(self.plan.shape[1:])
        return Extent(self._places.values.start + rows.start * size, (rows.stop - rows.start) * size)

    def _checksum(self, part: int, record: np.void, data: bytes | bytearray) -> bytes:
        key = bytes.fromhex(self._places.digest)
        stamp = struct.pack("<qddQ", part, record["seconds"], record["time"], record["process"])
        digest = hashlib.blake2b(stamp, digest_size=16, key=key)
        digest.update(data)
        return digest.digest()

    def _begin(self) -> None:
        self._take()
        if self.plan.given is not None:
            self.write(0, self.plan.given, 0.0)
        self.sync()
        sync_folder(self.path.parent)

    def _go_on(self) -> None:
        """Find out which parts are there."""
        self._records = np.frombuffer(bytes(take(self._file, self._places.commits)), COMMIT).copy()
        for part in np.flatnonzero(self._records["time"]):
            record = self._records[part]
            data = take(self._file, self._extent(int(part)))
            self._done[part] = record["checksum"].tobytes() == self._checksum(int(part), record, data)
        self._take()

    def _take(self) -> None:
        """Write down who has the file."""
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        write_owner(self._file, f"process {os.getpid()} on {platform.node()} since {since}")


def open_journal(path: str | Path, plan: Plan | None = None) -> Journal:
    """Begin a journal, or go on with the one that is there.

    Parameters
    ----------
    path : path
    plan : Plan, optional
        With which it is begun. If one is there, it has to be of the same map: its own plan counts. Without a plan,
        there has to be one.

    Returns
    -------
    Journal
        Which parts are there has been found out by their checksums. If the plan in the file cannot be read any more,
        it is begun anew, and a warning says so.

    Raises
    ------
    ResultError
        If another process has it, it is of another map or another's file, or cannot be read or written.
    """
    path = Path(path)
    try:
        while True:
            file, created = _open(path, plan is not None)
            try:
                if not _locked(file):
                    raise ResultError(
                        f"{path}: expected to be the only one that computes this map, found {owner(path)} at it; wait "
                        f"for its end, or stop it"
                    )
                # Whoever had it before may have finished and deleted it.
                if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    return _started(path, file, plan, created)
                file.close()
            except BaseException:
                file.close()
                raise
    except OSError as reason:
        raise _unwritable(path, reason) from reason


def _open(path: Path, create: bool) -> tuple[BinaryIO, bool]:
    """Open for reading and writing, and whether it was made: under its name at once, so that one process makes it."""
    if create:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return cast(BinaryIO, path.open("x+b", buffering=0)), True
        except FileExistsError:
            pass
    return cast(BinaryIO, path.open("r+b", buffering=0)), False


def _locked(file: BinaryIO) -> bool:
    """Lock a file; who only looks whether it is locked holds it for a moment."""
    for _ in range(_TRIES):
        if lock(file):
            return True
        time.sleep(_MOMENT)
    return False


def _started(path: Path, file: BinaryIO, plan: Plan | None, created: bool) -> Journal:
    """The journal in a file that this process has."""
    if created and plan is not None:
        return _begun(path, file, plan)
    try:
        theirs, places = read_plan(path, file)
    except DamagedError as damage:
        if plan is None:
            raise ResultError(
                f"{path}: expected a journal of a map, found one with a damaged beginning ({damage}); delete it"
            ) from damage
        logger.warning("%s: its beginning is damaged (%s); it is begun anew.", path, damage)
        file.truncate(0)
        return _begun(path, file, plan)
    if plan is not None and (strange := plan.differences(theirs)):
        raise OtherRunError(
            f"{path}: expected a run with this configuration, found one that was begun with another ({strange[0]}); go "
            f"on with that one, or delete the file, or say --force, to begin anew"
        )
    journal = Journal(path, file, theirs, places)
    journal._go_on()
    return journal


def _begun(path: Path, file: BinaryIO, plan: Plan) -> Journal:
    try:
        journal = Journal(path, file, plan, write_plan(path, file, plan))
        journal._begin()
    except BaseException:
        path.unlink(missing_ok=True)  # half a plan is of no use
        raise
    return journal


def _unwritable(path: Path, reason: OSError) -> ResultError:
    return ResultError(
        f"{path}: could not be written ({reason.strerror or reason}); free some space or choose a folder that you may "
        f"write to: what is complete is kept, and the same command goes on from there"
    )

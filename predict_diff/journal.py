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
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Self, cast

import numpy as np
from numpy.typing import NDArray

from .errors import ResultError
from .exclusive import lock_in_a_moment
from .journal_file import (
    COMMIT,
    DamagedError,
    Extent,
    Places,
    claim,
    owner,
    put,
    read_plan,
    take,
    write_owner,
    write_plan,
)
from .plan import Plan
from .storage import sync_folder

logger = logging.getLogger(__name__)

#: Seconds between two requests to the system to put everything on the disk: so much a power failure costs at most.
SYNC_EVERY = 5.0


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
        record = np.zeros((), COMMIT)
        record["seconds"], record["time"], record["process"] = seconds, time.time(), self._process
        record["checksum"] = np.frombuffer(self._checksum(part, record, data), np.uint8)
        try:
            put(self._file, extent.start, data)
            put(self._file, self._place_of_record(part), record.tobytes())
            if time.monotonic() - self._synced >= SYNC_EVERY:
                self.sync()
        except OSError as reason:
            raise _unwritable(self.path, reason) from reason
        self._records[part], self._done[part] = record, True

    def values(self) -> Iterator[NDArray[np.float64]]:
        """The values of each part, one after the other.

        Yields
        ------
        ndarray, shape (rows of the part, 3, U), float64

        Raises
        ------
        ResultError
            If a part is missing, or has changed since it was written or read.
        """
        for part in range(len(self.plan)):
            data = take(self._file, self._extent(part))
            if not self._done[part] or not self._has_checksum(part, data):
                raise ResultError(
                    f"{self.path}: expected the numbers that were written, found others, in part {part}: another "
                    f"process, or the disk, has changed them; start again: what is right is kept"
                )
            yield np.frombuffer(data, "<f8").reshape(-1, *self.plan.shape[1:])

    def sync(self) -> None:
        """Have the system put on the disk what it still holds in memory."""
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()

    def close(self) -> None:
        """Let go of the file, so that another process may go on."""
        self._file.close()

    def discard(self) -> None:
        """Delete the file: its values are elsewhere."""
        if os.name == "nt":
            self.close()  # Windows deletes no open file
        try:
            self.path.unlink(missing_ok=True)
        except OSError as reason:
            logger.warning("%s: could not be deleted (%s); it is of no use any more.", self.path, reason.strerror)
        self.close()

    def _extent(self, part: int) -> Extent:
        rows, size = self.plan.rows(part), 8 * math.prod(self.plan.shape[1:])
        return Extent(self._places.values.start + rows.start * size, (rows.stop - rows.start) * size)

    def _place_of_record(self, part: int) -> int:
        return self._places.commits.start + part * COMMIT.itemsize

    def _has_checksum(self, part: int, data: bytes | bytearray | memoryview) -> bool:
        """Whether numbers are those for which a part's record was made."""
        record = self._records[part]
        return bool(record["checksum"].tobytes() == self._checksum(part, record, data))

    def _checksum(self, part: int, record: np.void | NDArray[np.void], data: bytes | bytearray | memoryview) -> bytes:
        key = bytes.fromhex(self._places.digest)
        stamp = struct.pack("<qddQ", part, record["seconds"], record["time"], record["process"])
        digest = hashlib.blake2b(stamp, digest_size=16, key=key)
        digest.update(data)
        return digest.digest()

    def _go_on(self) -> None:
        """Find out which parts are there."""
        self._records = np.frombuffer(bytes(take(self._file, self._places.commits)), COMMIT).copy()
        for part in map(int, np.flatnonzero(self._records["time"])):
            self._done[part] = self._has_checksum(part, take(self._file, self._extent(part)))
        self._take()

    def _take(self) -> None:
        """Write down who has the file."""
        write_owner(self._file, _this_process())

    def _mend(self, plan: Plan | None) -> None:
        """Take back the records of torn parts, which would look complete, and write what is known beforehand."""
        for part in map(int, np.flatnonzero((self._records["time"] != 0) & ~self._done)):
            self._records[part] = np.zeros((), COMMIT)
            put(self._file, self._place_of_record(part), self._records[part].tobytes())
        if plan is None or plan.given is None or self._done[0]:
            return
        if np.array_equal(plan.windows(0), self.plan.windows(0)):
            self.write(0, plan.given, 0.0)


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
            file = _open(path, plan is not None)
            if file is None:
                continue  # it has just been deleted
            try:
                if not lock_in_a_moment(file):
                    raise ResultError(
                        f"{path}: expected to be the only one that computes this map, found {owner(path)} at it; wait "
                        f"for its end, or stop it"
                    )
                # Whoever had it before may have finished and deleted it.
                if _lies_at(path, file):
                    return _started(path, file, plan)
                file.close()
            except BaseException:
                file.close()
                raise
    except OSError as reason:
        raise _unwritable(path, reason) from reason


def _open(path: Path, create: bool) -> BinaryIO | None:
    """Open for reading and writing; one that is not there is made under its name at once, so that one process does."""
    if create:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            return cast(BinaryIO, path.open("x+b", buffering=0))
    try:
        return cast(BinaryIO, path.open("r+b", buffering=0))
    except FileNotFoundError:
        if not create or path.is_symlink():  # one that leads nowhere
            raise
        return None


def _lies_at(path: Path, file: BinaryIO) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _started(path: Path, file: BinaryIO, plan: Plan | None) -> Journal:
    """The journal in a file that this process has."""
    if plan is not None and os.fstat(file.fileno()).st_size == 0:
        try:
            return _begun(path, file, plan)
        except BaseException:
            path.unlink(missing_ok=True)  # half a plan is of no use
            raise
    try:
        theirs, places = read_plan(path, file)
    except DamagedError as damage:
        if plan is None:
            raise ResultError(
                f"{path}: expected a journal of a map, found one with a damaged beginning ({damage}); delete it"
            ) from damage
        logger.warning("%s: its beginning is damaged (%s); it is written anew.", path, damage)
        return _begun(path, file, plan)
    if plan is not None and (strange := plan.differences(theirs)):
        raise OtherRunError(
            f"{path}: expected a run with this configuration, found one that was begun with another ({strange[0]}); go "
            f"on with that one, or delete the file, or say --force, to begin anew"
        )
    journal = Journal(path, file, theirs, places)
    journal._go_on()
    journal._mend(plan)
    return journal


def _begun(path: Path, file: BinaryIO, plan: Plan) -> Journal:
    """A journal with this plan. What lies in the file under a damaged beginning counts if it is of the same."""
    claim(file, _this_process())
    journal = Journal(path, file, plan, write_plan(file, plan))
    journal._go_on()
    journal._mend(plan)
    journal.sync()
    sync_folder(path.parent)
    return journal


def _this_process() -> str:
    return f"process {os.getpid()} on {platform.node()} since {time.strftime('%Y-%m-%d %H:%M:%S')}"


def _unwritable(path: Path, reason: OSError) -> ResultError:
    return ResultError(
        f"{path}: could not be written ({reason.strerror or reason}); free some space or choose a folder that you may "
        f"write to: what is complete is kept, and the same command goes on from there"
    )

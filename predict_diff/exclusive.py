"""Files that one process has at a time, until it closes them or ends, however it ends."""

from __future__ import annotations

import errno
import logging
import os
import struct
import sys
import time
from collections.abc import Callable
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

#: What a system says whose folders know no locks.
_UNKNOWN = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}

#: Linux's `struct flock`: kind, whence, start, length (0: to the end, wherever that is), process.
_REQUEST = "hhqqi"

#: How often, and after how many seconds, a taken file is asked for again.
_TRIES, _MOMENT = 5, 0.05

_Question = Callable[[BinaryIO], bool]


def lock(file: BinaryIO) -> bool:
    """Take a file for this process alone; False if another has it. Whoever only reads it is not kept out.

    Where the system cannot lock, nobody is kept out.
    """
    answer = _first_known(_take_own, _take_flock, file)
    if answer is None:
        logger.debug("%s: this folder knows no locks.", file.name)
    return answer is not False


def lock_in_a_moment(file: BinaryIO) -> bool:
    """Take a file for this process alone, asking again for a while; False if another keeps it.

    Who only looks whether it is taken may have it for an instant; and who has just taken it has, at the end of the
    while, written down who it is.
    """
    for _ in range(_TRIES):
        if lock(file):
            return True
        time.sleep(_MOMENT)
    return False


def is_locked(file: BinaryIO) -> bool:
    """Whether another process has taken a file."""
    return _first_known(_is_own_taken, _is_flock_taken, file) is True


def is_free(file: BinaryIO) -> bool:
    """Whether certainly no other process has taken a file: where the system cannot lock, nothing is certain."""
    return _first_known(_is_own_taken, _is_flock_taken, file) is False


def _first_known(first: _Question, second: _Question, file: BinaryIO) -> bool | None:
    """The answer of the first kind of lock that the system knows, None if it knows neither."""
    if fcntl is None:
        return None
    for ask in (first, second):
        try:
            return ask(file)
        except OSError as reason:
            if reason.errno not in _UNKNOWN:
                raise
    return None


def _take_own(file: BinaryIO) -> bool:
    """Like flock's, Linux's own kind belongs to the open file. But it keeps no HDF5 library from reading."""
    try:
        fcntl.fcntl(file, _own("F_OFD_SETLK"), _request(fcntl.F_WRLCK))
    except (BlockingIOError, PermissionError):
        return False
    return True


def _is_own_taken(file: BinaryIO) -> bool:
    answer = fcntl.fcntl(file, _own("F_OFD_GETLK"), _request(fcntl.F_WRLCK))
    return bool(struct.unpack_from(_REQUEST, answer)[0] != fcntl.F_UNLCK)


def _take_flock(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_flock_taken(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(file, fcntl.LOCK_UN)
    return False


def _own(name: str) -> int:
    """The number of a command for Linux's own kind. OSError elsewhere, where the request would have another form."""
    if sys.platform != "linux" or not hasattr(fcntl, name):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    return int(getattr(fcntl, name))


def _request(kind: int) -> bytes:
    return struct.pack(_REQUEST, kind, os.SEEK_SET, 0, 0, 0)

"""Files that one process has at a time, until it closes them or ends, however it ends."""

from __future__ import annotations

import errno
import logging
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

#: What a system says whose folders know no locks.
_UNKNOWN = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


def lock(file: BinaryIO) -> bool:
    """Take a file for this process alone; False if another has it.

    Where the system cannot lock, nobody is kept out.
    """
    return _try(file, exclusive=True)


def is_locked(file: BinaryIO) -> bool:
    """Whether another process has taken a file."""
    if _try(file, exclusive=False):
        _unlock(file)
        return False
    return True


def _try(file: BinaryIO, exclusive: bool) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as reason:
        if reason.errno not in _UNKNOWN:
            raise
        logger.debug("%s: this folder knows no locks (%s).", file.name, reason.strerror)
    return True


def _unlock(file: BinaryIO) -> None:
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_UN)

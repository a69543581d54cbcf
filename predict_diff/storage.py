"""Files that exist whole or not at all."""

from __future__ import annotations

import glob
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from .errors import PredictDiffError
from .exclusive import is_free, lock
from .interrupts import uninterrupted

#: Seconds in which a process that has made a file has locked it.
_MOMENT = 1.0


@contextmanager
def whole_file(path: Path, error: type[PredictDiffError]) -> Iterator[BinaryIO]:
    """A file open for writing, which gets its name when the block ends well and vanishes when it does not.

    Parameters
    ----------
    path : Path
        Where the file is to lie; one that lies there is replaced. Missing folders are made.
    error : type
        What to raise if the disk is full or the folder cannot be written to.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path)
        with uninterrupted():
            handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
            temporary = Path(name)
        with os.fdopen(handle, "w+b") as file:
            lock(file)
            yield file
            # Else a power failure could leave the name, and nothing under it.
            file.flush()
            os.fsync(file.fileno())
        # Temporary files are for their owner only; this one is not.
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as reason:
        raise error(
            f"{path}: could not be written ({reason.strerror or ' '.join(str(reason).split())}); free some space or "
            f"choose a folder that you may write to"
        ) from reason
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _remove_abandoned(path: Path) -> None:
    """Remove what processes that were killed have left of a file."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        with suppress(OSError), left.open("rb") as file:
            if is_free(file) and time.time() - os.fstat(file.fileno()).st_mtime > _MOMENT:
                left.unlink()


def sync_folder(folder: Path) -> None:
    """Have the system put the names in a folder on the disk, where it can be asked to."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _umask() -> int:
    # The only way to ask is to set.
    mask = os.umask(0o077)
    os.umask(mask)
    return mask

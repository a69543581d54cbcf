"""HDF5 files that carry a checksum of themselves, in the block that HDF5 leaves to its users.

The HDF5 library crashes on some damaged files. So a file is compared with its checksum before the library
opens it; other programs read it like any HDF5 file.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py

from .errors import PredictDiffError
from .interrupts import uninterrupted
from .storage import whole_file

# Bytes; the least that HDF5 allows.
SEAL_SIZE = 512

#: Before HDF5 1.8, attributes could not be larger than 64 KB, which the names of 4,000 targets are.
FORMAT = ("v108", "v108")


def write_sealed(path: Path, kind: str, fill: Callable[[h5py.File], None], error: type[PredictDiffError]) -> None:
    """Write a file, whole or not at all.

    Parameters
    ----------
    path : Path
        Replaced if it exists; missing folders are made.
    kind : str
        What the file holds, and the version of its layout; at most 400 bytes.
    fill : callable
        Puts the contents into the open file.
    error : type
        What to raise if the file cannot be written.
    """
    # Assembled in memory, so that a full disk is an ordinary error and not one inside the HDF5 library.
    buffer = io.BytesIO()
    with uninterrupted(), h5py.File(buffer, "w", libver=FORMAT, userblock_size=SEAL_SIZE) as file:
        fill(file)
    content = buffer.getbuffer()
    content[:SEAL_SIZE] = _seal(kind, hashlib.sha256(content[SEAL_SIZE:]).hexdigest())
    with whole_file(path, error) as raw:
        raw.write(content)


@contextlib.contextmanager
def open_sealed(path: Path, kind: str) -> Iterator[h5py.File]:
    """Open a file that `write_sealed` wrote, for reading.

    Parameters
    ----------
    path : Path
        The file.
    kind : str
        What it should hold.

    Raises
    ------
    ValueError
        If it is of another kind, or damaged.
    OSError
        If it cannot be read.
    """
    with path.open("rb") as file:
        seal = file.read(SEAL_SIZE)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not seal.startswith(_seal(kind, "").rstrip(b"\0")):
        raise ValueError(f"its first line is not {kind!r}")
    if seal != _seal(kind, digest):
        raise ValueError("its contents do not have the checksum in its second line")
    with uninterrupted(), h5py.File(path, "r") as file:
        yield file


def _seal(kind: str, digest: str) -> bytes:
    return f"{kind}\nSHA-256 from byte {SEAL_SIZE}: {digest}".encode().ljust(SEAL_SIZE, b"\0")

"""Open the files of a Caffe model, and say what arrived where it is something else.

Downloads of weights fail in a few well-known ways: an HTML page with status 200, a Git LFS pointer, a truncated file.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import stat
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from ..errors import ConversionError

HDF5 = b"\x89HDF\r\n\x1a\n"
NPY = b"\x93NUMPY"
_GZIP = b"\x1f\x8b"

FILE_AT_MOST = 4 * 2**30
"""Bytes of a weights file, unpacked. VGG16 has 0.55e9; Caffe itself reads at most 2**31."""

UNPACKED_BESIDES = 200 * 10**6
"""Bytes that a packed file may hold beyond twice its own. Weights hardly compress at all."""

_LINE_AT_MOST = 2**19  # characters; the parser of descriptions takes two hundred times as much memory for a line
_HEAD = 4096
_CHUNK = 2**20
_BROKEN_DOWNLOAD = "the download went wrong: fetch the file again"

# How a file begins -> what it is, what to do.
_FOREIGN = (
    (rb"version https://git-lfs", "a Git LFS pointer", "run `git lfs pull` to fetch the file itself"),
    (rb"(?i)\s*<(!doctype|html|head|body|\?xml)", "a web page", _BROKEN_DOWNLOAD),
    (rb"\x1f\x8b", "a gzip archive", "unpack it first"),
    (rb"\x89HDF\r\n\x1a\n", "an HDF5 file", "give the file that was asked for"),
    (rb"\x93NUMPY", "a NumPy array", "give the file that was asked for"),
    (rb"PK\x03\x04", "a zip archive", "unpack it, or give Caffe's own file"),
    (rb"\x80[\x02-\x05]", "a Python pickle", "give Caffe's own file"),
)


@dataclass(frozen=True)
class OpenFile:
    """A file that is ready to be read.

    Attributes
    ----------
    stream : binary stream
        Positioned at the start; of the unpacked content where the file is a gzip archive. A real file either way.
    head : bytes
        How the content begins.
    size : int
        Bytes of content; at least 1.
    sha256 : str
        Of the file as it lies on disk.
    """

    stream: BinaryIO
    head: bytes
    size: int
    sha256: str = ""


@contextmanager
def open_file(path: Path, expected: str, at_most: int = FILE_AT_MOST, sha256: str | None = None) -> Iterator[OpenFile]:
    """Open a file of a model, unpacking gzip.

    Parameters
    ----------
    path : Path
    expected : str
        What the file should be, for messages: "a Caffe weights file".
    at_most : int
        Largest size allowed, packed or not, in bytes.
    sha256 : str, optional
        What the file must have, as it lies on disk. Compared before anything but its length and beginning is looked at,
        and of the very file that is then read: another that takes its name meanwhile is not.

    Raises
    ------
    ConversionError
        If the file cannot be read, has another SHA-256, is empty or too large, or is a gzip archive that is damaged or
        expands too far.
    """
    try:
        # A pipe would block, and has no size.
        if not stat.S_ISREG(path.stat().st_mode):
            raise ConversionError(f"{path}: expected {expected}, found no regular file; give the path of a file")
        with path.open("rb") as stream:
            file = _look(stream, path, expected, at_most)
            found = hashlib.file_digest(stream, "sha256").hexdigest()
            if sha256 not in (None, found):
                raise ConversionError(
                    f"{path}: expected {expected} with SHA-256 {sha256}, found {found}; it was not read: fetch it again"
                )
            stream.seek(0)
            if not file.head.startswith(_GZIP):
                yield replace(file, sha256=found)
                return
            with tempfile.TemporaryFile() as unpacked:
                _unpack(file, unpacked, path, expected, min(at_most, unpacked_at_most(file.size)))
                yield replace(_look(unpacked, path, expected, at_most), sha256=found)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConversionError(f"{path}: expected {expected}, found none that can be read: {reason}") from None


def unpacked_at_most(size: int) -> int:
    """Bytes of content allowed in a packed file of a size, so that a small one cannot fill the memory."""
    return min(FILE_AT_MOST, 2 * size + UNPACKED_BESIDES)


def refuse_foreign(head: bytes, path: Path, expected: str) -> None:
    """Raise ConversionError if the content is of a well-known other kind."""
    for pattern, found, advice in _FOREIGN:
        if re.match(pattern, head):
            raise ConversionError(f"{path}: expected {expected}, found {found}; {advice}")


def expect_short_lines(text: str, path: Path) -> None:
    """Raise ConversionError if a line is longer than anyone's."""
    for number, line in enumerate(io.StringIO(text), 1):
        if len(line) > _LINE_AT_MOST:
            raise ConversionError(
                f"{path}:{number}: expected lines of up to {_LINE_AT_MOST:,} characters, found one of {len(line):,}; "
                f"break it"
            )


def is_text(head: bytes) -> bool:
    """Whether content begins like text: no control characters but white space."""
    return not re.search(rb"[\x00-\x08\x0e-\x1f\x7f]", head)


def _look(stream: BinaryIO, path: Path, expected: str, at_most: int) -> OpenFile:
    size = stream.seek(0, 2)
    if size == 0:
        raise ConversionError(f"{path}: expected {expected}, found an empty file; {_BROKEN_DOWNLOAD}")
    if size > at_most:
        raise ConversionError(f"{path}: expected {expected}, at most {at_most:,} bytes, found {size:,} bytes")
    stream.seek(0)
    head = stream.read(_HEAD)
    stream.seek(0)
    return OpenFile(stream, head, size)


def _unpack(packed: OpenFile, unpacked: BinaryIO, path: Path, expected: str, limit: int) -> None:
    size = 0
    try:
        with gzip.GzipFile(fileobj=packed.stream) as archive:
            while chunk := archive.read(_CHUNK):
                size += len(chunk)
                if size > limit:
                    raise ConversionError(
                        f"{path}: expected {expected}, found a gzip archive of more than {limit:,} bytes unpacked, "
                        f"which weights of {packed.size:,} bytes are not; if you trust it, unpack it first"
                    )
                unpacked.write(chunk)
        unpacked.flush()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ConversionError(
            f"{path}: expected {expected}, found a damaged gzip archive ({error}); {_BROKEN_DOWNLOAD}"
        ) from None

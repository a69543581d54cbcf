"""NumPy's .npz files: written whole, and read as files that anyone may have written.

Nothing is unpickled, and memory is bounded: what a member claims is compared with what the file holds first.
"""

from __future__ import annotations

import io
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import untrusted
from .errors import PredictDiffError
from .storage import whole_file

#: What reading a damaged or foreign file can raise.
READ_ERRORS = (*untrusted.READ_ERRORS, zipfile.BadZipFile, zlib.error, struct.error, EOFError)

#: Bytes of an array of numbers, and of one of texts, which take four for each letter of the longest.
_NUMBERS_AT_MOST = 1 << 31
_LETTERS_AT_MOST = 1 << 26

#: Texts in a list: each takes 50 bytes, however short. Layers have 4,096 units.
_TEXTS_AT_MOST = 1 << 20

#: A byte of deflate's stands for at most so many.
_DEFLATE_AT_MOST = 1032

#: Bytes that are read at once, the list of members among them, each of which takes 50.
_PIECE = 1 << 20


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], error: type[PredictDiffError]) -> None:
    """Write arrays of numbers and texts, packed, whole or not at all; the same ones make the same file.

    Parameters
    ----------
    path : Path
        Replaced if it exists; missing folders are made.
    arrays : mapping of str to ndarray
    error : type
        What to raise if the file cannot be written.
    """
    with whole_file(path, error) as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


class StoredArrays:
    """The members of an open file."""

    def __init__(self, members: zipfile.ZipFile, size: int) -> None:
        self._members = members
        self._size = size

    def numbers(self, name: str, shape: tuple[int, ...], kind: str) -> NDArray[Any]:
        """An array of numbers.

        Parameters
        ----------
        name : str
        shape : tuple of int
            What it must be.
        kind : str
            The type that it must have, in either order of bytes.

        Raises
        ------
        ValueError
            If it is anything else, or larger than what is in the file; any of `READ_ERRORS` if it is damaged.
        KeyError
            If there is none.
        """
        found, dtype, content = self._member(name, _NUMBERS_AT_MOST)
        if found != shape:
            raise ValueError(f"expected '{name}' with shape {shape}, found {str(found)[:200]}")
        if dtype.newbyteorder("=") != np.dtype(kind):
            raise ValueError(f"expected {kind} in '{name}', found {str(dtype)[:80]}")
        return np.frombuffer(content, dtype).reshape(shape).astype(kind, copy=False)

    def texts(self, name: str) -> list[str]:
        """A list of texts; errors as for `numbers`."""
        shape, found = self._texts(name)
        if len(shape) != 1:
            raise ValueError(f"'{name}' is no list of texts")
        return found

    def text(self, name: str) -> str:
        """A single text; errors as for `numbers`."""
        shape, found = self._texts(name)
        if shape:
            raise ValueError(f"'{name}' is no single text")
        return found[0]

    def _texts(self, name: str) -> tuple[tuple[int, ...], list[str]]:
        shape, dtype, content = self._member(name, _LETTERS_AT_MOST)
        if dtype.kind != "U" or math.prod(shape) > _TEXTS_AT_MOST:
            raise ValueError(f"'{name}' is no text, or too many")
        # NumPy itself trips over letters that are none.
        letters = "utf-32-be" if dtype.str.startswith(">") else "utf-32-le"
        each = range(0, len(content), dtype.itemsize)
        found = [content[start : start + dtype.itemsize].decode(letters, "surrogatepass") for start in each]
        return shape, [text.rstrip("\0") for text in found]

    def _member(self, name: str, most: int) -> tuple[tuple[int, ...], np.dtype[Any], bytearray]:
        """Shape, type and bytes of an array in C's order."""
        member = self._members.getinfo(f"{name}.npy")
        held = member.compress_size * (_DEFLATE_AT_MOST if member.compress_type == zipfile.ZIP_DEFLATED else 1)
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or member.compress_size > self._size:
            raise ValueError(f"'{name}' is not packed as NumPy does")
        if member.file_size > min(most, held):
            raise ValueError(f"'{name}' claims {member.file_size:,} bytes, which are not there or too many")
        with self._members.open(member) as file:
            try:
                version = np.lib.format.read_magic(file)
                shape, by_columns, dtype = np.lib.format.read_array_header_1_0(file)
            # NumPy parses headers as Python's literals; its own messages would show all of a header.
            except (*untrusted.READ_ERRORS, SyntaxError, tokenize.TokenError) as error:
                raise ValueError(f"'{name}' has no header as NumPy writes it") from error
            size = math.prod(shape) * dtype.itemsize
            # Without an item's size, any number of items would take no bytes.
            if (
                version != (1, 0)
                or by_columns
                or dtype.hasobject
                or not dtype.itemsize
                or size != member.file_size - file.tell()
            ):
                raise ValueError(f"'{name}' is not stored as its header says")
            content = bytearray()
            while piece := file.read(_PIECE):
                content += piece
        if len(content) != size:
            raise ValueError(f"'{name}' has {len(content):,} bytes instead of {size:,}")
        return shape, dtype, content


@contextmanager
def open_arrays(path: Path) -> Iterator[StoredArrays]:
    """A file, open for reading. Any of `READ_ERRORS` if it is none."""
    with _InPieces(path, "rb") as file, zipfile.ZipFile(file) as members:
        yield StoredArrays(members, path.stat().st_size)


class _InPieces(io.FileIO):
    """A file from which no more than a piece is read at once, whatever it says of its list of members."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            size = _PIECE
        if size > _PIECE:
            raise ValueError(f"its list of members claims {size:,} bytes")
        return super().read(size)

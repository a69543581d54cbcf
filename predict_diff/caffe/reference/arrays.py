"""Arrays in .npy and .npz files: photos to feed a network, and blobs that the original Caffe has computed.

Nothing is unpickled. The shape that a file states is compared with the one expected before anything is allocated.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ConversionError
from ..files import NPY, open_file, refuse_foreign

_ZIP = b"PK\x03\x04"
_MEMBER = ".npy"

#: What a damaged archive makes `zipfile` raise, an encrypted one, and one packed in a way that it does not know.
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError)


@dataclass(frozen=True)
class Header:
    """What an array's header states."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran_order: bool


@dataclass(frozen=True)
class Arrays:
    """An open file of arrays.

    Attributes
    ----------
    path : Path
    sha256 : str
        Of the file.
    single : bool
        Whether it is an .npy, whose one array has the name "".
    headers : dict of str to Header
        By the arrays' names.
    """

    path: Path
    sha256: str
    single: bool
    headers: dict[str, Header]
    _open: Callable[[str], IO[bytes]]

    def read(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """One array.

        Raises
        ------
        ConversionError
            If it has another shape, or the file is damaged.
        """
        header = self.headers[name]
        if header.shape != shape:
            raise ConversionError(
                f"{self.path}: {_called(name)}: expected shape {shape}, found {header.shape}; save the blobs of this "
                f"network, computed from the same input"
            )
        count = prod(shape) * header.dtype.itemsize
        try:
            with self._open(name) as stream:
                _read_header(stream)
                raw = stream.read(count)
                rest = stream.read(1)  # Only at its end does an archive compare checksums.
        except _DAMAGE as error:
            raise _damaged(self.path, error) from None
        if len(raw) != count or rest:
            raise ConversionError(
                f"{self.path}: {_called(name)}: expected {count:,} bytes for shape {shape}, found "
                f"{'more' if rest else f'{len(raw):,}'}; save the file again"
            )
        values = np.frombuffer(raw, header.dtype).astype(np.float64)
        return values.reshape(shape, order="F" if header.fortran_order else "C")


@contextmanager
def open_arrays(path: Path, expected: str) -> Iterator[Arrays]:
    """Open an .npy or .npz; its content decides which, not its name.

    Parameters
    ----------
    path : Path
    expected : str
        What the file should be, for messages.

    Raises
    ------
    ConversionError
        If it cannot be read, is damaged or of another kind, or holds anything but numbers.
    """
    with open_file(path, expected) as file:
        if file.head.startswith(NPY):
            yield Arrays(path, file.sha256, True, {"": _header(file.stream, path, "")}, lambda name: _reopen(path))
        elif file.head.startswith(_ZIP):
            with _archive(file.stream, path) as archive:
                members = {name.removesuffix(_MEMBER): name for name in archive.namelist() if name.endswith(_MEMBER)}
                yield Arrays(
                    path,
                    file.sha256,
                    False,
                    {name: _member_header(archive, member, path, name) for name, member in members.items()},
                    lambda name: archive.open(members[name]),
                )
        else:
            refuse_foreign(file.head, path, expected)
            raise ConversionError(f"{path}: expected {expected}, found a file of another kind; save it with numpy")


def _reopen(path: Path) -> IO[bytes]:
    return path.open("rb")


def _archive(stream: IO[bytes], path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(stream)
    except _DAMAGE as error:
        raise _damaged(path, error) from None


def _member_header(archive: zipfile.ZipFile, member: str, path: Path, name: str) -> Header:
    try:
        with archive.open(member) as stream:
            return _header(stream, path, name)
    except _DAMAGE as error:
        raise _damaged(path, error) from None


def _header(stream: IO[bytes], path: Path, name: str) -> Header:
    try:
        header = _read_header(stream)
    except Exception:  # The header is Python text, and NumPy's parser of it raises what Python's do.
        raise ConversionError(
            f"{path}: {_called(name)}: expected an array, found a damaged header; save the file again"
        ) from None
    if header.dtype.kind == "O":
        raise ConversionError(
            f"{path}: {_called(name)}: expected numbers, found pickled Python objects, which are never loaded; save it "
            f"as float32"
        )
    if header.dtype.kind not in "fiu" or header.dtype.itemsize > 8 or min(header.shape, default=1) < 1:
        raise ConversionError(
            f"{path}: {_called(name)}: expected numbers, found {header.dtype} of shape {header.shape}; save it as "
            f"float32"
        )
    return header


def _read_header(stream: IO[bytes]) -> Header:
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    shape, fortran_order, dtype = readers[np.lib.format.read_magic(stream)](stream)
    return Header(tuple(shape), dtype, fortran_order)


def _damaged(path: Path, error: Exception) -> ConversionError:
    return ConversionError(
        f"{path}: expected arrays, found a damaged archive ({' '.join(str(error).split())[:100]}); save it again with "
        f"numpy.savez"
    )


def _called(name: str) -> str:
    return f"blob '{name}'" if name else "the array"

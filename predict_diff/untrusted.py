"""Reads members of HDF5 files that anyone may have written: what a file claims is compared with what it holds first.

Nothing outside the file is opened, and memory is bounded by the size of the file. Whatever is not as this program
stores it is a ValueError.
"""

from __future__ import annotations

import json
import math
import mmap
import re
import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

#: What reading a damaged or foreign HDF5 file can raise, the parsing of its texts included.
READ_ERRORS = (
    OSError,
    LookupError,
    ValueError,
    TypeError,
    RuntimeError,  # RecursionError among them: JSON nested deep
    AttributeError,
    ArithmeticError,
    MemoryError,
)

#: Bytes of an array. Paper: 1,000 classes at 47,524 windows take 0.4e9.
_ARRAY_AT_MOST = 1 << 31

#: A byte of deflate's stands for at most so many.
_DEFLATE_AT_MOST = 1032

#: How a map was made takes 2e4 letters, or 2e6 where 50,000 photos are its pool. Parsed JSON takes 25 times as much.
_TEXT_AT_MOST = 1 << 24

#: A list of texts: how many, and bytes, each counted as long as the longest in the file. Layers have 4,096 units.
_TEXTS_AT_MOST = 1 << 20
_LIST_AT_MOST = 1 << 31

#: The least that a chunk holds, in bytes, unless it is the whole; h5py makes none of less than 8,000.
_CHUNK_AT_LEAST = 1024


def member(stored: h5py.Group, name: str) -> h5py.Group | h5py.Dataset:
    """A member of a group that lies in the file itself.

    Raises
    ------
    ValueError
        If it is a link to somewhere else, which is not followed.
    KeyError
        If there is none.
    """
    if not isinstance(stored.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"'{name}' is a link")
    return stored[name]


def array(stored: h5py.Group, name: str, shape: tuple[int, ...], kind: str, plain: bool = False) -> NDArray[Any]:
    """A dataset of numbers, stored plainly or with gzip, as h5py stores it.

    Parameters
    ----------
    stored : h5py.Group
    name : str
    shape : tuple of int
        What it must be.
    kind : {"float64", "int64"}
        The type that it must have, in either order of bytes.
    plain : bool, default False
        Whether gzip is refused.

    Raises
    ------
    ValueError
        If it is anything else, lies outside the file, or is smaller in the file than it claims.
    KeyError
        If there is none.
    """
    dataset = member(stored, name)
    if not isinstance(dataset, h5py.Dataset):
        raise ValueError(f"expected '{name}' with shape {shape}, found a group")
    made = dataset.id.get_create_plist()
    # Before the shape: asking a virtual dataset for it opens the files that it is made of.
    layout = made.get_layout()
    if made.get_external_count() or layout not in (h5py.h5d.COMPACT, h5py.h5d.CONTIGUOUS, h5py.h5d.CHUNKED):
        raise ValueError(f"'{name}' is stored in another file")
    if dataset.shape != shape:
        raise ValueError(f"expected '{name}' with shape {shape}, found {str(dataset.shape)[:200]}")
    if dataset.dtype.newbyteorder("=") != np.dtype(kind):
        raise ValueError(f"expected {kind} in '{name}', found {str(dataset.dtype)[:80]}")
    in_pieces = layout == h5py.h5d.CHUNKED
    held = dataset.id.get_storage_size()
    most = _DEFLATE_AT_MOST * held if in_pieces and not plain else held
    if held > _file_size(stored) or dataset.nbytes > min(most, _ARRAY_AT_MOST):
        raise ValueError(f"'{name}' claims {dataset.nbytes:,} bytes in the file, which are not there")
    values = _from_chunks(dataset, name) if in_pieces else dataset[()]
    return np.asarray(values, kind)


def attribute(stored: h5py.Group, name: str) -> Any:
    """An attribute: numbers, a text or texts.

    Raises
    ------
    ValueError
        If it is anything else, or may be larger than such a thing is.
    KeyError
        If there is none.
    """
    found = stored.attrs.get_id(name)
    texts = h5py.check_string_dtype(found.dtype)
    if texts is None and found.dtype.kind not in "iufb":
        raise ValueError(f"'{name}' is neither a number nor a text")
    size = _file_size(stored)
    if found.get_storage_size() > size:
        raise ValueError(f"'{name}' claims more than is in the file")
    count = math.prod(found.shape or ())
    if count > _TEXTS_AT_MOST:
        raise ValueError(f"'{name}' has {count:,} values, expected at most {_TEXTS_AT_MOST:,}")
    # Texts of any length lie elsewhere in the file; all can be the same, long one there, but not in memory.
    far = texts is not None and texts.length is None
    if far and count * size > _LIST_AT_MOST and count * _longest_text(stored) > _LIST_AT_MOST:
        raise ValueError(f"'{name}' may hold more than {_LIST_AT_MOST:,} bytes of text")
    return stored.attrs[name]


def text(stored: h5py.Group, name: str) -> str:
    """An attribute that is a single text; errors as for `attribute`."""
    found = attribute(stored, name)
    if not isinstance(found, str):
        raise ValueError(f"'{name}' is no text")
    if len(found) > _TEXT_AT_MOST:
        raise ValueError(f"'{name}' has {len(found):,} letters, expected at most {_TEXT_AT_MOST:,}")
    return found


def fields(stored: h5py.Group, name: str) -> dict[str, Any]:
    """An attribute that is a JSON object; errors as for `attribute`, and RecursionError if it is nested deep."""
    found = json.loads(text(stored, name))
    if not isinstance(found, dict):
        raise ValueError(f"'{name}' is no JSON object")
    return found


def _from_chunks(dataset: h5py.Dataset, name: str) -> NDArray[Any]:
    """An array out of its chunks. The HDF5 library would unpack a chunk to whatever it holds, not what it should."""
    shape, kind, chunk = dataset.shape, dataset.dtype, dataset.chunks
    filters = _filters(dataset)
    size = math.prod(chunk) * kind.itemsize
    places = math.prod(math.ceil(whole / part) for whole, part in zip(shape, chunk, strict=True))
    if filters is None or any(part > whole for whole, part in zip(shape, chunk, strict=True)):
        raise ValueError(f"'{name}' is not stored with gzip, as h5py does")
    if places > 1 + dataset.nbytes // _CHUNK_AT_LEAST:
        raise ValueError(f"'{name}' is stored in too many pieces")
    stored: list[tuple[tuple[int, ...], int]] = []
    dataset.id.chunk_iter(lambda found: stored.append((found.chunk_offset, found.size)))
    offsets = {place for place, _ in stored}
    if len(offsets) != places or len(stored) != places or sum(held for _, held in stored) > _file_size(dataset):
        raise ValueError(f"'{name}' lacks pieces")
    values = np.empty(shape, kind)
    for place in offsets:
        skipped, packed = dataset.id.read_direct_chunk(place)
        for number in reversed([number for number in range(len(filters)) if not skipped >> number & 1]):
            packed = _UNDO[filters[number]](packed, size, kind.itemsize)
        if len(packed) != size:
            raise ValueError(f"'{name}' has a piece of {len(packed):,} bytes instead of {size:,}")
        target = values[tuple(slice(start, start + part) for start, part in zip(place, chunk, strict=True))]
        part = np.frombuffer(packed, kind).reshape(chunk)
        target[...] = part[tuple(slice(length) for length in target.shape)]
    return values


def _filters(dataset: h5py.Dataset) -> list[int] | None:
    """What was done to each chunk; None if it is not what `_UNDO` can undo."""
    made = dataset.id.get_create_plist()
    done = [made.get_filter(number)[0] for number in range(made.get_nfilters())]
    return done if done in ([], [h5py.h5z.FILTER_DEFLATE], [h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE]) else None


def _inflated(packed: bytes, size: int, _: int) -> bytes:
    return zlib.decompressobj().decompress(packed, size + 1)


def _unshuffled(packed: bytes, size: int, itemsize: int) -> bytes:
    if len(packed) != size:
        return packed
    return np.frombuffer(packed, np.uint8).reshape(itemsize, -1).T.tobytes()


_UNDO = {h5py.h5z.FILTER_DEFLATE: _inflated, h5py.h5z.FILTER_SHUFFLE: _unshuffled}


def _file_size(stored: h5py.Group | h5py.Dataset) -> int:
    return Path(stored.file.filename).stat().st_size


def _longest_text(stored: h5py.Group) -> int:
    """Bytes that no text in the file exceeds.

    Texts of any length lie in collections, which HDF5 knows by four letters: so no collection is overlooked, although
    some that are none are counted.
    """
    with Path(stored.file.filename).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        found = [int.from_bytes(content[place.end() : place.end() + 8], "little") for place in _COLLECTION(content)]
        return max((size for size in found if size <= len(content)), default=0)


#: Its version and three empty bytes follow the letters.
_COLLECTION = re.compile(rb"GCOL\x01...", re.DOTALL).finditer

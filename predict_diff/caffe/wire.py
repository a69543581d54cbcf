"""Protocol buffers' wire format, walked without copying: how weights come out of files of half a gigabyte.

A message is a row of fields; a field is a tag (number and wire type) and a value. Nothing is parsed that is not
asked for, every length is checked against what is left, and nothing is recursive: a file cannot make the walk deeper
than the caller goes.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import ConversionError
from .caffe_pb2 import BlobProto, BlobShape

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5

_WIDTHS = {FIXED64: 8, FIXED32: 4}
_AXES_AT_MOST = 32  # Caffe: kMaxBlobAxes
_SIZE_AT_MOST = 2**31 - 1  # Caffe: a blob's sizes are int
_NUMBER_AT_MOST = 2**29 - 1
_TEXT_AT_MOST = 1024

_LEGACY_SIZES = [
    BlobProto.NUM_FIELD_NUMBER,
    BlobProto.CHANNELS_FIELD_NUMBER,
    BlobProto.HEIGHT_FIELD_NUMBER,
    BlobProto.WIDTH_FIELD_NUMBER,
]

Field = tuple[int, int, int, int]
"""Number, wire type, and where the value begins and ends, in bytes."""


class Wire:
    """The bytes of one message and the name of the file they come from.

    Parameters
    ----------
    data : mmap or bytes
        Arrays taken from it are read-only views that keep it alive.
    path : Path
        For messages.
    expected : str
        What the file should be, for messages: "a Caffe weights file".
    fields_at_most : int
        How many fields a walk may visit, all messages together. A file of only tiny fields would otherwise keep
        the walk busy for hours; networks have some ten thousand.
    """

    def __init__(self, data: mmap.mmap | bytes, path: Path, expected: str, fields_at_most: int = 500_000) -> None:
        self.data = data
        self.path = path
        self.expected = expected
        self._fields_left = fields_at_most

    def __len__(self) -> int:
        return len(self.data)

    def error(self, found: str) -> ConversionError:
        """The error to raise where the bytes are not what they should be."""
        return ConversionError(
            f"{self.path}: expected {self.expected}, found {found}; "
            "the file is truncated, damaged or of another kind: fetch it again"
        )

    def fields(self, begin: int, end: int) -> Iterator[Field]:
        """The fields of the message between two bytes, in file order.

        Neighbouring fixed-width fields of one number count as one: that is how a repeated number looks where it is
        not packed. `numbers` reads both.

        Raises
        ------
        ConversionError
            If the bytes are not a message.
        """
        position = begin
        while position < end:
            self._fields_left -= 1
            if self._fields_left < 0:
                raise self.error("more fields than a network has")
            tag, start = self._varint(position, end)
            number, kind = tag >> 3, tag & 7
            if not 1 <= number <= _NUMBER_AT_MOST:
                raise self.error(f"field number {number} at byte {position:,}")
            if kind == LENGTH:
                length, start = self._varint(start, end)
                stop = start + length
            elif kind == VARINT:
                stop = self._varint(start, end)[1]
            elif kind in _WIDTHS:
                stop = self._end_of_run(tag, _WIDTHS[kind], start, end)
            else:
                raise self.error(f"wire type {kind}, which Caffe does not write, at byte {position:,}")
            if stop > end:
                raise self.error(
                    f"{stop - start:,} bytes announced at byte {position:,}, where {end - start:,} are left"
                )
            yield number, kind, start, stop
            position = stop

    def integers(self, begin: int, end: int) -> Iterator[int]:
        """The signed integers of a field, packed (`LENGTH`) or not (`VARINT`)."""
        while begin < end:
            value, begin = self._varint(begin, end)
            yield value - 2**64 if value >= 2**63 else value

    def text(self, begin: int, end: int) -> str:
        """The string of a `LENGTH` field."""
        if end - begin > _TEXT_AT_MOST:
            raise self.error(f"a name of {end - begin:,} characters at byte {begin:,}")
        try:
            return self.data[begin:end].decode()
        except UnicodeDecodeError:
            raise self.error(f"a name that is not text at byte {begin:,}") from None

    def numbers(self, kind: int, begin: int, end: int, width: int) -> NDArray[np.floating]:
        """The floating-point numbers of a field, packed (`LENGTH`) or not.

        Returns
        -------
        ndarray, shape (n,), float32 or float64 as `width` is 4 or 8
            A view of the data where the file packs them.
        """
        dtype = np.dtype(f"<f{width}")
        if kind == LENGTH:
            if (end - begin) % width:
                raise self.error(f"{end - begin:,} bytes of {width}-byte numbers at byte {begin:,}")
            return np.frombuffer(self.data, dtype, (end - begin) // width, begin)
        # Not packed: each number has its one-byte tag in front.
        records = np.frombuffer(self.data, np.uint8, end - begin + 1, begin - 1).reshape(-1, 1 + width)
        return np.ascontiguousarray(records[:, 1:]).view(dtype).ravel()

    def _varint(self, position: int, end: int) -> tuple[int, int]:
        """An unsigned integer and the byte behind it."""
        value = 0
        for shift in range(0, 70, 7):
            if position >= end:
                raise self.error(f"the end of a message inside a number at byte {position:,}")
            byte = self.data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & (2**64 - 1), position
        raise self.error(f"a number of more than ten bytes at byte {position:,}")

    def _end_of_run(self, tag: int, width: int, start: int, end: int) -> int:
        """Where the last of the neighbouring fixed-width fields with this tag ends."""
        position = start + width
        # No array of Caffe's has a tag of two bytes. A single value, which most are, is told by one look.
        if tag >= 0x80 or position >= end or self.data[position] != tag:
            return position
        step = 1 + width
        count = 16
        while (count := min(count, (end - position) // step)) > 0:
            tags = np.frombuffer(self.data, np.uint8, count * step, position)[::step]
            others = np.flatnonzero(tags != tag)
            if len(others):
                return position + int(others[0]) * step
            position += count * step
            count = min(8 * count, 2**20)
        return position


def read_blob(wire: Wire, begin: int, end: int, label: str) -> NDArray[np.float32]:
    """The array in the BlobProto between two bytes.

    Parameters
    ----------
    label : str
        What the array is, for messages: "layer 'conv1', blob 0".

    Returns
    -------
    ndarray, float32
        With the shape that the file states: ``shape`` if there is one, else (num, channels, height, width). A
        read-only view of the file where its numbers are packed single-precision; then it may be unaligned.

    Raises
    ------
    ConversionError
        If the bytes are not an array, a size is impossible, the sizes and the number of values disagree, or a
        value is not finite.
    """
    shape: list[int] | None = None
    legacy: dict[int, int] = {}
    single: list[NDArray[np.floating]] = []
    double: list[NDArray[np.floating]] = []
    for number, kind, start, stop in wire.fields(begin, end):
        if number == BlobProto.DATA_FIELD_NUMBER and kind in (LENGTH, FIXED32):
            single.append(wire.numbers(kind, start, stop, 4))
        elif number == BlobProto.DOUBLE_DATA_FIELD_NUMBER and kind in (LENGTH, FIXED64):
            double.append(wire.numbers(kind, start, stop, 8))
        elif number == BlobProto.SHAPE_FIELD_NUMBER and kind == LENGTH:
            shape = [*(shape or []), *_sizes(wire, start, stop, label)]
        elif number in _LEGACY_SIZES and kind == VARINT:
            legacy[number] = next(wire.integers(start, stop))
    if shape is None:
        shape = [legacy.get(number, 0) for number in _LEGACY_SIZES] if legacy else []
    if any(not 1 <= size <= _SIZE_AT_MOST for size in shape):
        raise wire.error(f"{label} of shape {tuple(shape)}")
    # Caffe: double_data counts if there is any.
    values = _joined([part for part in double if len(part)] or single)
    if prod(shape) != len(values):
        raise wire.error(f"{label} of shape {tuple(shape)}, {prod(shape):,} values, with {len(values):,} values")
    if not all_finite(values):
        raise wire.error(f"NaN or infinity in {label}")
    return values.reshape(shape)


def all_finite(values: NDArray[np.float32], step: int = 2**20) -> bool:
    """Whether no value of a (n,) array is NaN or infinite; in steps, to need little memory."""
    return all(bool(np.isfinite(values[start : start + step]).all()) for start in range(0, len(values), step))


def _sizes(wire: Wire, begin: int, end: int, label: str) -> list[int]:
    """The sizes in a BlobShape, packed or not."""
    sizes: list[int] = []
    for number, kind, start, stop in wire.fields(begin, end):
        if number != BlobShape.DIM_FIELD_NUMBER or kind not in (LENGTH, VARINT):
            continue
        for size in wire.integers(start, stop):
            sizes.append(size)
            if len(sizes) > _AXES_AT_MOST:
                raise wire.error(f"{label} with more than {_AXES_AT_MOST} axes")
    return sizes


def _joined(parts: list[NDArray[np.floating]]) -> NDArray[np.float32]:
    values = parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, np.float32), *parts])
    with np.errstate(
        over="ignore", invalid="ignore"
    ):  # A double beyond float32 becomes infinite, and is refused as that.
        return values.astype(np.float32, copy=False)

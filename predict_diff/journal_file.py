"""The file of a journal: how its plan is written and read, and where the numbers lie.

The HDF5 library makes the beginning of the file, in memory, behind which there is room for all numbers. It reads
nothing but this beginning, once its checksum has been compared. All else goes by the places of bytes.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import h5py
import numpy as np

from .errors import ConfigurationError, ResultError
from .interrupts import uninterrupted
from .layout import Layout
from .plan import Plan
from .sealed import SEAL_SIZE
from .untrusted import READ_ERRORS, fields, member

KIND = "prediction-difference journal 1"

#: One for each part: the checksum of its numbers, how long they took, when they were written, and by which process.
COMMIT = np.dtype([("checksum", "u1", (16,)), ("seconds", "<f8"), ("time", "<f8"), ("process", "<u8")])

#: Who has the file: the end of the block that HDF5 leaves to its users, which no checksum covers.
_OWNER = slice(384, SEAL_SIZE)

_SEAL = (
    f"{KIND}\nSHA-256 of the plan: {{plan}}\n"
    "values: {values.start} {values.size}\ncommits: {commits.start} {commits.size}\n"
)
SEAL_PATTERN = re.compile(
    rf"{KIND}\nSHA-256 of the plan: ([0-9a-f]{{64}})\n"
    r"values: (\d{1,15}) (\d{1,15})\ncommits: (\d{1,15}) (\d{1,15})\n\0".encode()
)

_VALUE = np.dtype("<f8")

#: Bytes of a file that a power failure takes together, on most disks.
_PAGE = 4096

#: What a folder's system says that cannot promise room.
_NO_PROMISES = {errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


class DamagedError(Exception):
    """The plan in a journal cannot be read: nothing in it can be used."""


@dataclass(frozen=True)
class Extent:
    """A stretch of a file, in bytes."""

    start: int
    size: int

    @property
    def stop(self) -> int:
        return self.start + self.size


@dataclass(frozen=True)
class Places:
    """Where the numbers of a journal lie, and the SHA-256 of its plan."""

    values: Extent
    commits: Extent
    digest: str


def claim(file: BinaryIO, owner: str) -> None:
    """Begin a journal: from its first byte on, the file can be told from another program's, and says who has it."""
    put(file, 0, f"{KIND}\n".encode().ljust(_OWNER.start, b"\0") + _padded(owner))


def write_plan(file: BinaryIO, plan: Plan) -> Places:
    """Write a plan into a file that has been claimed, and reserve room for all numbers.

    The same plan gives the same bytes. Numbers that are there already stay, for one with a damaged beginning.
    """
    image, values, commits = _image(plan)
    digest = _digest(image[: commits.start])
    put(file, SEAL_SIZE, image[SEAL_SIZE : commits.start])
    _reserve(file, values.stop)
    # Last: it makes the file a journal.
    put(file, 0, _SEAL.format(plan=digest, values=values, commits=commits).encode().ljust(_OWNER.start, b"\0"))
    return Places(values, commits, digest)


def read_plan(path: Path, file: BinaryIO) -> tuple[Plan, Places]:
    """The plan in a journal, and where its numbers lie. A file that is too short is made longer, if it may be written.

    Raises
    ------
    DamagedError
        If the plan cannot be read.
    ResultError
        If the file is another's.
    """
    start = take(file, Extent(0, _PAGE))
    if not any(start):
        raise DamagedError("it is empty")  # what a power failure leaves of a new file
    if not start.startswith(KIND.encode()):
        raise ResultError(f"{path}: expected a journal of a map, found another file; move it away")
    match = SEAL_PATTERN.match(start)
    if match is None:
        raise DamagedError("no checksum")
    values, commits = (Extent(int(match[first]), int(match[first + 1])) for first in (2, 4))
    size = os.fstat(file.fileno()).st_size
    if not SEAL_SIZE < commits.start < commits.stop <= values.start < values.stop or size < commits.start:
        raise DamagedError("too short")
    beginning = take(file, Extent(0, commits.start))
    if _digest(beginning) != match[1].decode():
        raise DamagedError("its checksum is another")
    # The HDF5 library refuses a file that has lost its end. What is missing there is found out by checksums.
    grown = size < values.stop and file.writable()
    if grown:
        file.truncate(values.stop)
    try:
        with uninterrupted(), h5py.File(path, "r", locking=False) as stored:
            plan = _plan(stored, values, commits)
    except (*READ_ERRORS, ConfigurationError, ResultError) as reason:
        if grown:
            file.truncate(size)
        raise DamagedError(" ".join(str(reason).split())) from reason
    if grown:
        _reserve(file, values.stop)
    return plan, Places(values, commits, match[1].decode())


def put(file: BinaryIO, place: int, data: bytes | memoryview) -> None:
    """Write bytes at a place, all of them."""
    file.seek(place)
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def take(file: BinaryIO, extent: Extent) -> bytearray:
    """The bytes of a stretch of the file; zeros beyond its end."""
    found = bytearray(extent.size)
    buffer, have = memoryview(found), 0
    file.seek(extent.start)
    while have < len(buffer) and (count := cast(Any, file).readinto(buffer[have:])):
        have += count
    return found


def write_owner(file: BinaryIO, owner: str) -> None:
    """Write down who has the file."""
    put(file, _OWNER.start, _padded(owner))


def owner(path: Path) -> str:
    """Who has the file, or had it."""
    try:
        with path.open("rb") as file:
            text = file.read(SEAL_SIZE)[_OWNER].rstrip(b"\0").decode(errors="replace")
    except OSError:
        text = ""
    return "".join(letter if letter.isprintable() else "?" for letter in text) or "another process"


def _padded(owner: str) -> bytes:
    length = _OWNER.stop - _OWNER.start
    return owner.encode()[:length].ljust(length, b"\0")


def _image(plan: Plan) -> tuple[memoryview, Extent, Extent]:
    """The beginning of a plan's file, and the extents of values and commits, which lie behind it.

    Assembled in memory, so that a full disk is an ordinary error and not one inside the HDF5 library.
    """
    buffer = io.BytesIO()
    with uninterrupted(), _timeless_file(buffer) as stored:
        Layout(plan.grid, plan.targets, plan.measures, plan.map_dtype, plan.provenance).write(stored)
        stored.attrs["batching"] = json.dumps(plan.batching, sort_keys=True)
        stored.attrs["twice"] = plan.twice
        stored.attrs["shard"] = plan.shard
        for name in ("known", "order", "bounds"):
            stored.create_dataset(name, data=getattr(plan, name))
        datasets = [_unfilled(stored, "commits", (len(plan),), COMMIT), _unfilled(stored, "values", plan.shape, _VALUE)]
        # The library gives them their places when all else has one: a file that has lost its end has still its plan.
        commits, values = map(_placed, datasets)
    return buffer.getbuffer(), values, commits


def _timeless_file(buffer: io.BytesIO) -> h5py.File:
    """A new file in memory that does not say when it was made: the same plan gives the same bytes."""
    creation, access = h5py.h5p.create(h5py.h5p.FILE_CREATE), h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    creation.set_userblock(SEAL_SIZE)
    creation.set_obj_track_times(False)  # h5py.File cannot before 3.16
    access.set_libver_bounds(h5py.h5f.LIBVER_V18, h5py.h5f.LIBVER_V18)
    access.set_fileobj_driver(h5py.h5fd.fileobj_driver, buffer)
    return h5py.File(h5py.h5f.create(b"journal", h5py.h5f.ACC_TRUNC, creation, access))


def _unfilled(stored: h5py.File, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> h5py.Dataset:
    """A dataset that has no place in the file yet."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_LATE)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    properties.set_obj_track_times(False)
    kind, space = h5py.h5t.py_create(dtype, logical=True), h5py.h5s.create_simple(shape)
    return h5py.Dataset(h5py.h5d.create(stored.id, name.encode(), kind, space, properties))


def _placed(dataset: h5py.Dataset) -> Extent:
    """Settle a dataset's place in the file, by writing one zero."""
    dataset[(0,) * dataset.ndim] = np.zeros((), dataset.dtype)
    return Extent(int(dataset.id.get_offset()), int(dataset.id.get_storage_size()))


def _plan(stored: h5py.File, values: Extent, commits: Extent) -> Plan:
    layout = Layout.read(stored)
    arrays = {}
    for name in ("known", "order", "bounds"):
        dataset = _dataset(stored, name, 1)
        if dataset.dtype.kind not in "if" or dataset.id.get_offset() + dataset.nbytes > commits.start:
            raise ValueError(f"'{name}' is not stored as this program does")
        arrays[name] = np.asarray(dataset)
    order, bounds = arrays["order"].astype(np.int64), arrays["bounds"].astype(np.int64)
    batching = fields(stored, "batching")
    if (
        len(bounds) < 2
        or bounds[0] != 0
        or bounds[-1] != len(order)
        or (np.diff(bounds) < 1).any()
        or order.min() < 0
        or order.max() >= len(layout.grid)
        or len(arrays["known"]) != len(layout.targets)
    ):
        raise ValueError("its parts do not fit together")
    number, count = (int(value) for value in stored.attrs["shard"])
    plan = Plan(
        grid=layout.grid,
        targets=layout.targets,
        measures=layout.measures,
        known=arrays["known"].astype(np.float64),
        order=order,
        bounds=bounds,
        batching=batching,
        provenance=layout.provenance,
        twice=bool(stored.attrs["twice"]),
        shard=(number, count),
        map_dtype=layout.map_dtype,
    )
    for name, extent, shape, dtype in (
        ("commits", commits, (len(plan),), COMMIT),
        ("values", values, plan.shape, _VALUE),
    ):
        dataset = _dataset(stored, name, len(shape))
        place = Extent(int(dataset.id.get_offset()), dataset.nbytes)
        if (dataset.shape, dataset.dtype, place) != (shape, dtype, extent):
            raise ValueError(f"'{name}' lies elsewhere")
    return plan


def _dataset(stored: h5py.File, name: str, axes: int) -> h5py.Dataset:
    """A dataset whose numbers lie one after the other in the file. ValueError for any other."""
    dataset = member(stored, name)
    if (
        not isinstance(dataset, h5py.Dataset)
        or dataset.id.get_offset() is None
        or dataset.ndim != axes
        or dataset.id.get_storage_size() != dataset.nbytes
    ):
        raise ValueError(f"'{name}' is not stored as this program does")
    return dataset


def _digest(beginning: bytes | bytearray | memoryview) -> str:
    """SHA-256 of what follows the first block, as hexadecimal digits."""
    return hashlib.sha256(memoryview(beginning)[SEAL_SIZE:]).hexdigest()


def _reserve(file: BinaryIO, size: int) -> None:
    """Make a file so long, with room on the disk where the system can promise it: a full disk shows now, not later."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), 0, size)
            return
        except OSError as reason:
            if reason.errno not in _NO_PROMISES:
                raise
    if os.fstat(file.fileno()).st_size < size:
        file.truncate(size)

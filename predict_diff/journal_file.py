"""The file of a journal: how its plan is written and read, and where the numbers lie.

The HDF5 library writes the file once, with room for all numbers at its end, and reads nothing whose checksum has not
been compared before. Everything else goes by the places of bytes.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import h5py
import numpy as np

from .errors import ConfigurationError, ResultError
from .layout import Layout
from .plan import Plan
from .sealed import FORMAT, SEAL_SIZE

KIND = "prediction-difference journal 1"

#: One for each part: the checksum of its numbers, how long they took, when they were written, and by which process.
COMMIT = np.dtype([("checksum", "u1", (16,)), ("seconds", "<f8"), ("time", "<f8"), ("process", "<u8")])

#: Who has the file: the end of the block that HDF5 leaves to its users, which no checksum covers.
_OWNER = slice(384, SEAL_SIZE)

_SEAL = (
    f"{KIND}\nSHA-256 of the plan: {{plan}}\n"
    "values: {values.start} {values.size}\ncommits: {commits.start} {commits.size}\n"
)
_SEAL_PATTERN = re.compile(
    rf"{KIND}\nSHA-256 of the plan: ([0-9a-f]{{64}})\n"
    r"values: (\d{1,15}) (\d{1,15})\ncommits: (\d{1,15}) (\d{1,15})\n\0".encode()
)

#: Bytes to look through at once.
_BLOCK = 1 << 22


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


def write_plan(path: Path, file: BinaryIO, plan: Plan) -> Places:
    """Begin a journal: write its plan into an open, empty file, and reserve room for all numbers."""
    # The library would wait for its own lock on a file that this process has locked already.
    with h5py.File(path, "w", libver=FORMAT, userblock_size=SEAL_SIZE, locking=False) as stored:
        Layout(plan.grid, plan.targets, plan.measures, plan.map_dtype, plan.provenance).write(stored)
        stored.attrs["batching"] = json.dumps(plan.batching, sort_keys=True)
        stored.attrs["twice"] = plan.twice
        stored.attrs["shard"] = plan.shard
        for name in ("known", "order", "bounds"):
            stored.create_dataset(name, data=getattr(plan, name))
        # Last, so that they lie at the end: a file that has lost its end has still its plan.
        commits = _reserved(stored, "commits", (len(plan),), COMMIT)
        values = _reserved(stored, "values", plan.shape, np.dtype("<f8"))
    digest = _digest(file, values, commits)
    _reserve(file, values.stop)
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
    file.seek(0)
    seal = file.read(SEAL_SIZE)
    if seal and not seal.startswith(KIND.encode()):
        raise ResultError(f"{path}: expected a journal of a map, found another file; move it away")
    match = _SEAL_PATTERN.match(seal)
    if match is None:
        raise DamagedError("no checksum")
    values, commits = (Extent(int(match[first]), int(match[first + 1])) for first in (2, 4))
    size = os.fstat(file.fileno()).st_size
    if not SEAL_SIZE < commits.start < commits.stop <= values.start or size < commits.start:
        raise DamagedError("too short")
    if _digest(file, values, commits) != match[1].decode():
        raise DamagedError("its checksum is another")
    if size < values.stop and file.writable():
        # The end is lost; the HDF5 library would refuse the file. What is missing there is found out by checksums.
        _reserve(file, values.stop)
    try:
        with h5py.File(path, "r", locking=False) as stored:
            plan = _plan(stored)
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, ConfigurationError, ResultError) as reason:
        raise DamagedError(" ".join(str(reason).split())) from reason
    if values.size != 8 * math.prod(plan.shape) or commits.size != len(plan) * COMMIT.itemsize:
        raise DamagedError("its sizes contradict each other")
    return plan, Places(values, commits, match[1].decode())


def put(file: BinaryIO, place: int, data: bytes) -> None:
    """Write bytes at a place, all of them."""
    file.seek(place)
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def take(file: BinaryIO, extent: Extent) -> bytearray:
    """The bytes of a stretch of the file; zeros beyond its end."""
    found = bytearray(extent.size)
    take_into(file, extent.start, memoryview(found))
    return found


def take_into(file: BinaryIO, place: int, buffer: memoryview) -> None:
    """Fill a buffer from a place in the file; what lies beyond its end stays as it is."""
    file.seek(place)
    have = 0
    while have < len(buffer) and (count := cast(Any, file).readinto(buffer[have:])):
        have += count


def write_owner(file: BinaryIO, owner: str) -> None:
    """Write down who has the file."""
    length = _OWNER.stop - _OWNER.start
    put(file, _OWNER.start, owner.encode()[:length].ljust(length, b"\0"))


def owner(path: Path) -> str:
    """Who has the file, or had it."""
    try:
        with path.open("rb") as file:
            text = file.read(SEAL_SIZE)[_OWNER].rstrip(b"\0").decode(errors="replace")
    except OSError:
        text = ""
    return "".join(letter if letter.isprintable() else "?" for letter in text) or "another process"


def _reserved(stored: h5py.File, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Extent:
    """A dataset whose place in the file is settled, and which nobody fills."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    kind, space = h5py.h5t.py_create(dtype, logical=True), h5py.h5s.create_simple(shape)
    dataset = h5py.h5d.create(stored.id, name.encode(), kind, space, properties)
    return Extent(int(dataset.get_offset()), int(dataset.get_storage_size()))


def _plan(stored: h5py.File) -> Plan:
    layout = Layout.read(stored)
    arrays = {}
    for name in ("known", "order", "bounds"):
        dataset = stored[name]
        if dataset.ndim != 1 or dataset.chunks is not None or dataset.id.get_storage_size() != dataset.nbytes:
            raise ValueError(f"'{name}' is not stored as this program does")
        arrays[name] = np.asarray(dataset)
    order, bounds = arrays["order"].astype(np.int64), arrays["bounds"].astype(np.int64)
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
    return Plan(
        grid=layout.grid,
        targets=layout.targets,
        measures=layout.measures,
        known=arrays["known"].astype(np.float64),
        order=order,
        bounds=bounds,
        batching=json.loads(stored.attrs["batching"]),
        provenance=layout.provenance,
        twice=bool(stored.attrs["twice"]),
        shard=(number, count),
        map_dtype=layout.map_dtype,
    )


def _digest(file: BinaryIO, values: Extent, commits: Extent) -> str:
    """SHA-256 of everything between the first block and the end but values and commits, as hexadecimal digits."""
    digest = hashlib.sha256()
    place = SEAL_SIZE
    for extent in (commits, values):
        file.seek(place)
        for block in _blocks(file, extent.start - place):
            digest.update(block)
        place = extent.stop
    return digest.hexdigest()


def _blocks(file: BinaryIO, size: int) -> Iterator[bytes]:
    while size > 0 and (block := file.read(min(size, _BLOCK))):
        size -= len(block)
        yield block


def _reserve(file: BinaryIO, size: int) -> None:
    """Make a file so long, with room on the disk where the system can promise it: a full disk shows now, not later."""
    have = os.fstat(file.fileno()).st_size
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
    elif have < size:
        file.truncate(size)

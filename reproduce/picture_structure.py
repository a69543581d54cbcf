"""What a JPEG or a PNG is made of, looked at before Pillow sees it: a small file can cost hours without being large."""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from typing import BinaryIO

from .pixels import PictureError

JPEG = b"\xff\xd8\xff"
PNG = b"\x89PNG\r\n\x1a\n"

#: Each scan passes over the whole picture, and needs no more than a few bytes. Encoders write about 10; libtiff takes
#: at most 100 of a JPEG too.
MAX_SCANS = 100

#: What stands before the first scan. ICC profiles, the largest that cameras write, have at most 255 segments of 64 KB.
MAX_SEGMENTS = 5_000
MAX_HEAD = 1 << 24
"""In bytes; Pillow copies EXIF anew for each of its segments."""

#: 1 GB, in pieces of 4 KB.
MAX_CHUNKS = 1 << 18

# A marker: any number of 0xFF, and what is neither a stuffed 0 nor a restart.
_MARKER = re.compile(rb"\xff+([^\x00\x01\xd0-\xd7\xff])")
_START, _END, _SCAN = 0xD8, 0xD9, 0xDA


def refuse_overloaded(file: BinaryIO) -> None:
    """Look at a file whose bytes say that it is a JPEG or a PNG; others are left alone.

    Parameters
    ----------
    file : binary file
        At its beginning, where it is left.

    Raises
    ------
    PictureError
        If it has more scans, segments or chunks than a picture needs.
    """
    head = file.read(8)
    if head.startswith(JPEG):
        _refuse_scans(_content(file))
    elif head == PNG:
        _refuse_chunks(file)
    file.seek(0)


def _content(file: BinaryIO) -> mmap.mmap | bytes:
    """All bytes of a file, mapped if it lies on a disk."""
    try:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):
        file.seek(0)
        return file.read()


def _refuse_scans(content: mmap.mmap | bytes) -> None:
    segments = scans = 0
    for marker, place in _markers(content):
        scans += marker == _SCAN
        segments += scans == 0
        if scans > MAX_SCANS:
            raise PictureError(
                f"expected a JPEG of at most {MAX_SCANS} scans, found more; open it in a picture program and save it "
                f"anew"
            )
        if segments > MAX_SEGMENTS or (scans <= 1 and place > MAX_HEAD):
            raise PictureError(
                f"expected a JPEG with at most {MAX_SEGMENTS:,} segments and {MAX_HEAD:,} bytes before its picture, "
                f"found more; open it in a picture program and save it anew"
            )


def _markers(content: mmap.mmap | bytes) -> Iterator[tuple[int, int]]:
    """The markers of a JPEG and where they stand, up to its end."""
    place = 2
    while found := _MARKER.search(content, place):
        marker, place = found[1][0], found.end()
        yield marker, found.start()
        if marker == _END:
            return
        if marker != _START:
            # Within a segment 0xFF means nothing. Its length counts the two bytes that say it.
            place += max(2, int.from_bytes(content[place : place + 2], "big"))


def _refuse_chunks(file: BinaryIO) -> None:
    chunks = profiles = 0
    while len(start := file.read(8)) == 8:
        chunks += 1
        # PNG allows one; each may take 5 ms to unpack.
        profiles += start[4:] == b"iCCP"
        if chunks > MAX_CHUNKS or profiles > 1:
            found = "more than one colour profile" if profiles > 1 else f"more than {MAX_CHUNKS:,} chunks"
            raise PictureError(
                f"expected a PNG such as programs write, found {found}; open it in a picture program and save it anew"
            )
        if start[4:] == b"IEND":
            return
        file.seek(int.from_bytes(start[:4], "big") + 4, 1)

"""From the bytes of a picture file, which may come from anyone, to RGB in [0, 1]."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from typing import BinaryIO

import numpy as np

from predict_diff.errors import ImageError

from . import pixels as pixels_script
from .picture_structure import refuse_overloaded
from .pixels import FORMATS, MAX_PIXELS, REFUSED, PictureError, Pixels, read_pixels

__all__ = ["FORMATS", "MAX_PIXELS", "decode"]

#: How a file begins whose decoder needs a process of its own, and the format. A JPEG 2000 picture of a few kilobytes
#: may take over a hundred bytes a pixel, a TIFF a Python object a pixel; what AVIF's decoders take is theirs to say.
_APART = (
    (0, b"\xff\x4f\xff\x51", "JPEG2000"),
    (0, b"\x00\x00\x00\x0cjP  \r\n\x87\n", "JPEG2000"),
    (4, b"ftyp", "AVIF"),
    *((0, start, "TIFF") for start in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"II\0*", b"MM*\0")),
)

#: All others have no decoder that needs to be kept apart.
_HERE = tuple(kind for kind in FORMATS if kind not in {kind for _, _, kind in _APART})


def decode(file: BinaryIO, name: str) -> tuple[Pixels, tuple[str, ...]]:
    """Decode a picture.

    Parameters
    ----------
    file : binary file
        Open for reading, at its beginning.
    name : str
        The file's, for messages.

    Returns
    -------
    pixels : ndarray, shape (H, W, 3), float32
        RGB in [0, 1], upright.
    notes : tuple of str
        What was done beyond dividing by 255.

    Raises
    ------
    ImageError
        If it is no picture, damaged, has more than `MAX_PIXELS`, values whose scale is unknown, or would take more
        memory or time than a picture of its size.
    """
    try:
        head = file.read(16)
        file.seek(0)
        kind = next((kind for place, start, kind in _APART if head.startswith(start, place)), None)
        if kind is not None:
            return _apart(file, kind)
        refuse_overloaded(file)
        return read_pixels(file, _HERE)
    except PictureError as problem:
        raise ImageError(f"{name}: {problem}") from problem
    except MemoryError as problem:
        raise ImageError(f"{name}: expected a picture that fits into memory; save it smaller") from problem


def _apart(file: BinaryIO, kind: str) -> tuple[Pixels, tuple[str, ...]]:
    """Decode a picture in a process of its own, whose memory and time are bounded."""
    # -P: no module of the same name as one of Pillow's is taken from the script's folder.
    command = [sys.executable, "-P", pixels_script.__file__, kind]
    with ExitStack() as stack:
        try:
            file.fileno()
        except OSError:  # it lies in memory
            source = stack.enter_context(tempfile.TemporaryFile())
            shutil.copyfileobj(file, source)
            source.seek(0)
            file = source
        made = stack.enter_context(tempfile.TemporaryFile())
        done = subprocess.run(  # noqa: S603 - our own script, and a format's name  # nosec B603
            command, stdin=file, stdout=made, stderr=subprocess.PIPE, check=False
        )
        if done.returncode:
            said = done.stderr.decode("utf-8", "backslashreplace")
            raise PictureError(
                said
                if done.returncode == REFUSED and said
                else "expected a picture that its decoder can read, found one that crashes it or keeps it busy for "
                "ever; open it in a picture program and save it as PNG"
            )
        made.seek(0)
        header = json.loads(made.readline())
        pixels = np.fromfile(made, np.float32)
    return pixels.reshape(header["height"], header["width"], 3), tuple(header["notes"])

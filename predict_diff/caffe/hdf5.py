"""Weights in HDF5: ``/data/<layer>/<i>``, what Caffe's ``save_hdf5`` writes."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ..errors import ConversionError
from . import hdf5_process
from .files import OpenFile, unpacked_at_most

EXPECTED = "a Caffe weights file (HDF5)"

_REFUSED = 2


@contextmanager
def as_caffemodel(file: OpenFile, path: Path) -> Iterator[BinaryIO]:
    """The weights of an HDF5 file in Caffe's own format, in a temporary file.

    HDF5 is read by another process (`predict_diff.caffe.hdf5_process`): some damage in a file, which is for the HDF5
    library to find, crashes it instead. Links that leave the file are not followed.

    Parameters
    ----------
    file : OpenFile
    path : Path
        Its name, for messages.

    Yields
    ------
    binary stream
        A NetParameter with the layers in the file's order; never empty.

    Raises
    ------
    ConversionError
        If the file is damaged or not such a weights file, links outwards, or holds anything but floating-point
        arrays of a bounded size.
    """
    # -P: no module of the same name as one of h5py's is taken from the script's folder.
    command = [sys.executable, "-P", hdf5_process.__file__, str(unpacked_at_most(file.size))]
    with tempfile.TemporaryFile() as caffemodel:
        done = subprocess.run(  # noqa: S603 - our own script, and a number  # nosec B603
            command, stdin=file.stream, stdout=caffemodel, stderr=subprocess.PIPE, check=False
        )
        if done.returncode:
            said = done.stderr.decode("utf-8", "backslashreplace")
            crash = "one that crashes the HDF5 library; it is damaged: fetch it again"
            raise ConversionError(
                f"{path}: expected {EXPECTED}, found {said if done.returncode == _REFUSED else crash}"
            )
        yield caffemodel

"""The mean image that AlexNet subtracts: found, fetched and checked against its published channel means."""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from predict_diff.caffe.reader import read_mean
from predict_diff.errors import ConversionError, DownloadError, NetworkError
from predict_diff.storage import whole_file

from .card import Archive, Card, MeanImage
from .download import RemoteFile, fetch

#: The published channel means have five decimals; another mean image of ImageNet differs by whole grey levels.
TOLERANCE = 0.01

#: An archive that unpacks to more than this, in bytes, is not the one that is wanted.
_UNPACKED_AT_MOST = 2**27


def find(card: Card) -> Path | None:
    """The mean image that lies in the network's folder, or None.

    Raises
    ------
    NetworkError
        If a file of that name is not that mean image.
    """
    image = _wanted(card)
    for name in image.files:
        path = card.folder / name
        if path.exists():
            _check(path, image)
            return path
    return None


def obtain(card: Card, mirror: str | None = None, **timeouts: float) -> Path:
    """`find`, and else fetch it.

    Parameters
    ----------
    card : Card
        Of a network with a mean image.
    mirror, timeouts
        As for `reproduce.download.fetch`.

    Raises
    ------
    NetworkError
        If the file that is there, or that came, is not that mean image.
    DownloadError
        If no address has it.
    """
    if (found := find(card)) is not None:
        return found
    image = _wanted(card)
    packed = RemoteFile(card.folder / image.archive.file, image.archive.urls, at_most=image.archive.at_most_bytes)
    fetch(packed, mirror, **timeouts)
    path = card.folder / image.archive.member
    try:
        data = _member(packed.path, image.archive, largest=_file_size_at_most(image))
    finally:
        # Without a known hash there is no use in keeping it: what is wanted is taken out, or it was another file.
        packed.path.unlink(missing_ok=True)
    with whole_file(path, NetworkError) as file:
        file.write(data)
    try:
        _check(path, image)
    except NetworkError:
        path.unlink()
        raise
    return path


def _wanted(card: Card) -> MeanImage:
    image = card.preprocessing.mean_image
    if image is None:
        raise ValueError(f"{card.name} has no mean image")
    return image


def _file_size_at_most(image: MeanImage) -> int:
    # Three channels in double precision, and a header.
    return 3 * image.size**2 * 8 + 1024


class _Unpacked(io.RawIOBase):
    """What an archive unpacks to, as far as it is believed: headers in it can be as large as files."""

    def __init__(self, packed: BinaryIO | gzip.GzipFile, name: str) -> None:
        self.packed, self.archive, self.seen = packed, name, 0

    def read(self, size: int = -1) -> bytes:
        content = self.packed.read(size)
        self.seen += len(content)
        if self.seen > _UNPACKED_AT_MOST:
            raise DownloadError(
                f"{self.archive}: expected at most {_UNPACKED_AT_MOST:,} bytes in it, found more; it was deleted, try "
                f"another mirror"
            )
        return content


def _member(path: Path, archive: Archive, largest: int) -> bytes:
    """One file out of the archive. Nothing is unpacked to disk, so names inside cannot lead anywhere."""
    try:
        with gzip.open(path) as packed, tarfile.open(fileobj=_Unpacked(packed, path.name), mode="r|") as stream:
            for entry in stream:
                if not entry.isfile() or Path(entry.name).name != archive.member:
                    continue
                if entry.size > largest:
                    raise DownloadError(
                        f"{path.name}: {archive.member}: expected at most {largest:,} bytes, found {entry.size:,}; the "
                        f"archive was deleted, try another mirror"
                    )
                content = stream.extractfile(entry)
                return b"" if content is None else content.read(largest)
    except (tarfile.TarError, zlib.error, EOFError, OSError) as reason:
        raise DownloadError(
            f"{path.name}: expected an archive (.tar.gz), found a damaged or another file ({reason}); it was deleted, "
            f"try again or try another mirror"
        ) from reason
    raise DownloadError(
        f"{path.name}: expected {archive.member} in it, found none; the archive was deleted, try another mirror"
    )


def _check(path: Path, image: MeanImage) -> None:
    try:
        mean = read_mean(path)
    except ConversionError as reason:
        raise NetworkError(str(reason)) from reason
    expected = (3, image.size, image.size)
    if mean.shape != expected:
        raise NetworkError(f"{path}: expected a mean image of shape {expected}, found {mean.shape}; {_advice(image)}")
    found = mean.mean((1, 2), dtype=np.float64)
    if not np.allclose(found, image.channel_means, rtol=0, atol=TOLERANCE):
        raise NetworkError(
            f"{path}: expected channel means (BGR) of {_numbers(image.channel_means)}, found {_numbers(found)}; "
            f"{_advice(image)}"
        )


def _advice(image: MeanImage) -> str:
    return f"put {' or '.join(image.files)} of BVLC Caffe there, or delete it to have it fetched"


def _numbers(values: object) -> str:
    return ", ".join(f"{value:.5f}" for value in np.asarray(values))

"""Photos: the default ones, the user's own, and reading them into one form.

Whatever the file holds (greyscale, palette, transparency, 16 bits, CMYK, an animation, a camera held sideways) becomes
RGB in [0, 1]; what had to be done for that is noted on the photo.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import stat
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from predict_diff.errors import ConfigurationError, ImageError, closest

from . import home
from .decoding import decode
from .validation import Strict, read_yaml

SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".ppm", ".pgm", ".pbm", ".jp2")
"""How the names of photos end, upper or lower case; other files in a folder of photos are passed over."""

MASK = ".mask.png"
"""Behind the name of a photo: a picture that says where its object is, and is no photo itself."""

SMALL = 224
"""The smallest side, in pixels, of an input of the paper's networks: a smaller photo is enlarged."""

MAX_BYTES = 2**30
"""No file of at most 100 megapixels needs more."""

_NAMES_COMPARED = 5000  # with what the user wrote; a folder can hold millions


@dataclass(frozen=True, eq=False)
class Photo:
    """One photo, decoded.

    Attributes
    ----------
    name : str
        For titles: a default photo's name, or the file's without its ending.
    pixels : ndarray, shape (H, W, 3), float32, read-only
        RGB in [0, 1]. Caffe: what caffe.io.load_image gives for an ordinary RGB or greyscale file.
    sha256 : str
        Of the decoded pixels and their shape: the same picture in another lossless file has the same.
    source : str
        The file's path, or ``skimage:chelsea`` for a default photo.
    origin : str
        What `read_photo` takes to read it again: a default photo's name, or the file's absolute path as it is.
    notes : tuple of str
        What was done that the user might not expect, such as ``greyscale: repeated over three channels``.
    """

    name: str
    pixels: NDArray[np.float32]
    sha256: str
    source: str
    origin: str
    notes: tuple[str, ...] = ()


class DefaultPhoto(Strict):
    """One entry of data/photos.yaml, where the fields are explained."""

    name: str
    file: str
    shows: str
    credit: str
    pool: bool
    figure1: bool = False


class _DefaultPhotos(Strict):
    photos: list[DefaultPhoto]


def default_photos() -> dict[str, DefaultPhoto]:
    """The photos that every installation has, by name, in the order of data/photos.yaml.

    Raises
    ------
    ConfigurationError
        If the list is missing or not of its form.
    """
    return _default_photos(home.root() / "data" / "photos.yaml")


@cache
def _default_photos(path: Path) -> dict[str, DefaultPhoto]:
    listed = read_yaml(path, _DefaultPhotos).photos
    photos = {photo.name: photo for photo in listed}
    if len(photos) < len(listed):
        raise ConfigurationError(f"{path}: expected every name once, found one twice; rename one of the two")
    return photos


def read_photo(photo: str | os.PathLike[str]) -> Photo:
    """Read a photo.

    Parameters
    ----------
    photo : str or path
        The name of a default photo (``chelsea``), the path of a file, or the name of a file in data/photos, with or
        without its ending. A default photo's name wins; write ``./chelsea`` for a file called so.

    Raises
    ------
    ImageError
        If there is none, or it is a folder, empty, too large, damaged, not a picture, or may not be read.
    """
    text = os.fspath(photo)
    default = default_photos().get(text)
    if default is not None:
        return _photo(default.name, _scikit_image_file(default), f"skimage:{default.name}", default.name)
    path = _find(text)
    return _photo(printable(path.stem), path, printable(str(path)), str(path.absolute()))


def is_photo(text: str) -> bool:
    """Whether `read_photo` would find something under this name."""
    try:
        return text in default_photos() or (text != "" and _path(text) is not None)
    except ImageError:  # a list of names is too long for one
        return False


def fingerprint(pixels: NDArray[np.float32]) -> str:
    """SHA-256 of decoded pixels, shape included, as hexadecimal digits."""
    digest = hashlib.sha256("x".join(str(size) for size in pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels, dtype="<f4").data)
    return digest.hexdigest()


def user_path(text: str | os.PathLike[str]) -> Path:
    """A path as the user writes it, ``~`` included."""
    path = Path(text)
    try:
        return path.expanduser()
    except RuntimeError:  # no such user: the name of a file, then
        return path


def printable(text: str) -> str:
    """A file's name as one line of text that can be stored: bytes that are not UTF-8, and line feeds, become ``?``."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def entries(folder: Path) -> list[Path]:
    """What lies in a folder, sorted; nothing if it cannot be listed."""
    try:
        return sorted(folder.iterdir())
    except (OSError, ValueError):
        return []


def _photo(name: str, path: Path, source: str, origin: str) -> Photo:
    with _open(path) as file:
        pixels, notes = decode(file, printable(str(path)))
    height, width = pixels.shape[:2]
    if min(height, width) < SMALL:
        notes = (*notes, f"small: {width} x {height} pixels, enlarged to the network's input")
    pixels.flags.writeable = False
    return Photo(name, pixels, fingerprint(pixels), source, origin, notes)


def _scikit_image_file(default: DefaultPhoto) -> Path:
    """Where scikit-image's wheel keeps a sample; scikit-image's own functions might download it instead."""
    package = importlib.util.find_spec("skimage")
    if package is None or package.origin is None:
        raise ImageError(
            f"photo {default.name}: expected scikit-image, which brings it; run `pip install scikit-image`"
        )
    path = Path(package.origin).parent / "data" / default.file
    if not path.is_file():
        raise ImageError(
            f"photo {default.name}: expected {path}, found no such file; this scikit-image does not bring it: use "
            f"another version, or another photo"
        )
    return path


def _path(text: str) -> Path | None:
    """The file that the user means."""
    path = user_path(text)
    if _exists(path):
        return path
    if path.parent == Path():
        for own in entries(_own_folder()):
            if own.suffix.lower() in SUFFIXES and path.name in (own.name, own.stem):
                return own
    return None


def _own_folder() -> Path:
    return home.root() / "data" / "photos"


def _find(text: str) -> Path:
    if (found := _path(text)) is not None:
        return found
    path = user_path(text)
    if path.is_symlink():
        raise ImageError(f"{printable(str(path))}: expected a photo, found a link that leads to no file; mend the link")
    known = [*default_photos(), *(printable(file.name) for file in entries(path.parent)[:_NAMES_COMPARED])]
    raise ImageError(
        f"photo {printable(text)!r}: expected a file, a name in {_own_folder()} or one of "
        f"{', '.join(default_photos())}; found none of these{closest(path.name, known)}"
    )


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a null character in the name
        return False
    except OSError as problem:
        raise _unreadable(path, problem) from problem
    return True


def _open(path: Path) -> BinaryIO:
    """Open a photo, or say why it cannot be one. Devices and pipes, which may never end, are refused first."""
    shown = printable(str(path))
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            raise ImageError(f"{shown}: expected a photo, found a folder; name one file in it")
        if not stat.S_ISREG(found.st_mode):
            raise ImageError(f"{shown}: expected a photo, found a device or a pipe; save it to a file first")
        if found.st_size == 0:
            raise ImageError(f"{shown}: expected a photo, found an empty file; copy or download it again")
        if found.st_size > MAX_BYTES:
            raise ImageError(
                f"{shown}: expected at most {MAX_BYTES} bytes, found {found.st_size}; save the photo smaller"
            )
        return path.open("rb")
    except OSError as problem:
        raise _unreadable(path, problem) from problem


def _unreadable(path: Path, problem: OSError) -> ImageError:
    return ImageError(
        f"{printable(str(path))}: expected a photo that may be read, found: {problem.strerror}; check its name and "
        f"rights"
    )

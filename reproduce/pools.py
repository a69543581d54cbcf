"""Pools: the photos from which samplers draw patches.

The paper's samplers draw from ImageNet, which may not be redistributed. The user's own folder of photos takes its
place; without one the default photos do, of which there are few, so that several crops of each serve as a stand-in
for many photos.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predict_diff.errors import ConfigurationError, ImageError, closest

from .crops import random_crop
from .photos import MASK, SUFFIXES, Photo, default_photos, entries, printable, read_photo, user_path
from .stamps import stamp

log = logging.getLogger(__name__)

DEFAULT = "default"
DEFAULT_CROPS = 8
LIMIT = 500

Preprocess = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""From a photo, (H, W, 3) RGB in [0, 1], to x, (3, H, W); a `predict_diff.caffe.preprocess.Preprocessing`.

It may refuse a photo with an ImageError; the pool then does without.
"""


@dataclass(frozen=True)
class Member:
    """A photo of a pool: what `read_photo` takes, its name in the folder, and the hash of its pixels."""

    path: str
    name: str
    sha256: str


@dataclass(frozen=True)
class Pool:
    """Photos, and how each is cropped. Only names and hashes are held; photos are read when they are needed.

    Attributes
    ----------
    source : str
        ``default``, or the folder.
    members : tuple of Member
        In the order of the list, or of their names.
    crops : int
        Crops of each photo. The first is the whole photo as the network would see it.
    seed : int
        Of the crops.
    left_out : str or None
        SHA-256 of the photo that may not be in the pool.
    needed : int
        How many crops the pool must give in all.
    """

    source: str
    members: tuple[Member, ...]
    crops: int
    seed: int
    left_out: str | None
    needed: int

    def __len__(self) -> int:
        return len(self.members) * self.crops

    @property
    def digest(self) -> str:
        """SHA-256 of all that `arrays` depends on beside the preprocessing: pixels, order, crops."""
        settings = {
            "photos": [member.sha256 for member in self.members],
            "crops": self.crops,
            "seed": self.seed if self.crops > 1 else None,
        }
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()

    def describe(self) -> dict[str, Any]:
        """Where the photos came from, fit for JSON."""
        return {
            "source": self.source,
            "photos": [member.name for member in self.members],
            "crops": self.crops,
            "seed": self.seed,
            "left_out": self.left_out,
            "sha256": self.digest,
        }

    def arrays(self, preprocessing: Preprocess) -> NDArray[np.float32]:
        """All crops as the network sees them, at once.

        Memory: the result and one photo. Parameters and errors: as of `inputs`.

        Returns
        -------
        ndarray, shape (P, 3, H, W), float32
            In the order of `inputs`.
        """
        arrays = np.empty((0, 3, 0, 0), np.float32)
        count = 0
        for count, x in enumerate(self.inputs(preprocessing), start=1):
            if count == 1:
                arrays = np.empty((len(self), *x.shape), np.float32)
            arrays[count - 1] = x
        return arrays[:count]

    def inputs(self, preprocessing: Preprocess) -> Iterator[NDArray[np.float32]]:
        """The crops as the network sees them, one after the other.

        Parameters
        ----------
        preprocessing : callable
            From a photo to x, applied to each crop.

        Yields
        ------
        ndarray, shape (3, H, W), float32
            Crop by crop, in the order of the photos. Those that the preprocessing refuses are left out, with one
            warning at the end. Authors' code: photos smaller than the network's input are skipped.

        Raises
        ------
        ImageError
            If a photo has changed or gone, or, at the end, if there were fewer than `needed`.
        """
        refused = []
        for member, crop in self._crops():
            try:
                x = preprocessing(crop)
            except ImageError as problem:
                refused.append((member.name, problem))
            else:
                yield x
        _warn(self.source, f"of {len(self)} crops do not suit the network", refused)
        _check_count(self.source, len(self) - len(refused), self.needed)

    def _crops(self) -> Iterator[tuple[Member, NDArray[np.float32]]]:
        for member in self.members:
            photo = read_photo(member.path)
            if photo.sha256 != member.sha256:
                raise ImageError(f"{photo.source}: expected the photo to stay as it was, found it changed; run again")
            yield member, photo.pixels
            height, width = photo.pixels.shape[:2]
            for number in range(1, self.crops):
                yield member, random_crop(photo.sha256, number, height, width, self.seed).cut(photo.pixels)


def pool(
    source: str | os.PathLike[str] = DEFAULT,
    *,
    leave_out: Photo | None,
    crops: int | None = None,
    limit: int | None = LIMIT,
    seed: int = 0,
    needed: int = 1,
) -> Pool:
    """Choose the photos of a pool.

    Parameters
    ----------
    source : str or path, default "default"
        ``default``: the default photos that are meant for it. Or a folder, whose subfolders are searched too.
    leave_out : Photo or None
        The photo that is explained: it is left out wherever its very pixels are found. Authors' code: None, for
        there it may stay.
    crops : int, optional
        Crops of each photo; 1 is the photo as the network sees it. Default: 8 for the default photos, 1 for a folder.
    limit : int or None, default 500
        How many photos are drawn, None for all. Which ones depends on the seed and on each one's name only.
    seed : int, default 0
        Of the draw and of the crops; non-negative.
    needed : int, default 1
        How many crops the sampler needs in all; S for marginal sampling.

    Raises
    ------
    ConfigurationError
        If a number is impossible.
    ImageError
        If there is no such folder, or too few of its photos can be read. Unreadable ones are skipped, with one
        warning.
    """
    crops_of_each = (DEFAULT_CROPS if os.fspath(source) == DEFAULT else 1) if crops is None else crops
    for setting, value, least in (("crops", crops_of_each, 1), ("limit", limit, 1), ("seed", seed, 0)):
        if value is not None and value < least:
            raise ConfigurationError(f"pool: {setting}: expected a whole number from {least} on, found {value}")
    excluded = None if leave_out is None else leave_out.sha256
    if os.fspath(source) == DEFAULT:
        shown = DEFAULT
        candidates = [(name, name) for name, photo in default_photos().items() if photo.pool]
    else:
        folder = user_path(source)
        shown = printable(str(folder))
        candidates = _files(folder)
    members = _draw(shown, candidates, limit, seed, excluded)
    _check_count(shown, len(members) * crops_of_each, needed)
    return Pool(shown, members, crops_of_each, seed, excluded, needed)


def _files(folder: Path) -> list[tuple[str, str]]:
    """Path and name of each photo below a folder, in the order of the names; hidden ones and masks are passed over."""
    try:
        os.scandir(folder).close()
    except (OSError, ValueError) as problem:
        known = [DEFAULT, *(printable(beside.name) for beside in entries(folder.parent))]
        raise ImageError(
            f"pool: expected {DEFAULT!r} or a folder of photos, found {printable(str(folder))}: "
            f"{getattr(problem, 'strerror', problem)}{closest(folder.name, known)}"
        ) from problem
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = [Path(place, name) for name in files if not name.startswith(".") and not name.endswith(MASK)]
        found += [path for path in paths if path.suffix.lower() in SUFFIXES]
    return sorted((str(path), path.relative_to(folder).as_posix()) for path in found)


def _draw(
    source: str, candidates: Sequence[tuple[str, str]], limit: int | None, seed: int, excluded: str | None
) -> tuple[Member, ...]:
    """Up to `limit` photos that can be read, at random, in the order of the candidates."""
    # Each photo's place in the draw comes from its own name, so it does not change when another joins or leaves.
    order = sorted(
        range(len(candidates)), key=lambda i: hashlib.sha256(os.fsencode(f"{seed} {candidates[i][1]}")).digest()
    )
    drawn: dict[int, Member] = {}
    refused = []
    for index in order:
        if len(drawn) == limit:
            break
        path, name = candidates[index]
        try:
            sha256 = _sha256(path, stamp(path))
        except ImageError as problem:
            refused.append((printable(name), problem))
            continue
        if sha256 != excluded:
            drawn[index] = Member(path, printable(name), sha256)
    _warn(source, "photos cannot be read", refused)
    return tuple(drawn[index] for index in sorted(drawn))


@lru_cache(maxsize=4 * LIMIT)
def _sha256(path: str, changed: tuple[int, int] | None) -> str:
    """Of a photo's pixels: decoded once, for a study asks for each of its photos."""
    return read_photo(path).sha256


def _warn(source: str, what: str, refused: Sequence[tuple[str, ImageError]]) -> None:
    """One line for all that was left out: how many, the first names, the first reason."""
    if refused:
        names = ", ".join(name for name, _ in refused[:3]) + (", ..." if len(refused) > 3 else "")
        log.warning("pool %s: %d %s and are left out: %s (%s)", source, len(refused), what, names, refused[0][1])


def _check_count(source: str, count: int, needed: int) -> None:
    if count < max(needed, 1):
        raise ImageError(
            f"pool {source}: expected {max(needed, 1)} or more crops of photos other than the explained one, found "
            f"{count}; add photos, ask for more crops of each, or for fewer samples"
        )

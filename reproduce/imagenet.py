"""The validation set of ILSVRC-2012 as people have it: photos in a folder, and their labels in one of four forms."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from predict_diff.errors import ConfigurationError, ImageError, closest

from .labels import Label, labels
from .photos import SUFFIXES, entries, printable, user_path

CAFFE_LABELS = "val.txt"
KAGGLE_LABELS = "LOC_val_solution.csv"
DEVKIT_LABELS = "ILSVRC2012_validation_ground_truth.txt"

#: Bytes; Caffe's list of all 50,000 photos has 1.6e6, Kaggle's 2.5e6 with its boxes.
_LABELS_AT_MOST = 2**24

#: Kaggle's archive has the labels at its top and the photos in ILSVRC/Data/CLS-LOC/val.
_KAGGLE_DEPTH = 4

_SYNSET = re.compile(r"n\d{8}")
_OFFICIAL_NAME = re.compile(r"ILSVRC2012_val_\d{8}")
_WHERE_TO_GET_THEM = f"Caffe's data/ilsvrc12/get_ilsvrc_aux.sh fetches {CAFFE_LABELS}: put it beside the photos"


@dataclass(frozen=True)
class LabelledPhoto:
    """One photo of a validation set; it has not been read.

    Attributes
    ----------
    path : Path
    label : int
        The right output of the network, counted from 0.
    name : str
        The file's path within the folder, with slashes.
    """

    path: Path
    label: int
    name: str


def validation_set(folder: Path, classes: Sequence[Label] | None = None) -> list[LabelledPhoto]:
    """The photos in a folder and their labels.

    Any part of the validation set will do. The forms:

    - photos in the folder, and Caffe's ``val.txt`` (name and index, counted from 0, on each line) there or one folder
      up;
    - photos in the folder, and Kaggle's ``LOC_val_solution.csv`` there, one folder up or at the top of Kaggle's
      archive; ``val.txt`` goes first;
    - a subfolder for each class, named by its synset id, such as ``n01440764``.

    Names are compared without their ending, so that photos saved in another format keep their labels.

    Parameters
    ----------
    folder : Path
    classes : sequence of Label, optional
        The network's classes. Default: those of ILSVRC-2012.

    Returns
    -------
    list of LabelledPhoto
        By name.

    Raises
    ------
    ImageError
        If there is no such folder, it has no photos, or there are no labels for them.
    ConfigurationError
        If labels are wrong: a class that does not exist, a name twice, a photo without a label. The devkit's own
        list counts classes in another order, which needs MATLAB's meta.mat, and is not read.
    """
    folder = user_path(folder).absolute()
    flat, synsets = _contents(folder)
    known = labels() if classes is None else classes
    if flat and synsets:
        raise ImageError(
            f"{_shown(folder)}: expected photos in the folder itself or in one subfolder a class, found both "
            f"({_shown(flat[0].name)}, {_shown(synsets[0].name)}); move one kind away"
        )
    photos = _in_folders(folder, synsets, known) if synsets else _beside_list(folder, flat, known)
    if not photos:
        subfolders = [entry.name for entry in entries(folder) if entry.is_dir()][:3]
        hint = f"; it has folders ({', '.join(map(_shown, subfolders))}): name the one with the photos" * bool(
            subfolders
        )
        raise ImageError(f"{_shown(folder)}: expected photos of ILSVRC-2012's validation set, found none{hint}")
    return sorted(photos, key=lambda photo: photo.name)


def _contents(folder: Path) -> tuple[list[Path], list[Path]]:
    """The photos in a folder, and its subfolders that are named like classes; both sorted."""
    try:
        with os.scandir(folder) as found:
            listed = sorted((entry.name, entry.is_dir()) for entry in found)
    except OSError as problem:
        beside = [printable(entry.name) for entry in entries(folder.parent) if entry.is_dir()]
        raise ImageError(
            f"{_shown(folder)}: expected the folder with ILSVRC-2012's validation photos, found: "
            f"{problem.strerror}{closest(folder.name, beside)}"
        ) from problem
    flat = [folder / name for name, is_folder in listed if not is_folder and _is_photo(name)]
    return flat, [folder / name for name, is_folder in listed if is_folder and _SYNSET.fullmatch(name)]


def _is_photo(name: str) -> bool:
    # macOS leaves files such as ._ILSVRC2012_val_00000001.JPEG on foreign disks.
    return not name.startswith(".") and name.lower().endswith(SUFFIXES)


def _in_folders(folder: Path, synsets: Sequence[Path], classes: Sequence[Label]) -> list[LabelledPhoto]:
    """One subfolder a class."""
    index = {label.synset: label.index for label in classes}
    photos = []
    seen: dict[str, str] = {}
    for synset in synsets:
        if synset.name not in index:
            raise ConfigurationError(
                f"{_shown(synset)}: expected a folder named after one of the network's {len(classes)} classes, found "
                f"another synset{closest(synset.name, index)}; rename it or move it away"
            )
        for path in entries(synset):
            if _is_photo(path.name):
                photo = LabelledPhoto(path, index[synset.name], f"{synset.name}/{path.name}")
                # Other sets may number each class's photos anew; of these names there is one each.
                if _OFFICIAL_NAME.fullmatch(path.stem):
                    _expect_new(folder, seen, path.stem, photo.name)
                photos.append(photo)
    return photos


def _beside_list(folder: Path, flat: Sequence[Path], classes: Sequence[Label]) -> list[LabelledPhoto]:
    """Photos beside a list of their labels."""
    if not flat:
        return []
    path = _labels_file(folder)
    index = _kaggle_labels(path, classes) if path.name == KAGGLE_LABELS else _caffe_labels(path, classes)
    without = [photo.name for photo in flat if photo.stem not in index]
    if without:
        raise ConfigurationError(
            f"{_shown(path)}: expected a label for each of the {len(flat):,} photos in {_shown(folder)}, found none "
            f"for {_shown(without[0])}{f' and {len(without) - 1:,} more' * (len(without) > 1)}; add the labels or move "
            f"the photos away"
        )
    seen: dict[str, str] = {}
    for photo in flat:
        _expect_new(folder, seen, photo.stem, photo.name)
    return [LabelledPhoto(photo, index[photo.stem], photo.name) for photo in flat]


def _expect_new(folder: Path, seen: dict[str, str], stem: str, name: str) -> None:
    if stem in seen:
        raise ConfigurationError(
            f"{_shown(folder)}: expected each photo once, found {_shown(seen[stem])} and {_shown(name)}; move one away"
        )
    seen[stem] = name


def _labels_file(folder: Path) -> Path:
    """The list of labels that belongs to a folder of photos."""
    near = [folder, folder.parent]
    candidates = [place / CAFFE_LABELS for place in near]
    candidates += [place / KAGGLE_LABELS for place in [folder, *folder.parents[:_KAGGLE_DEPTH]]]
    for path in candidates:
        if path.is_file():
            return path
    for place in near:
        for path in (place / DEVKIT_LABELS, *sorted(place.glob(f"ILSVRC2012_devkit*/data/{DEVKIT_LABELS}"))):
            if path.is_file():
                raise ImageError(
                    f"{_shown(path)}: expected labels in the networks' order of classes, found the devkit's, which is "
                    f"another and needs MATLAB's meta.mat; {_WHERE_TO_GET_THEM}"
                )
    raise ImageError(
        f"{_shown(folder)}: expected labels in {CAFFE_LABELS} or {KAGGLE_LABELS}, there or one folder up, or one "
        f"subfolder a class (n01440764, ...), found none; {_WHERE_TO_GET_THEM}"
    )


def _caffe_labels(path: Path, classes: Sequence[Label]) -> dict[str, int]:
    """Caffe: data/ilsvrc12/val.txt. Name without ending -> index."""
    found: dict[str, int] = {}
    lines: dict[str, int] = {}
    for number, line in _lines(path):
        name, _, index = line.rpartition(" ")
        if not name.strip() or not re.fullmatch(r"-?[0-9]{1,9}", index):
            raise ConfigurationError(
                f"{_shown(path)}:{number}: expected a name and an index, such as 'ILSVRC2012_val_00000001.JPEG 65', "
                f"found {line[:80]!r}"
            )
        if not 0 <= int(index) < len(classes):
            raise ConfigurationError(
                f"{_shown(path)}:{number}: expected an index from 0 to {len(classes) - 1}, found {index}; the first "
                f"class is 0"
            )
        _add(found, lines, path, number, name.strip(), int(index))
    return found


def _kaggle_labels(path: Path, classes: Sequence[Label]) -> dict[str, int]:
    """Kaggle's list: ``ILSVRC2012_val_00048981,n03995372 85 1 499 272`` and more boxes of the same class."""
    index = {label.synset: label.index for label in classes}
    found: dict[str, int] = {}
    lines: dict[str, int] = {}
    for number, line in _lines(path):
        name, _, boxes = line.partition(",")
        if number == 1 and name == "ImageId":
            continue
        synset = boxes.split()[0] if boxes.split() else ""
        if not name or not _SYNSET.fullmatch(synset):
            raise ConfigurationError(
                f"{_shown(path)}:{number}: expected a name and a synset id, such as "
                f"'ILSVRC2012_val_00048981,n03995372 85 1 499 272', found {line[:80]!r}"
            )
        if synset not in index:
            raise ConfigurationError(
                f"{_shown(path)}:{number}: expected one of the network's {len(classes)} classes, found {synset}"
                f"{closest(synset, index)}"
            )
        _add(found, lines, path, number, f"{name}.JPEG", index[synset])
    return found


def _add(found: dict[str, int], lines: dict[str, int], path: Path, number: int, name: str, index: int) -> None:
    stem = PurePosixPath(name).stem
    if stem in found:
        raise ConfigurationError(
            f"{_shown(path)}:{number}: expected each photo once, found {_shown(name)} again after line {lines[stem]}; "
            f"remove one of the two lines"
        )
    found[stem], lines[stem] = index, number


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a list that have text, numbered from 1, without the spaces at their ends."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > _LABELS_AT_MOST:
            raise ConfigurationError(
                f"{_shown(path)}: expected a list of labels of at most {_LABELS_AT_MOST:,} bytes, found more; put the "
                f"right file there"
            )
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as problem:
        raise ConfigurationError(
            f"{_shown(path)}: expected a list of labels that can be read, found: {problem.strerror}; check its rights"
        ) from problem
    except UnicodeDecodeError as problem:
        raise ConfigurationError(
            f"{_shown(path)}: expected a list of labels in UTF-8, found other bytes; put the right file there"
        ) from problem
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield number, line.strip()


def _shown(path: Path | str) -> str:
    return printable(str(path))

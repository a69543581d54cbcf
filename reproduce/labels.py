"""The classes of ILSVRC-2012, in the order of the networks' outputs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from predict_diff.errors import ConfigurationError

from . import home

_LINE = re.compile(r"(n\d{8}) (\S.*)")


@dataclass(frozen=True)
class Label:
    """One class.

    Attributes
    ----------
    index : int
        The output of the network that stands for it, counted from 0.
    synset : str
        Its id in WordNet 3.0, such as ``n02124075``.
    words : str
        Its words in WordNet, such as ``African elephant, Loxodonta africana``.
    """

    index: int
    synset: str
    words: str

    @property
    def short(self) -> str:
        """The first of the words. Not unique: there are two cranes."""
        return self.words.split(", ")[0]


def labels(path: Path | None = None, count: int = 1000) -> list[Label]:
    """Read a list of classes.

    Parameters
    ----------
    path : Path, optional
        A file with one class a line: synset id, space, words. Default: the classes of ILSVRC-2012.
    count : int, default 1000
        How many classes the network has.

    Returns
    -------
    list of Label
        Item *i* is output *i* of the network.

    Raises
    ------
    ConfigurationError
        If the file cannot be read, has another number of lines, or a line of another form.
    """
    path = home.root() / "data" / "imagenet_labels.txt" if path is None else path
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as problem:
        raise ConfigurationError(f"{path}: expected a list of classes, found none ({problem.strerror})") from problem
    except UnicodeDecodeError as problem:
        raise ConfigurationError(f"{path}: expected text in UTF-8, found other bytes; save it as UTF-8") from problem
    if len(lines) != count:
        raise ConfigurationError(
            f"{path}: expected {count} lines, one a class, found {len(lines)}; list the classes of this network"
        )
    return [_label(path, index, line) for index, line in enumerate(lines)]


def _label(path: Path, index: int, line: str) -> Label:
    match = _LINE.fullmatch(line.rstrip())
    if match is None:
        raise ConfigurationError(
            f"{path}, line {index + 1}: expected a synset id and words, such as 'n02124075 Egyptian cat', "
            f"found {line[:80]!r}"
        )
    return Label(index, match[1], match[2])

"""The ranks of labels that have been found so far, in a file that survives whatever stops the program."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from predict_diff.errors import ResultError
from predict_diff.storage import whole_file

from .classifier import Classifier
from .imagenet import LabelledPhoto
from .photos import printable

logger = logging.getLogger(__name__)

#: Changes whenever the same photo, network and preprocessing would give another rank.
_VERSION = 1

#: Bytes; all 50,000 photos take 5e6. Longer paths and sets of other labels have room.
_AT_MOST = 2**28

_CHECKSUM = 16  # hexadecimal digits


class Ranks:
    """The ranks found so far, in a file: a line about the configuration, then one for each photo.

    Each line begins with its checksum. At the first that is wrong the file is cut off: a torn end, most likely.
    """

    def __init__(self, classifier: Classifier, folder: Path) -> None:
        identity = _identity(classifier)
        self._salt = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        self._found: dict[tuple[str, int, int], int] = {}
        self._path = folder / f"accuracy-{printable(classifier.name)}-{self._salt[:12]}.txt".replace("/", "_")
        head = self._line(identity)
        try:
            if not self._path.exists():
                with whole_file(self._path, ResultError) as file:
                    file.write(head)
            size = self._path.stat().st_size
            if not self._path.is_file() or size > _AT_MOST:
                raise self._wrong("no file, or one that is too large")
            content = self._path.read_bytes()
        except OSError as problem:
            raise self._wrong(str(problem.strerror)) from problem
        if not content.startswith(head):
            raise self._wrong("another, or a damaged beginning")
        good = len(head)
        for entry, length in self._entries(content, good):
            name, label, size, found = entry
            self._found[name, label, size] = found
            good += length
        if good < len(content):
            logger.info("%s: the end was torn; %d bytes dropped.", self._path, len(content) - good)
            self._cut(good)

    def of(self, photos: Sequence[LabelledPhoto]) -> dict[str, int]:
        """Ranks that are known, by name."""
        keys = [(photo.name, photo.label, _bytes(photo)) for photo in photos]
        return {key[0]: self._found[key] for key in keys if key in self._found}

    def add(self, found: Sequence[tuple[LabelledPhoto, int]]) -> None:
        """Append ranks, in one piece."""
        lines = [self._line([photo.name, photo.label, _bytes(photo), rank]) for photo, rank in found]
        try:
            # Appending lets two runs share the file: they disturb no line of each other's.
            with self._path.open("ab") as file:
                file.write(b"".join(lines))
        except OSError as problem:
            raise ResultError(
                f"{self._path}: could not be written ({problem.strerror}); free some space or choose another folder"
            ) from problem

    def _line(self, content: Any) -> bytes:
        body = json.dumps(content)
        return f"{self._checksum(body.encode())} {body}\n".encode()

    def _checksum(self, body: bytes) -> str:
        return hashlib.sha256(self._salt.encode() + body).hexdigest()[:_CHECKSUM]

    def _entries(self, content: bytes, start: int) -> Iterator[tuple[list[Any], int]]:
        """What the lines say, with their lengths in bytes, as far as their checksums are right."""
        for line in content[start:].splitlines(keepends=True):
            checksum, body = line[:_CHECKSUM], line[_CHECKSUM + 1 : -1]
            if not line.endswith(b"\n") or checksum != self._checksum(body).encode():
                return
            yield json.loads(body), len(line)

    def _cut(self, length: int) -> None:
        try:
            with self._path.open("r+b") as file:
                file.truncate(length)
        except OSError as problem:
            raise self._wrong(str(problem.strerror)) from problem

    def _wrong(self, found: str) -> ResultError:
        return ResultError(f"{self._path}: expected ranks of this configuration, found {found}; delete it")


def _bytes(photo: LabelledPhoto) -> int:
    """Size of the file; -1 if there is none, which reading it will tell."""
    try:
        return photo.path.stat().st_size
    except OSError:
        return -1


def _identity(classifier: Classifier) -> dict[str, Any]:
    """All that a rank depends on beside the photo, JSON-able."""
    network = classifier.network.describe()
    return {
        "version": _VERSION,
        "network": network["sha256"],
        "provider": network["provider"],
        "precision": network["precision"],
        "output": classifier.card.blobs.output,
        "preprocessing": classifier.preprocessing.describe(),
    }

"""The ranks of labels that have been found so far, in a file that survives whatever stops the program."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
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

    Each line begins with its checksum. A last line without its end is what a run that was stopped leaves: it is
    dropped. Whatever else is wrong is damage.

    Parameters
    ----------
    classifier : Classifier
    folder : Path
        Where the file lies; it is begun if it is not there.
    force : bool
        A damaged file is replaced; the lines of it whose checksums are right are kept.

    Raises
    ------
    ResultError
        If the file is damaged or another's, which leaves it as it is, or cannot be read or written.
    """

    def __init__(self, classifier: Classifier, folder: Path, force: bool = False) -> None:
        identity = _identity(classifier)
        self._salt = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        self._path = folder / f"accuracy-{printable(classifier.name)}-{self._salt[:12]}.txt".replace("/", "_")
        self._read(self._line(identity), force)

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

    def _read(self, head: bytes, force: bool) -> None:
        """Take what the file has; begin one if there is none, and mend what may be mended."""
        if not self._path.exists():
            self._write(head)
        content = self._content()
        *lines, torn = content.split(b"\n")
        entries = [self._entry(line) for line in lines[1:]]
        damage = None if None not in entries else f"a damaged line {entries.index(None) + 2}"
        if not content.startswith(head):
            damage = "another's, or a damaged beginning"
        if damage is not None and not force:
            raise self._wrong(damage, "delete it, or say --force, to have what is damaged found again")
        self._found = {entry[:3]: entry[3] for entry in entries if entry is not None}
        if damage is not None:
            whole = [line + b"\n" for line, entry in zip(lines[1:], entries, strict=True) if entry is not None]
            logger.warning("%s: found %s; it is replaced, and %d ranks are kept.", self._path, damage, len(whole))
            self._write(head + b"".join(whole))
        elif torn:
            logger.info("%s: the end was torn; %d bytes dropped.", self._path, len(torn))
            self._cut(len(content) - len(torn))

    def _content(self) -> bytes:
        try:
            if not self._path.is_file():
                raise self._wrong("no file")
            if (size := self._path.stat().st_size) > _AT_MOST:
                raise self._wrong(f"{size:,} bytes, more than ranks take")
            return self._path.read_bytes()
        except OSError as problem:
            raise self._wrong(str(problem.strerror)) from problem

    def _entry(self, line: bytes) -> tuple[str, int, int, int] | None:
        """Name, label, size and rank that a line tells; None if it is damaged."""
        checksum, space, body = line[:_CHECKSUM], line[_CHECKSUM : _CHECKSUM + 1], line[_CHECKSUM + 1 :]
        if space != b" " or checksum != self._checksum(body).encode():
            return None
        match json.loads(body):
            case [str() as name, int() as label, int() as size, int() as rank]:
                return name, label, size, rank
        return None

    def _write(self, content: bytes) -> None:
        with whole_file(self._path, ResultError) as file:
            file.write(content)

    def _cut(self, length: int) -> None:
        try:
            with self._path.open("r+b") as file:
                file.truncate(length)
        except OSError as problem:
            raise self._wrong(str(problem.strerror)) from problem

    def _wrong(self, found: str, advice: str = "delete it, or choose another folder") -> ResultError:
        return ResultError(f"{self._path}: expected ranks of this configuration, found {found}; {advice}")


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

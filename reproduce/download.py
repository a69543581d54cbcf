"""Fetches a large file from servers that are often down, over several sittings if need be."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import pooch

from predict_diff.errors import ConfigurationError, DownloadError

from .transfer import RefusedError, RemoteFile, Transfer

logger = logging.getLogger(__name__)

#: Names a mirror: a base URL or a folder, tried first.
MIRROR_VARIABLE = "PREDICT_DIFF_MIRROR"


def fetch(
    file: RemoteFile, mirror: str | None = None, connect_timeout: float = 15.0, read_timeout: float = 60.0
) -> Path:
    """Download a file, continuing what an earlier call left.

    Parameters
    ----------
    file : RemoteFile
        What to fetch.
    mirror : str, optional
        A base URL or a folder that is tried first, under the file's own name. Without it, PREDICT_DIFF_MIRROR counts.
    connect_timeout, read_timeout : float
        How long to wait for a connection, and for something to arrive; in seconds.

    Returns
    -------
    Path
        ``file.path``. Nothing lies there unless its size and hash are right.

    Raises
    ------
    DownloadError
        If no address has the file, or it cannot be written; the message says what each address answered.
    ConfigurationError
        If the mirror is neither a folder nor an http, https or file address.
    """
    if _part_is_whole(file):
        file.part.replace(file.path)
        file.discard_part()
        return file.path
    transfer = Transfer(file, (connect_timeout, read_timeout))
    answers = []
    # pooch narrates at INFO; the addresses and answers are logged here.
    pooch.get_logger().setLevel("WARNING")
    for url in _addresses(file, mirror):
        logger.info("fetching %s", url)
        try:
            pooch.retrieve(
                url,
                known_hash=None if file.sha256 is None else f"sha256:{file.sha256}",
                fname=file.path.name,
                path=file.path.parent,
                downloader=transfer,
            )
        except RefusedError as reason:
            answers.append(f"{url} {reason}")
        except ValueError as reason:
            found = re.search(r"got (\w+)", str(reason))
            answers.append(f"{url} sent another file (SHA-256 {found[1] if found else 'wrong'}), which was deleted")
        except OSError as reason:
            raise DownloadError(
                f"{file.path}: could not be written ({reason.strerror or reason}); free {file.limit:,} bytes or choose "
                f"a folder that you may write to"
            ) from reason
        else:
            return file.path
        logger.warning("%s", answers[-1])
    if not file.part_origin.exists():
        # Nothing says which version of the file it is a part of: it could not be continued.
        file.discard_part()
    raise DownloadError(_all_failed(file, answers))


def _part_is_whole(file: RemoteFile) -> bool:
    """Whether an earlier call ended just before it gave the file its name."""
    if file.sha256 is None or file.size is None or file.arrived != file.size:
        return False
    return bool(pooch.file_hash(str(file.part), alg="sha256") == file.sha256)


def _all_failed(file: RemoteFile, answers: list[str]) -> str:
    wanted = f"{file.size:,} bytes" if file.size is not None else f"at most {file.limit:,} bytes"
    if file.sha256 is not None:
        wanted += f", SHA-256 {file.sha256}"
    kept = f"; {file.arrived:,} bytes are kept, run again to continue" if file.arrived else ""
    return (
        f"{file.path.name} ({wanted}) could not be downloaded: {'; '.join(answers)}{kept}; put the file into "
        f"{file.path.parent} by hand, or name a mirror with --mirror or {MIRROR_VARIABLE}"
    )


def _addresses(file: RemoteFile, mirror: str | None) -> Iterator[str]:
    mirror = mirror or os.environ.get(MIRROR_VARIABLE)
    if mirror:
        scheme = urlsplit(mirror).scheme if "://" in mirror else ""
        if scheme not in ("", "http", "https", "file"):
            raise ConfigurationError(
                f"mirror: expected an http, https or file address or a folder, found {mirror!r}; correct --mirror or "
                f"{MIRROR_VARIABLE}"
            )
        base = mirror if scheme else Path(mirror).expanduser().resolve().as_uri()
        yield f"{base.rstrip('/')}/{quote(file.path.name)}"
    yield from file.urls

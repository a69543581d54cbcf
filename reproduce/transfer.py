"""One file over HTTP, block by block, continued where it broke off."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urljoin, urlsplit
from urllib.request import url2pathname

import requests
import urllib3
from requests.structures import CaseInsensitiveDict

from .progress import Progress
from .redirects import follows

logger = logging.getLogger(__name__)

#: A connection that breaks is taken up again as long as it brings something, so often in all.
ATTEMPTS = 3

#: Slower than this, averaged over the read timeout, counts as stalled. In bytes a second.
SLOWEST = 1024

_BLOCK = 1 << 16

_REDIRECTS = 5


@dataclass(frozen=True)
class RemoteFile:
    """A file that is wanted.

    Parameters
    ----------
    path : Path
        Where it is to lie.
    urls : tuple of str
        Where it can be had; they are tried in this order.
    size : int or None
        Its size in bytes, if known.
    sha256 : str or None
        Its SHA-256, if known.
    at_most : int or None
        The largest size that is accepted, in bytes, where the size is not known.
    """

    path: Path
    urls: tuple[str, ...]
    size: int | None = None
    sha256: str | None = None
    at_most: int | None = None

    @property
    def limit(self) -> int:
        """No more bytes than this are ever taken."""
        limit = self.size if self.size is not None else self.at_most
        if limit is None:
            raise ValueError("a file of unknown size needs a bound")
        return limit

    @property
    def part(self) -> Path:
        """What has arrived so far."""
        return self.path.with_name(self.path.name + ".part")

    @property
    def part_origin(self) -> Path:
        """Where `part` came from, so that it can be continued: JSON with the URL and its ETag or date."""
        return self.path.with_name(self.path.name + ".part.json")

    @property
    def arrived(self) -> int:
        """Size of `part`, in bytes; 0 if there is none."""
        return self.part.stat().st_size if self.part.exists() else 0

    def discard_part(self) -> None:
        """Forget what has arrived so far."""
        self.part.unlink(missing_ok=True)
        self.part_origin.unlink(missing_ok=True)


class RefusedError(Exception):
    """This address does not have the file; the next one may."""


class BrokenOffError(Exception):
    """The connection broke; the same address may have the rest."""


class Transfer:
    """A downloader for pooch: brings one file to where pooch wants it, which then checks its hash and names it.

    Parameters
    ----------
    file : RemoteFile
        What is wanted.
    timeouts : tuple of float
        How long to wait for a connection, and for something to arrive; in seconds.
    """

    def __init__(self, file: RemoteFile, timeouts: tuple[float, float]) -> None:
        self.file = file
        self.timeouts = timeouts

    def __call__(self, url: str, output_file: str, pooch: Any) -> None:
        if self.file.part.is_symlink() or self.file.part_origin.is_symlink():
            # Never made here, and to write through one would change whatever it leads to.
            self.file.discard_part()
        if urlsplit(url).scheme == "file":
            self._copy(Path(url2pathname(urlsplit(url).path)))
        else:
            self._download(url)
        self.file.part.replace(output_file)
        self.file.discard_part()

    def _copy(self, source: Path) -> None:
        if not source.is_file():
            raise RefusedError("is not there")
        self._check_size(source.stat().st_size, "has")
        if not os.access(source, os.R_OK):
            raise RefusedError("may not be read")
        self.file.discard_part()
        shutil.copyfile(source, self.file.part)

    def _download(self, url: str) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            had = self.file.arrived
            try:
                return self._continue(url)
            except BrokenOffError as reason:
                if attempt == ATTEMPTS or self.file.arrived <= had:
                    raise RefusedError(str(reason)) from reason
                logger.warning("%s %s; going on from there", url, reason)
        return None

    def _continue(self, url: str) -> None:
        start, validator = self._resumable(url)
        headers = {"Accept-Encoding": "identity", "User-Agent": "predict_diff"}
        if start:
            # If-Range: the rest if the file is still the one that was begun, else the whole.
            headers |= {"Range": f"bytes={start}-", "If-Range": validator}
        with (
            self._explained(),
            self._response(url, headers) as response,
        ):
            if start and response.status_code in (206, 416) and not self._is_the_rest(response.headers, start):
                self.file.discard_part()
                return self._continue(url)
            if response.status_code not in (200, 206):
                raise RefusedError(f"answered HTTP {response.status_code} {response.reason or ''}".rstrip())
            if response.status_code == 200:
                start = 0
            blocks = self._blocks(response)
            first = next(blocks, b"")
            _refuse_page(response.headers, first)
            announced = response.headers.get("Content-Length", "")
            if announced.isdigit():
                self._check_size(start + int(announced), "announces")
            # Only now: whatever is refused leaves an earlier part as it is.
            with self.file.part.open("ab" if start else "wb") as part:
                if start == 0:
                    self._remember_origin(url, response.headers)
                self._write(part, start, first, blocks)
        return None

    @contextlib.contextmanager
    def _response(self, url: str, headers: dict[str, str]) -> Iterator[requests.Response]:
        """What an address answers, over the redirects that are followed."""
        where = url
        for _ in range(_REDIRECTS + 1):
            with requests.get(
                where, headers=headers, stream=True, timeout=self.timeouts, allow_redirects=False
            ) as response:
                if not response.is_redirect:
                    yield response
                    return
                # Headers are Latin-1 to requests; addresses are ASCII where they are sound.
                target = urljoin(where, response.headers["Location"])
            if not follows(where, target, self.file.urls, anywhere=url not in self.file.urls):
                shown = "".join(letter for letter in target[:200] if letter.isprintable())
                raise RefusedError(
                    f"redirects to {shown!r}, which could not be read: it is another protocol or server, and not among "
                    f"the addresses listed"
                )
            where = target
        raise RefusedError(f"redirects more than {_REDIRECTS} times")

    def _write(self, part: BinaryIO, start: int, first: bytes, blocks: Iterator[bytes]) -> None:
        have = start
        with Progress(self.file.path.name, self.file.size, "B", start) as progress:
            block = first
            while block:
                have += len(block)
                if have > self.file.limit:
                    self.file.discard_part()
                    raise RefusedError(f"sends more than {self.file.limit:,} bytes; it was cut off and deleted")
                part.write(block)
                progress.update(len(block))
                block = next(blocks, b"")
        if self.file.size is not None and have < self.file.size:
            raise BrokenOffError(f"broke off after {have:,} of {self.file.size:,} bytes")

    def _blocks(self, response: requests.Response) -> Iterator[bytes]:
        """What arrives, as it arrives: `iter_content` would wait for a full block, however slowly it drips."""
        patience = self.timeouts[1]
        since, arrived = time.monotonic(), 0
        while block := response.raw.read1(_BLOCK):
            arrived += len(block)
            yield block
            elapsed = time.monotonic() - since
            if elapsed >= patience:
                if arrived < SLOWEST * elapsed:
                    raise BrokenOffError(f"stalled: {arrived:,} bytes in {elapsed:.0f} s")
                since, arrived = time.monotonic(), 0

    def _check_size(self, found: int, verb: str) -> None:
        if self.file.size is not None and found != self.file.size:
            raise RefusedError(f"{verb} {found:,} bytes, expected {self.file.size:,}")
        if found > self.file.limit:
            raise RefusedError(f"{verb} {found:,} bytes, expected at most {self.file.limit:,}")

    def _is_the_rest(self, headers: CaseInsensitiveDict[str], start: int) -> bool:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", ""))
        return found is not None and int(found[1]) == start and found[2] in ("*", str(self.file.size or found[2]))

    def _resumable(self, url: str) -> tuple[int, str]:
        """How many bytes of the file at this address lie in `part`, and its ETag or date; (0, '') if none."""
        try:
            origin = json.loads(self.file.part_origin.read_text(encoding="utf-8"))
            validator = origin["validator"] if origin["url"] == url else ""
        except (OSError, ValueError, KeyError, TypeError):
            return 0, ""
        start = self.file.arrived
        usable = isinstance(validator, str) and validator.isprintable() and validator != ""
        return (start, validator) if usable and 0 < start < self.file.limit else (0, "")

    def _remember_origin(self, url: str, headers: CaseInsensitiveDict[str]) -> None:
        tag = headers.get("ETag", "")
        # A weak ETag does not promise equal bytes.
        validator = tag if tag and not tag.startswith("W/") else headers.get("Last-Modified", "")
        if validator:
            self.file.part_origin.write_text(json.dumps({"url": url, "validator": validator}), encoding="utf-8")
        else:
            self.file.part_origin.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Connection errors in a few words."""
        connect, read = self.timeouts
        try:
            yield
        except (requests.ConnectTimeout, urllib3.exceptions.ConnectTimeoutError) as reason:
            raise BrokenOffError(f"did not answer within {connect:g} s") from reason
        except (requests.ReadTimeout, urllib3.exceptions.ReadTimeoutError) as reason:
            raise BrokenOffError(f"timed out: nothing arrived for {read:g} s") from reason
        except (requests.RequestException, urllib3.exceptions.HTTPError) as reason:
            raise BrokenOffError(_in_short(reason)) from reason


def _in_short(error: Exception) -> str:
    text = str(error)
    if found := re.search(r"\[Errno -?\d+\] ([^'\")]+)", text):
        return f"could not be reached ({found[1].strip()})"
    if found := re.search(r"IncompleteRead\((\d+) bytes read, (\d+) more expected\)", text):
        return f"broke off {int(found[2]):,} bytes before the end"
    if "IncompleteRead" in text:
        return "broke off"
    return f"could not be read ({type(error).__name__})"


def _refuse_page(headers: CaseInsensitiveDict[str], first: bytes) -> None:
    """A page that says sorry comes with status 200."""
    kind = headers.get("Content-Type", "").split(";")[0].strip().lower()
    beginning = first[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")
    if kind not in ("text/html", "application/xhtml+xml") and not beginning.startswith(b"<"):
        return
    text = beginning.decode("utf-8", "replace")
    title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
    words = " ".join((title[1] if title else re.sub(r"<[^>]*>", " ", text)).split())[:80]
    printable = "".join(letter for letter in words if letter.isprintable())
    raise RefusedError(f"answered with an HTML page instead of the file ({printable!r})")

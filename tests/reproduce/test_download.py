"""Downloads against a server on this machine that misbehaves in every way the real ones do."""

from __future__ import annotations

import errno
import hashlib
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from predict_diff.errors import ConfigurationError, DownloadError
from reproduce import transfer
from reproduce.download import fetch
from reproduce.transfer import RemoteFile

CONTENT = np.random.default_rng(1).bytes(300_000)
OTHER = np.random.default_rng(2).bytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()

Answer = Callable[["Request"], None]


class Request(http.server.BaseHTTPRequestHandler):
    """Hands each request to the answer that the test has put at that path."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self.server.seen.append(dict(self.headers))
        self.close_connection = True
        answer = self.server.answers.get(self.path)
        if answer is None:
            self.send_error(404)
        else:
            answer(self)

    def reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.send(body)

    def send(self, body: bytes) -> None:
        try:
            # Counted first: the client may be done before this thread goes on.
            self.server.sent += len(body)
            self.wfile.write(body)
        except OSError:
            pass  # the client has had enough

    def log_message(self, format: str, *arguments: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.answers: dict[str, Answer] = {}
        self.seen: list[dict[str, str]] = []
        self.sent = 0
        self.closing = threading.Event()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.delenv("PREDICT_DIFF_MIRROR", raising=False)
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.closing.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def wanted(tmp_path: Path, server: Server) -> RemoteFile:
    """The file net.caffemodel, which the server has at /net.caffemodel."""
    return RemoteFile(tmp_path / "net.caffemodel", (server.url("/net.caffemodel"),), len(CONTENT), SHA256)


def whole(body: bytes, **headers: str) -> Answer:
    def answer(request: Request) -> None:
        request.reply(200, {"Content-Length": str(len(body)), **headers}, body)

    return answer


def ranged(body: bytes, tag: str, breaks_after: int | None = None) -> Answer:
    """A server that knows Range and If-Range; the first, whole answer may break off."""

    def answer(request: Request) -> None:
        start = 0
        if "Range" in request.headers and request.headers["If-Range"] == tag:
            start = int(request.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        headers = {"Content-Length": str(len(body) - start), "ETag": tag}
        if start:
            request.reply(206, headers | {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"}, body[start:])
        else:
            request.reply(200, headers, body[:breaks_after])

    return answer


def files(wanted: RemoteFile) -> set[str]:
    return {path.name for path in wanted.path.parent.iterdir()}


def test_a_good_file_arrives_under_its_name_and_alone(server: Server, wanted: RemoteFile) -> None:
    server.answers["/net.caffemodel"] = whole(CONTENT)
    assert fetch(wanted) == wanted.path
    assert wanted.path.read_bytes() == CONTENT
    assert files(wanted) == {"net.caffemodel"}


def test_a_file_of_another_hash_is_deleted(server: Server, wanted: RemoteFile) -> None:
    server.answers["/net.caffemodel"] = whole(OTHER)
    with pytest.raises(DownloadError, match=hashlib.sha256(OTHER).hexdigest()) as error:
        fetch(wanted)
    assert SHA256 in str(error.value)
    assert "\n" not in str(error.value)
    assert files(wanted) == set()


def test_a_file_of_another_size_is_not_downloaded(server: Server, wanted: RemoteFile) -> None:
    server.answers["/net.caffemodel"] = whole(CONTENT[:1000])
    with pytest.raises(DownloadError, match="announces 1,000 bytes, expected 300,000"):
        fetch(wanted)
    assert files(wanted) == set()


def test_a_truncated_file_does_not_get_the_name(server: Server, wanted: RemoteFile) -> None:
    server.answers["/net.caffemodel"] = lambda request: request.reply(
        200, {"Content-Length": str(len(CONTENT))}, CONTENT[:1000]
    )
    with pytest.raises(DownloadError, match="broke off"):
        fetch(wanted)
    assert files(wanted) == set()


def test_a_truncated_file_of_unannounced_size_does_not_get_the_name(server: Server, wanted: RemoteFile) -> None:
    server.answers["/net.caffemodel"] = lambda request: request.reply(200, {}, CONTENT[:1000])
    with pytest.raises(DownloadError, match="broke off after 1,000 of 300,000 bytes"):
        fetch(wanted)
    assert files(wanted) == set()


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/octet-stream"])
def test_a_page_with_status_200_is_told_from_the_file(server: Server, wanted: RemoteFile, kind: str) -> None:
    page = b"\n<html><head><title>Down for\nmaintenance</title></head></html>"
    server.answers["/net.caffemodel"] = whole(page, **{"Content-Type": kind})
    with pytest.raises(DownloadError, match=r"HTML page .*'Down for maintenance'"):
        fetch(wanted)
    assert files(wanted) == set()


def test_after_a_page_the_next_address_is_tried(server: Server, wanted: RemoteFile) -> None:
    server.answers["/page"] = whole(b"<html>", **{"Content-Type": "text/html"})
    server.answers["/net.caffemodel"] = whole(CONTENT)
    urls = (server.url("/missing"), server.url("/page"), server.url("/net.caffemodel"))
    assert fetch(RemoteFile(wanted.path, urls, wanted.size, wanted.sha256)).read_bytes() == CONTENT


def test_the_message_tells_what_every_address_said_and_where_the_file_goes(server: Server, tmp_path: Path) -> None:
    server.answers["/page"] = whole(b"<html>", **{"Content-Type": "text/html"})
    urls = (server.url("/missing"), server.url("/page"), "http://127.0.0.1:1/net.caffemodel")
    with pytest.raises(DownloadError) as error:
        fetch(RemoteFile(tmp_path / "net.caffemodel", urls, 10, SHA256))
    message = str(error.value)
    assert "\n" not in message
    assert f"{urls[0]} answered HTTP 404" in message
    assert f"{urls[1]} answered with an HTML page" in message
    assert f"{urls[2]} could not be reached (Connection refused)" in message
    assert str(tmp_path) in message


def test_a_server_that_falls_silent_is_given_up(server: Server, wanted: RemoteFile) -> None:
    def silent(request: Request) -> None:
        request.reply(200, {"Content-Length": str(len(CONTENT))}, CONTENT[:10])
        server.closing.wait(10)

    server.answers["/net.caffemodel"] = silent
    with pytest.raises(DownloadError, match=r"timed out: nothing arrived for 0\.2 s"):
        fetch(wanted, read_timeout=0.2)
    assert files(wanted) == set()


def test_a_server_that_only_drips_is_given_up(server: Server, wanted: RemoteFile) -> None:
    def dripping(request: Request) -> None:
        request.reply(200, {"Content-Length": str(len(CONTENT))}, b"")
        for byte in CONTENT:
            request.send(bytes([byte]))
            if server.closing.wait(0.02):
                return

    server.answers["/net.caffemodel"] = dripping
    with pytest.raises(DownloadError, match="stalled"):
        fetch(wanted, read_timeout=0.2)
    assert files(wanted) == set()


def test_a_broken_download_goes_on_where_it_broke(server: Server, wanted: RemoteFile) -> None:
    server.answers["/net.caffemodel"] = ranged(CONTENT, '"v1"', breaks_after=100_000)
    assert fetch(wanted).read_bytes() == CONTENT
    assert [request.get("Range") for request in server.seen] == [None, "bytes=100000-"]
    assert server.seen[1]["If-Range"] == '"v1"'
    assert server.sent == len(CONTENT)
    assert files(wanted) == {"net.caffemodel"}


def test_a_later_call_goes_on_where_an_earlier_one_broke(
    server: Server, wanted: RemoteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers["/net.caffemodel"] = ranged(CONTENT, '"v1"', breaks_after=100_000)
    with monkeypatch.context() as once:
        once.setattr(transfer, "ATTEMPTS", 1)
        with pytest.raises(DownloadError, match="100,000 bytes are kept, run again"):
            fetch(wanted)
    assert not wanted.path.exists()
    assert fetch(wanted).read_bytes() == CONTENT
    assert server.sent == len(CONTENT)


def test_a_file_that_changed_meanwhile_is_not_spliced(
    server: Server, wanted: RemoteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "ATTEMPTS", 1)
    server.answers["/net.caffemodel"] = ranged(OTHER, '"old"', breaks_after=100_000)
    with pytest.raises(DownloadError):
        fetch(wanted)
    server.answers["/net.caffemodel"] = ranged(CONTENT, '"new"')
    assert fetch(wanted).read_bytes() == CONTENT
    assert server.seen[1]["If-Range"] == '"old"'


def test_a_server_that_ignores_ranges_sends_the_whole_file_again(server: Server, wanted: RemoteFile) -> None:
    answers = iter([ranged(CONTENT, '"v1"', breaks_after=100_000), whole(CONTENT)])
    server.answers["/net.caffemodel"] = lambda request: next(answers)(request)
    assert fetch(wanted).read_bytes() == CONTENT
    assert server.seen[1]["Range"] == "bytes=100000-"


def test_a_range_that_was_not_asked_for_is_not_appended(server: Server, wanted: RemoteFile) -> None:
    def wrong_range(request: Request) -> None:
        request.reply(206, {"Content-Length": "5", "Content-Range": "bytes 7-11/300000"}, b"wrong")

    answers = iter([ranged(CONTENT, '"v1"', breaks_after=100_000), wrong_range, whole(CONTENT)])
    server.answers["/net.caffemodel"] = lambda request: next(answers)(request)
    assert fetch(wanted).read_bytes() == CONTENT


def test_an_address_that_is_down_for_now_does_not_cost_what_has_arrived(
    server: Server, wanted: RemoteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "ATTEMPTS", 1)
    page = whole(b"<html>", **{"Content-Type": "text/html"})
    for answer in (ranged(CONTENT, '"v1"', breaks_after=100_000), lambda request: request.send_error(503), page):
        server.answers["/net.caffemodel"] = answer
        with pytest.raises(DownloadError, match="100,000 bytes are kept"):
            fetch(wanted)
    assert wanted.part.stat().st_size == 100_000


def test_a_part_that_is_already_whole_needs_no_server(wanted: RemoteFile) -> None:
    wanted.part.write_bytes(CONTENT)
    assert fetch(RemoteFile(wanted.path, (), wanted.size, wanted.sha256)).read_bytes() == CONTENT
    assert files(wanted) == {"net.caffemodel"}


@pytest.mark.parametrize("origin", ["", "[]", "{}", '{"url": 1}', "\x00", json.dumps({"validator": "a\r\nHost: b"})])
def test_a_part_of_unknown_origin_is_not_continued(server: Server, wanted: RemoteFile, origin: str) -> None:
    server.answers["/net.caffemodel"] = ranged(CONTENT, '"v1"')
    wanted.part.write_bytes(OTHER[:100])
    wanted.part_origin.write_text(origin)
    assert fetch(wanted).read_bytes() == CONTENT
    assert "Range" not in server.seen[0]


def test_more_than_announced_is_not_taken(server: Server, wanted: RemoteFile) -> None:
    server.answers["/net.caffemodel"] = whole(CONTENT + b"more")
    with pytest.raises(DownloadError, match="announces 300,004 bytes"):
        fetch(wanted)


def test_an_endless_file_is_cut_off(server: Server, wanted: RemoteFile) -> None:
    def endless(request: Request) -> None:
        request.reply(200, {"ETag": '"v1"'}, b"")
        while not server.closing.is_set() and server.sent < 100 * len(CONTENT):
            request.send(CONTENT)

    server.answers["/net.caffemodel"] = endless
    with pytest.raises(DownloadError, match="more than 300,000 bytes; it was cut off"):
        fetch(wanted)
    assert files(wanted) == set()


def test_a_file_of_unknown_size_is_bounded(server: Server, tmp_path: Path) -> None:
    server.answers["/a.tar.gz"] = whole(CONTENT)
    small = RemoteFile(tmp_path / "a.tar.gz", (server.url("/a.tar.gz"),), at_most=1000)
    with pytest.raises(DownloadError, match="announces 300,000 bytes, expected at most 1,000"):
        fetch(small)
    assert fetch(RemoteFile(small.path, small.urls, at_most=10**6)).read_bytes() == CONTENT


def test_a_mirror_is_tried_first(server: Server, wanted: RemoteFile) -> None:
    server.answers["/mirror/net.caffemodel"] = whole(CONTENT)
    assert fetch(wanted, mirror=server.url("/mirror/")).read_bytes() == CONTENT
    assert len(server.seen) == 1


def test_the_environment_names_a_mirror(server: Server, wanted: RemoteFile, monkeypatch: pytest.MonkeyPatch) -> None:
    server.answers["/mirror/net.caffemodel"] = whole(CONTENT)
    monkeypatch.setenv("PREDICT_DIFF_MIRROR", server.url("/mirror"))
    assert fetch(wanted).read_bytes() == CONTENT


@pytest.mark.parametrize("as_address", [False, True])
def test_a_folder_can_be_a_mirror(wanted: RemoteFile, tmp_path: Path, as_address: bool) -> None:
    folder = tmp_path / "my mirror"
    folder.mkdir()
    (folder / "net.caffemodel").write_bytes(CONTENT)
    mirror = folder.as_uri() if as_address else str(folder)
    assert fetch(wanted, mirror=mirror).read_bytes() == CONTENT
    assert (folder / "net.caffemodel").read_bytes() == CONTENT


def test_a_mirror_without_the_file_is_no_obstacle(server: Server, wanted: RemoteFile, tmp_path: Path) -> None:
    server.answers["/net.caffemodel"] = whole(CONTENT)
    assert fetch(wanted, mirror=str(tmp_path / "nowhere")).read_bytes() == CONTENT


def test_a_wrong_file_on_a_mirror_is_refused(server: Server, wanted: RemoteFile, tmp_path: Path) -> None:
    folder = tmp_path / "mirror"
    folder.mkdir()
    (folder / "net.caffemodel").write_bytes(OTHER)
    with pytest.raises(DownloadError, match="another file"):
        fetch(wanted, mirror=str(folder))
    assert not wanted.path.exists()


def test_other_protocols_are_refused(wanted: RemoteFile) -> None:
    with pytest.raises(ConfigurationError, match="ftp://"):
        fetch(wanted, mirror="ftp://somewhere")


def test_a_redirect_to_another_protocol_is_refused(server: Server, wanted: RemoteFile) -> None:
    server.answers["/net.caffemodel"] = lambda request: request.reply(302, {"Location": "file:///etc/passwd"}, b"")
    with pytest.raises(DownloadError, match="could not be read"):
        fetch(wanted)


def test_a_full_disk_ends_it_at_once(server: Server, wanted: RemoteFile, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    server.answers["/net.caffemodel"] = whole(CONTENT)
    monkeypatch.setattr(transfer.Transfer, "_write", full)
    with pytest.raises(DownloadError, match="No space left on device"):
        fetch(wanted)
    assert not wanted.path.exists()

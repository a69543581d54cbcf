"""What strangers' photos, configurations, archives and servers cannot make the program do."""

from __future__ import annotations

import ast
import gzip
import hashlib
import http.server
import io
import json
import re
import struct
import subprocess
import sys
import tarfile
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydantic import Field
from tiny_home import PROJECT, add_network, tiny_weights

from predict_diff.errors import ConfigurationError, ConversionError, DownloadError, ImageError
from reproduce import mean_image, networks
from reproduce.card import Archive, read_card
from reproduce.decoding import decode
from reproduce.download import fetch
from reproduce.inside import inside
from reproduce.redirects import follows
from reproduce.transfer import RemoteFile
from reproduce.validation import Strict, read_yaml, with_fields

# --- photos -------------------------------------------------------------------------------------------------------


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(side: int, *chunks: bytes, colour: int = 6, channels: int = 4) -> bytes:
    """A PNG of zeros, with some chunks before its picture."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, colour, 0, 0, 0))
    rows = chunk(b"IDAT", zlib.compress(bytes((1 + channels * side) * side), 9))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + rows + chunk(b"IEND", b"")


def segment(marker: int, body: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body


def scans(count: int) -> bytes:
    """A progressive JPEG that passes over its picture so many times more."""
    content = encoded(Image.new("RGB", (64, 64)), "JPEG", progressive=True)
    last = content[content.rindex(b"\xff\xda") : -2]
    return content[:-2] + last * count + content[-2:]


def jpeg_with(*segments: bytes) -> bytes:
    content = encoded(Image.new("RGB", (8, 8)), "JPEG")
    return content[:2] + b"".join(segments) + content[2:]


def jpeg2000_of_small_blocks(side: int) -> bytes:
    """Its header says that blocks of 4 x 4 pixels, hundreds of bytes each to its decoder, make up the picture."""
    content = bytearray(encoded(Image.new("RGB", (side, side)), "JPEG2000", no_jp2=True))
    place = content.index(b"\xff\x52")
    content[place + 10 : place + 12] = b"\0\0"
    return bytes(content)


def tiff_of_strips(count: int) -> bytes:
    """A strip for each pixel, which is a Python object each to Pillow."""
    far = 8 + 2 + 12 * 9 + 4
    entries = [(256, 1, 1), (257, 1, count), (258, 1, 8), (259, 1, 1), (262, 1, 1), (273, count, far), (277, 1, 1)]
    entries += [(278, 1, 1), (279, count, far)]
    directory = b"".join(struct.pack("<HHLL", tag, 4, number, value) for tag, number, value in entries)
    return b"II*\0" + struct.pack("<LH", 8, len(entries)) + directory + bytes(4 + 4 * count)


TEXT = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(1 << 27), 9))
PROFILE = chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes((1 << 20) - 1), 9))
LARGE_EXIF = segment(0xE1, b"Exif\0\0" + bytes(65_000)) * 300

BOMBS = {
    "text of a PNG that unpacks to more than a megabyte": lambda: png(8, TEXT),
    "many texts": lambda: png(8, *[chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes((1 << 20) - 1), 9))] * 70),
    "many colour profiles": lambda: png(8, *[PROFILE] * 2000),
    "many chunks": lambda: png(8, chunk(b"abCd", b"") * 300_000),
    "many scans": lambda: scans(5000),
    "large EXIF in pieces": lambda: jpeg_with(LARGE_EXIF),
    "many comments": lambda: jpeg_with(segment(0xFE, b"") * 6000),
    "small blocks": lambda: jpeg2000_of_small_blocks(3500),
    "a frame larger than the picture": lambda: gif_of_a_large_frame(),
}


def gif_of_a_large_frame() -> bytes:
    content = bytearray(encoded(Image.new("P", (8, 8)), "GIF"))
    place = content.index(b"\x2c")
    content[place + 5 : place + 9] = b"\xff\xff\xff\xff"
    return bytes(content)


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_picture_made_to_exhaust_the_machine_ends_in_one_line(bomb: str) -> None:
    with pytest.raises(ImageError) as caught:
        decode(io.BytesIO(BOMBS[bomb]()), "photo")
    assert str(caught.value).startswith("photo: expected ")
    assert str(caught.value).isprintable()


HONEST = {
    "a progressive JPEG": lambda: scans(0),
    "a JPEG of unusually many scans": lambda: scans(80),
    "a large colour profile": lambda: png(8, PROFILE),
    "a JPEG with a large colour profile": lambda: jpeg_with(
        *(segment(0xE2, b"ICC_PROFILE\0" + bytes([number, 20]) + bytes(60_000)) for number in range(1, 21))
    ),
    "a camera's EXIF with a thumbnail": lambda: jpeg_with(
        segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0" + scans(0)[:60_000])
    ),
    "a TIFF of a strip a row": lambda: tiff_of_strips(3000),
    "an animation of a thousand frames": lambda: encoded(
        Image.new("L", (8, 8)),
        "GIF",
        save_all=True,
        append_images=[Image.new("L", (8, 8), number % 256) for number in range(1000)],
    ),
    "many pictures in a JPEG": lambda: encoded(
        Image.new("RGB", (8, 8)), "MPO", save_all=True, append_images=[Image.new("RGB", (8, 8))] * 120
    ),
}


@pytest.mark.parametrize("picture", HONEST)
def test_honest_pictures_of_the_same_kinds_are_read(picture: str) -> None:
    pixels, _ = decode(io.BytesIO(HONEST[picture]()), "photo")
    assert pixels.ndim == 3


PEAK = """
import io, sys
from reproduce.decoding import decode
def peak():
    return max(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) * 1024
content = io.BytesIO(sys.stdin.buffer.read())
before = peak()
decode(content, "photo")
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's account of memory")
def test_a_transparent_picture_takes_hardly_more_memory_than_its_pixels() -> None:
    side = 3000
    done = subprocess.run(
        [sys.executable, "-c", PEAK], input=png(side), capture_output=True, cwd=PROJECT, check=True, timeout=60
    )
    # 12 bytes are the result's and 4 Pillow's; the rest is for one square and what Python keeps.
    assert int(done.stdout) < 16 * side**2 + 6e7


# --- YAML ---------------------------------------------------------------------------------------------------------


class Fields(Strict):
    number: int = 0
    words: dict[str, int] = Field(default_factory=dict)


WRONG_YAML = {
    "an alias": ("number: &a 1\nwords: {a: *a}\n", ":2: expected YAML; found an alias"),
    "a merge key": ("words:\n  <<: {a: 1}\n", ":2: expected YAML; found a merge key"),
    "a merge of a list": ("words: {<<: [{a: 1}]}\n", ":1: expected YAML; found a merge key"),
    "a key twice": ("words: {a: 1, 'a': 2}\n", ":1: expected YAML; found 'a' twice"),
    "a number twice": ("1: 1\n0x1: 2\n", ":2: expected YAML; found 1 twice"),
    "depth": ("words: " + "[" * 1000, ":1: expected YAML; found more than 20 levels"),
    "size": ("#" * (1 << 19), "at most 262144 bytes"),
    "an endless number": ("number: " + "9" * 200_000, "a whole number of 200,000 characters"),
    "an endless hexadecimal number": ("number: 0x" + "f" * 200_000, "a whole number of 200,002 characters"),
    "an endless number of base 60": ("number: 1" + ":59" * 50_000, "a whole number of 150,001 characters"),
    "a date for a number": ("number: 2001-12-14\n", ":1: number: expected a valid integer"),
    "a date that is none": ("number: 2001-13-45\n", "month"),
    "bytes": ("number: !!binary aGk=\n", "what the tag 'tag:yaml.org,2002:binary' means"),
    "a set": ("words: !!set {a, b}\n", "could not determine what the tag"),
    "a Python object": ("number: !!python/object/apply:os.system [id]\n", "could not determine what the tag"),
    "a null character": ("number: 1\0\n", "expected YAML"),
    "a name of two lines": ('"x\\ny": 1\n', ":1: x y: unknown field"),
    "a name that colours the terminal": ('"\\e[31mx": 1\n', r":1: \?\[31mx: unknown field"),
    "UTF-16": ("number: 1\n".encode("utf-16"), "UTF-8"),
    "UTF-16 without a mark": ("number: 1\n".encode("utf-16-le"), "expected YAML"),
    "Latin-1": ("words: {\xe4: 1}".encode("latin-1"), "UTF-8"),
    "two documents": ("number: 1\n---\nnumber: 2\n", "expected YAML; "),
}


@pytest.mark.parametrize("wrong", WRONG_YAML)
def test_yaml_that_is_more_than_it_seems_ends_in_one_line(tmp_path: Path, wrong: str) -> None:
    text, words = WRONG_YAML[wrong]
    path = tmp_path / "figure.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigurationError, match=words) as caught:
        read_yaml(path, Fields)
    assert str(caught.value).startswith(str(path))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 800


@pytest.mark.parametrize("value", ["&a [*a]", "0x" + "f" * 9000, "!!binary aGk=", "{<<: {a: 1}}", "{a: 1, a: 2}"])
def test_the_same_holds_for_a_field_on_the_command_line(value: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^set number") as caught:
        with_fields(Fields(), [f"number={value}"])
    assert str(caught.value).isprintable()


def test_a_mark_of_utf_8_is_no_part_of_the_text(tmp_path: Path) -> None:
    path = tmp_path / "figure.yaml"
    path.write_bytes(b"\xef\xbb\xbfnumber: 5\n")
    assert read_yaml(path, Fields).number == 5


# --- paths --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["map.h5", "a/b/c.txt", "a..b", "ä.txt", "a b", "-x", ".hidden", "CON1"])
def test_a_name_stays_in_its_folder(tmp_path: Path, name: str) -> None:
    assert inside(tmp_path, name, "field") == tmp_path / name


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            "/etc/passwd",
            "..",
            "../x",
            "a/../../x",
            "a/..",
            ".",
            "a//b",
            "a/",
            "a\0b",
            "a\nb",
            "\x1b[31m",
            "a" * 256,
        ),
        *(
            "C:x",
            "C:/x",
            "\\\\server\\x",
            "a\\..\\b",
            "x:stream",
            "nul",
            "COM1.txt",
            "a/aux.h5",
            "x.",
            "x ",
            "*",
            "\ud800",
        ),
    ],
)
def test_a_name_that_could_leave_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^study\.yaml: out: expected a name within ") as caught:
        inside(tmp_path, name, "study.yaml: out")
    assert str(caught.value).isprintable()


def test_a_link_may_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "own").mkdir(parents=True)
    (folder / "out").symlink_to(tmp_path)
    (folder / "within").symlink_to(folder / "own")
    (folder / "loop").symlink_to(folder / "loop")
    assert inside(folder, "within/x", "field") == folder / "within" / "x"
    for name in ("out", "out/x", "loop"):
        with pytest.raises(ConfigurationError, match="a link that leads out of it"):
            inside(folder, name, "field")
    assert inside(folder, "out/x", "field", links=True) == folder / "out" / "x"
    (tmp_path / "other").symlink_to(folder)
    assert inside(tmp_path / "other", "own", "field") == tmp_path / "other" / "own"


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("labels", "../labels.txt"),
        ("labels", "/etc/passwd"),
        ("file", "../net.caffemodel"),
        ("file", "a\\b"),
        ("file", "nul"),
    ],
)
def test_a_card_names_no_file_outside_its_folders(home: Path, field: str, name: str) -> None:
    path = home / "models" / "tiny" / "model.yaml"
    before = {"labels": "labels: data/tiny_labels.txt", "file": "file: tiny.caffemodel"}[field]
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, f"{field}: {json.dumps(name)}"))
    with pytest.raises(ConfigurationError, match=f"model.yaml:[0-9]+: .*{field}: expected the name of a file"):
        read_card(path)


def test_labels_are_read_over_no_link_but_weights_may_lie_elsewhere(home: Path, tmp_path: Path) -> None:
    (home / "data" / "tiny_labels.txt").rename(tmp_path / "labels.txt")
    (home / "data" / "tiny_labels.txt").symlink_to(tmp_path / "labels.txt")
    card = read_card(home / "models" / "tiny" / "model.yaml")
    with pytest.raises(ConfigurationError, match=r"labels: expected a name within .*, found a link that leads out"):
        _ = card.labels_path
    card.weights_path.rename(tmp_path / "weights")
    card.weights_path.symlink_to(tmp_path / "weights")
    assert networks.find_weights("tiny") == card.weights_path


# --- hashes -------------------------------------------------------------------------------------------------------


def test_weights_exchanged_after_they_were_checked_are_not_parsed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = add_network(home, "exchanged")
    obtain = networks.obtain_weights

    def exchange(name: str) -> Path:
        path = obtain(name)
        path.write_bytes(tiny_weights(seed=1))
        return path

    monkeypatch.setattr(networks, "obtain_weights", exchange)
    monkeypatch.setattr("predict_diff.caffe.reader.Wire", lambda *_: pytest.fail("parsed"))
    with pytest.raises(ConversionError, match=r"expected .* with SHA-256 .*; it was not read"):
        networks.onnx_path("exchanged")
    assert not list(folder.glob("*.onnx"))


def test_an_archive_of_large_headers_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    header = tarfile.TarInfo("header")
    header.type, header.size = tarfile.XHDTYPE, 1 << 28
    with gzip.open(path, "wb", 1) as file:
        file.write(header.tobuf(tarfile.USTAR_FORMAT))
        for _ in range(header.size >> 20):
            file.write(bytes(1 << 20))
    archive = Archive(file="a.tar.gz", member="mean", at_most_bytes=1 << 26, urls=("http://127.0.0.1:1/a.tar.gz",))
    with pytest.raises(DownloadError, match="expected at most 134,217,728 bytes in it"):
        mean_image._member(path, archive, 1 << 20)


# --- downloads ----------------------------------------------------------------------------------------------------

CONTENT = b"weights" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Has the file at /net, and redirects every other path to `target`."""

    target = "/net"
    asked = 0

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked += 1
        found = self.path == "/net"
        self.send_response(200 if found else 302)
        self.send_header("Content-Length", str(len(CONTENT) if found else 0))
        if not found:
            self.send_header("Location", self.server.target)
        self.end_headers()
        if found:
            self.wfile.write(CONTENT)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


def serving() -> Server:
    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    return server


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Server, Server]]:
    """One that is listed, and another."""
    monkeypatch.delenv("PREDICT_DIFF_MIRROR", raising=False)
    both = serving(), serving()
    yield both
    for server in both:
        server.shutdown()
        server.server_close()


def wanted(folder: Path, *urls: str) -> RemoteFile:
    return RemoteFile(folder / "net", urls, len(CONTENT), SHA256)


def test_a_redirect_on_the_same_server_is_followed(servers: tuple[Server, Server], tmp_path: Path) -> None:
    assert fetch(wanted(tmp_path, servers[0].url("/moved"))).read_bytes() == CONTENT
    assert servers[0].asked == 2


def test_a_redirect_to_another_server_is_not_followed_unless_it_is_listed(
    servers: tuple[Server, Server], tmp_path: Path
) -> None:
    listed, other = servers
    listed.target = other.url("/net")
    with pytest.raises(DownloadError, match=r"redirects to .* not among the addresses listed") as caught:
        fetch(wanted(tmp_path, listed.url("/moved")))
    assert str(caught.value).isprintable()
    assert other.asked == 0
    assert fetch(wanted(tmp_path, listed.url("/moved"), other.url("/nowhere"))).read_bytes() == CONTENT


def test_a_mirror_may_not_redirect_to_this_machine_s_services(servers: tuple[Server, Server], tmp_path: Path) -> None:
    mirror, service = servers
    mirror.target = service.url("/net")
    with pytest.raises(DownloadError, match="redirects to"):
        fetch(wanted(tmp_path, "http://127.0.0.1:1/net"), mirror=mirror.url("/mirror"))
    assert service.asked == 0


def test_redirects_end(servers: tuple[Server, Server], tmp_path: Path) -> None:
    servers[0].target = "/round"
    with pytest.raises(DownloadError, match="redirects more than 5 times"):
        fetch(wanted(tmp_path, servers[0].url("/round")))


LISTED = ("http://university.edu/net",)


@pytest.mark.parametrize(
    ("where", "target", "followed", "from_mirror"),
    [
        ("http://university.edu/net", "http://university.edu/~caffe/net", True, True),
        ("http://university.edu/net", "https://university.edu/net", True, True),
        ("http://university.edu/net", "https://UNIVERSITY.edu:443/net", True, True),
        ("https://university.edu/net", "http://university.edu/net", False, False),
        ("http://university.edu/net", "http://university.edu:8080/net", False, False),
        ("http://university.edu:8080/net", "https://university.edu:8443/net", False, True),
        ("http://university.edu/net", "https://elsewhere.org/net", False, True),
        ("http://university.edu/net", "http://elsewhere.org/net", False, False),
        ("http://university.edu/net", "http://university.edu.elsewhere.org/net", False, False),
        ("http://university.edu/net", "http://university.edu@elsewhere.org/net", False, False),
        ("http://university.edu/net", "http://127.0.0.1/net", False, False),
        ("http://university.edu/net", "http://169.254.169.254/latest/meta-data", False, False),
        ("http://university.edu/net", "http://[::1]/net", False, False),
        ("http://university.edu/net", "file:///etc/passwd", False, False),
        ("http://university.edu/net", "ftp://university.edu/net", False, False),
        ("http://university.edu/net", "http://[", False, False),
        ("http://university.edu/net", "http://university.edu:99999999/net", False, False),
    ],
)
def test_which_redirects_are_followed(where: str, target: str, followed: bool, from_mirror: bool) -> None:
    assert follows(where, target, LISTED) == followed
    assert follows(where, target, LISTED, anywhere=True) == from_mirror


def test_what_has_arrived_is_not_written_through_a_link(servers: tuple[Server, Server], tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_text("mine")
    file = wanted(tmp_path, servers[0].url("/net"))
    file.part.symlink_to(mine)
    assert fetch(file).read_bytes() == CONTENT
    assert mine.read_text() == "mine"
    assert not file.path.is_symlink()


# --- the code itself ----------------------------------------------------------------------------------------------

SOURCES = [
    path
    for package in ("predict_diff", "reproduce")
    for path in sorted((PROJECT / package).rglob("*.py"))
    if path.name != "caffe_pb2.py"  # generated
]

#: What runs what it reads, or makes a name that another may take first.
FORBIDDEN = {
    *("eval", "exec", "compile", "__import__", "os.system", "os.popen", "subprocess.getoutput", "tempfile.mktemp"),
    *("yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load", "pickle.load", "pickle.loads"),
    *("pickle.Unpickler", "marshal.load", "marshal.loads", "shelve.open", "joblib.load", "torch.load"),
}
MODULES = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "imp"}

#: Reads .pth files whose hash it has compared, with an unpickler that admits nothing that could act.
UNPICKLES = "torch_file.py"


def dotted(node: ast.AST) -> str:
    """``a.b.c`` of a name or an attribute of one."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def offences(tree: ast.AST, unpickles: bool = False) -> list[str]:
    """What in a module could run what it reads, or checks only as long as Python is not told to hurry."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            settings = {word.arg: word.value for word in node.keywords}
            shell, pickled = (settings.get(name, ast.Constant(False)) for name in ("shell", "allow_pickle"))
            if dotted(node.func) in FORBIDDEN:
                found.append(dotted(node.func))
            if not (isinstance(shell, ast.Constant) and shell.value is False):
                found.append("shell")
            if not (isinstance(pickled, ast.Constant) and pickled.value is False):
                found.append("allow_pickle")
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            found += [name for name in names if name.split(".")[0] in MODULES and not unpickles]
        elif isinstance(node, ast.Assert):
            found.append("assert")
    return found


def test_all_sources_are_looked_at() -> None:
    assert {"reader.py", "torch_file.py", "validation.py", "cli.py"} <= {path.name for path in SOURCES}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PROJECT)))
def test_nothing_that_is_read_is_run(path: Path) -> None:
    assert offences(ast.parse(path.read_text(encoding="utf-8")), unpickles=path.name == UNPICKLES) == []


@pytest.mark.parametrize(
    "code",
    [
        *("eval('1')", "import pickle", "from pickle import load", "yaml.load(x)", "subprocess.run(x, shell=True)"),
        *("run(x, shell=y)", "numpy.load(x, allow_pickle=True)", "assert x", "tempfile.mktemp()", "os.system('x')"),
    ],
)
def test_what_is_looked_for_would_be_found(code: str) -> None:
    assert offences(ast.parse(code))


def test_every_dependency_is_bounded_above_and_below() -> None:
    tree = ast.parse((PROJECT / "setup.py").read_text(encoding="utf-8"))
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    packages = [text.split(";")[0].strip() for text in texts if re.match(r"[\w\[\],.-]+[=<>!~]=", text, re.ASCII)]
    assert len(packages) > 25
    assert [text for text in packages if "==" not in text and not (">=" in text and ",<" in text)] == []

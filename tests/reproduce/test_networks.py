"""Cards, weights and converted networks in models/."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml

from predict_diff.caffe import converter
from predict_diff.caffe.caffe_pb2 import BlobProto
from predict_diff.errors import ConfigurationError, ConversionError, DownloadError, NetworkError
from reproduce import home as home_folder
from reproduce import networks
from reproduce.random_weights import write_random_weights

PAPER = ["alexnet", "googlenet", "vgg16"]
EMBEDDED = ["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"]

DESCRIPTION = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 12 dim: 12 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: "fc" type: "InnerProduct" bottom: "conv1" top: "fc" inner_product_param { num_output: 5 } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""

MEAN = np.random.default_rng(0).uniform(0, 255, (3, 16, 16)).astype(np.float32)


class Tiny:
    """models/tiny in a folder of its own, with a mean image; its weights can be had at `weights`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "home" / "models" / "tiny"
        self.folder.mkdir(parents=True)
        self.mirror = folder / "mirror"
        self.mirror.mkdir()
        (self.folder / "deploy.prototxt").write_text(DESCRIPTION)
        self.weights = write_random_weights(self.folder / "deploy.prototxt", self.mirror / "tiny.caffemodel", 1)
        self.pack_mean("ilsvrc/imagenet_mean.binaryproto", binaryproto(MEAN))
        data = self.weights.read_bytes()
        address = "http://127.0.0.1:1"
        self.card: dict[str, Any] = {
            "name": "tiny",
            "title": "Tiny",
            "kind": "paper",
            "licence": "nobody's",
            "input_size": 12,
            "preprocessing": {
                "resize": "warp",
                "resize_to": 16,
                "raw_scale": 255,
                "channel_order": "BGR",
                "mean_image": {
                    "files": ["imagenet_mean.binaryproto", "ilsvrc_2012_mean.npy"],
                    "size": 16,
                    "channel_means": MEAN.mean((1, 2), dtype=np.float64).round(5).tolist(),
                    "archive": {
                        "file": "means.tar.gz",
                        "member": "imagenet_mean.binaryproto",
                        "at_most_bytes": 100_000,
                        "urls": [f"{address}/means.tar.gz"],
                    },
                },
            },
            "blobs": {
                "output": "prob",
                "penultimate": "fc",
                "convolutional": {"early": "conv1", "middle": "conv1", "last": "conv1"},
            },
            "labels": "data/labels.txt",
            "accuracy": {"top1": 20.0, "source": "chance"},
            "weights": {
                "file": "tiny.caffemodel",
                "bytes": len(data),
                "sha256": hashlib.sha256(data).hexdigest(),
                "urls": [f"{address}/tiny.caffemodel"],
            },
        }
        self.write_card()

    def write_card(self) -> None:
        (self.folder / "model.yaml").write_text(yaml.safe_dump(self.card))
        networks._card.cache_clear()

    def pack_mean(self, member: str, content: bytes, kind: bytes = tarfile.REGTYPE) -> None:
        with tarfile.open(self.mirror / "means.tar.gz", "w:gz") as archive:
            for name, data in (("./synset_words.txt", b"n01440764 tench"), (member, content)):
                entry = tarfile.TarInfo(name)
                entry.size, entry.type = len(data), kind if name == member else tarfile.REGTYPE
                archive.addfile(entry, io.BytesIO(data))

    def obtain(self) -> Path:
        return networks.obtain_weights("tiny", mirror=str(self.mirror))

    def files(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()} - {"model.yaml", "deploy.prototxt"}


def binaryproto(mean: np.ndarray) -> bytes:
    blob = BlobProto(num=1, channels=mean.shape[0], height=mean.shape[1], width=mean.shape[2])
    blob.data.extend(mean.ravel().tolist())
    return blob.SerializeToString()


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tiny:
    monkeypatch.setenv("PREDICT_DIFF_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PREDICT_DIFF_MIRROR", raising=False)
    return Tiny(tmp_path)


# ---- Home


def test_home_is_the_clone_unless_the_environment_names_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREDICT_DIFF_HOME", raising=False)
    assert (home_folder.root() / "reproduce" / "home.py").is_file()
    (tmp_path / "models").mkdir()
    monkeypatch.setenv("PREDICT_DIFF_HOME", str(tmp_path))
    assert home_folder.root() == tmp_path.resolve()
    monkeypatch.setenv("PREDICT_DIFF_HOME", str(tmp_path / "models"))
    with pytest.raises(ConfigurationError, match="PREDICT_DIFF_HOME"):
        home_folder.root()


# ---- Cards


@pytest.mark.parametrize("name", PAPER + EMBEDDED)
def test_every_network_has_a_card_and_a_description_that_agree(name: str) -> None:
    described = networks.card(name)
    text = described.description.read_text()
    assert f"dim: 1 dim: 3 dim: {described.input_size} dim: {described.input_size} " in text
    blobs = described.blobs
    for blob in (blobs.output, blobs.penultimate, *blobs.convolutional.model_dump().values()):
        assert f'top: "{blob}"' in text
    assert described.licence
    assert described.kind == ("paper" if name in PAPER else "embedded")


def test_the_names_are_those_of_the_folders() -> None:
    assert networks.names() == sorted(PAPER + EMBEDDED)


def test_an_embedded_network_stands_in_for_each_of_the_paper() -> None:
    assert [networks.stand_in(name) for name in PAPER] == EMBEDDED
    assert networks.stand_in("efficientnet_lite0") is None


def test_the_authors_of_vgg16_are_named() -> None:
    licence = networks.card("vgg16").licence
    assert all(words in licence for words in ("CC BY 4.0", "K. Simonyan", "A. Zisserman", "converted"))


def test_an_unknown_network_gives_the_closest_names() -> None:
    with pytest.raises(ConfigurationError, match=r"found 'AlexNe'.*did you mean 'alexnet'") as error:
        networks.card("AlexNe")
    assert "\n" not in str(error.value)
    with pytest.raises(ConfigurationError, match="expected one of"):
        networks.card("../alexnet")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda card: card.update(licens="x"), r"licens: unknown field \(did you mean 'licence'"),
        (
            lambda card: card["preprocessing"].update(resize_too=1),
            r"preprocessing\.resize_too: unknown field \(did you mean 'resize_to'",
        ),
        (
            lambda card: card["preprocessing"]["mean_image"]["archive"].update(url=1),
            r"preprocessing\.mean_image\.archive\.url: unknown field \(did you mean 'urls'",
        ),
        (lambda card: card.pop("title"), "title: missing"),
        (lambda card: card.update(input_size="big"), "input_size: .*found 'big'"),
        (lambda card: card.update(input_size=0), "input_size: .*found 0"),
        (lambda card: card["weights"].update(sha256="abc"), r"weights\.sha256: .*found 'abc'"),
        (lambda card: card["weights"].update(file="../../x"), r"weights\.file: expected the name of a file"),
        (lambda card: card["weights"].update(urls=["ftp://x/y"]), r"weights\.urls\.0: .*found 'ftp://x/y'"),
        (lambda card: card["weights"].update(urls=[]), "weights: expected either urls or a package"),
        (lambda card: card["preprocessing"].update(mean=[1, 2, 3]), "expected either mean or mean_image"),
        (lambda card: card.update(kind="embedded"), "from a package for an embedded network"),
        (lambda card: card.update(name="other"), "name: expected 'tiny', the name of the folder, found 'other'"),
    ],
)
def test_a_wrong_card_is_explained(tiny: Tiny, change: Callable[[dict[str, Any]], object], message: str) -> None:
    change(tiny.card)
    tiny.write_card()
    with pytest.raises(ConfigurationError, match=message) as error:
        networks.card("tiny")
    assert str(tiny.folder / "model.yaml") in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "- 1", "a: [", "\x00", "a: !!python/object/apply:os.getcwd []"])
def test_a_card_that_is_none_is_explained(tiny: Tiny, text: str) -> None:
    (tiny.folder / "model.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match=r"model\.yaml(:\d+)?: ") as error:
        networks.card("tiny")
    assert "\n" not in str(error.value)


# ---- Weights


def test_without_weights_the_network_says_what_to_do(tiny: Tiny) -> None:
    assert networks.find_weights("tiny") is None
    assert not networks.available("tiny")
    message = str(networks.obstacle("tiny"))
    assert "reproduce weights tiny" in message
    assert str(tiny.folder) in message
    with pytest.raises(NetworkError, match="reproduce weights tiny"):
        networks.onnx_path("tiny")


def test_without_a_mean_image_the_network_says_what_to_do(tiny: Tiny) -> None:
    shutil.copy(tiny.weights, tiny.folder)
    assert networks.find_weights("tiny") is not None
    assert "mean image" in str(networks.obstacle("tiny"))
    assert "imagenet_mean.binaryproto or ilsvrc_2012_mean.npy" in str(networks.obstacle("tiny"))
    with pytest.raises(NetworkError, match="mean image"):
        networks.preprocessing(networks.card("tiny"))


def test_weights_and_mean_image_are_fetched(tiny: Tiny) -> None:
    assert tiny.obtain().read_bytes() == tiny.weights.read_bytes()
    assert tiny.files() == {"tiny.caffemodel", "imagenet_mean.binaryproto"}
    assert networks.available("tiny")


def test_files_that_the_user_has_put_there_are_taken(tiny: Tiny) -> None:
    shutil.copy(tiny.weights, tiny.folder)
    np.save(tiny.folder / "ilsvrc_2012_mean.npy", MEAN.astype(np.float64))
    assert networks.obtain_weights("tiny") == tiny.folder / "tiny.caffemodel"
    assert networks.available("tiny")
    np.testing.assert_allclose(networks.preprocessing(networks.card("tiny")).mean, MEAN, rtol=1e-6)


@pytest.mark.parametrize(
    ("content", "found"),
    [(b"", "found 0 bytes;"), (b"<html>", "found 6 bytes, an HTML page;"), (None, "found SHA-256 [0-9a-f]{64};")],
)
def test_a_wrong_weights_file_is_refused_unread(tiny: Tiny, content: bytes | None, found: str) -> None:
    path = tiny.folder / "tiny.caffemodel"
    path.write_bytes(bytes(tiny.weights.stat().st_size) if content is None else content)
    wanted = tiny.card["weights"]
    message = rf"expected {wanted['bytes']:,} bytes with SHA-256 {wanted['sha256']}, {found} it was not read"
    for use in (networks.find_weights, networks.obtain_weights, networks.onnx_path):
        with pytest.raises(NetworkError, match=message):
            use("tiny")
    assert not networks.available("tiny")
    assert path.exists()


def test_a_folder_in_place_of_the_weights_is_refused(tiny: Tiny) -> None:
    (tiny.folder / "tiny.caffemodel").mkdir()
    with pytest.raises(NetworkError, match="found a folder"):
        networks.find_weights("tiny")


def test_weights_are_hashed_again_when_they_change(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tiny.obtain()
    digests: list[Path] = []
    original = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *a: digests.append(path) or original(*a))
    networks.find_weights("tiny")
    assert digests == []
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(0, 0))
    with pytest.raises(NetworkError):
        networks.find_weights("tiny")


# ---- Mean image


@pytest.mark.parametrize(
    ("mean", "message"),
    [
        (MEAN[:, :8], r"shape \(3, 16, 16\), found \(3, 8, 16\)"),
        (MEAN + 0.02, "expected channel means"),
        (MEAN[::-1], "expected channel means"),
    ],
)
def test_another_mean_image_is_refused(tiny: Tiny, mean: np.ndarray, message: str) -> None:
    tiny.pack_mean("imagenet_mean.binaryproto", binaryproto(mean))
    with pytest.raises(NetworkError, match=message):
        tiny.obtain()
    assert tiny.files() == {"tiny.caffemodel"}
    np.save(tiny.folder / "ilsvrc_2012_mean.npy", mean)
    with pytest.raises(NetworkError, match=message):
        tiny.obtain()
    assert not networks.available("tiny")


def test_a_member_is_taken_by_its_name_and_goes_nowhere_else(tiny: Tiny) -> None:
    tiny.pack_mean("../../../imagenet_mean.binaryproto", binaryproto(MEAN))
    tiny.obtain()
    assert tiny.files() == {"tiny.caffemodel", "imagenet_mean.binaryproto"}
    assert not (tiny.mirror.parent / "imagenet_mean.binaryproto").exists()


@pytest.mark.parametrize(
    ("member", "content", "kind", "message"),
    [
        ("other.binaryproto", b"", tarfile.REGTYPE, "found none"),
        ("imagenet_mean.binaryproto", b"", tarfile.SYMTYPE, "found none"),
        ("imagenet_mean.binaryproto", bytes(50_000), tarfile.REGTYPE, "expected at most 7,168 bytes, found 50,000"),
    ],
)
def test_an_archive_without_the_image_is_refused(
    tiny: Tiny, member: str, content: bytes, kind: bytes, message: str
) -> None:
    tiny.pack_mean(member, content, kind)
    with pytest.raises(DownloadError, match=message):
        tiny.obtain()
    assert tiny.files() == {"tiny.caffemodel"}


@pytest.mark.parametrize("damage", [lambda data: b"nothing", lambda data: data[:200], lambda data: b""])
def test_a_damaged_archive_is_refused(tiny: Tiny, damage: Callable[[bytes], bytes]) -> None:
    path = tiny.mirror / "means.tar.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DownloadError, match=r"means\.tar\.gz"):
        tiny.obtain()
    assert tiny.files() == {"tiny.caffemodel"}


# ---- Converted networks


def test_a_network_is_converted_once(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.obtain()
    path = networks.onnx_path("tiny")
    assert path.parent == tiny.folder
    model = onnx.load(path)
    assert [value.name for value in model.graph.input] == ["data"]
    assert {entry.key: entry.value for entry in model.metadata_props}["licence"] == "nobody's"
    monkeypatch.delattr(converter, "convert")
    assert networks.onnx_path("tiny") == path


def test_whatever_the_file_depends_on_changes_its_name_and_removes_the_old_one(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.obtain()
    bystander = tiny.folder / "tiny-mine.onnx"
    bystander.touch()
    seen = [networks.onnx_path("tiny")]
    monkeypatch.setattr(converter, "CONVERTER_VERSION", "next")
    seen.append(networks.onnx_path("tiny"))
    tiny.card["licence"] = "everybody's"
    tiny.write_card()
    seen.append(networks.onnx_path("tiny"))
    (tiny.folder / "deploy.prototxt").write_text(DESCRIPTION + "# changed\n")
    seen.append(networks.onnx_path("tiny"))
    assert len(set(seen)) == 4
    assert [path.exists() for path in seen] == [False, False, False, True]
    assert bystander.exists()


def test_a_failed_conversion_leaves_nothing_behind(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.obtain()
    before = tiny.files()
    (tiny.folder / "deploy.prototxt").write_text(DESCRIPTION.replace("num_output: 4", "num_output: 7"))
    with pytest.raises(ConversionError):
        networks.onnx_path("tiny")
    assert tiny.files() == before


@pytest.mark.parametrize("reason", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_a_folder_that_cannot_be_written_to_is_named(tiny: Tiny, monkeypatch: pytest.MonkeyPatch, reason: int) -> None:
    tiny.obtain()
    before = tiny.files()

    def fail(*_: object, **__: object) -> None:
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(tempfile, "mkstemp", fail)
    with pytest.raises(NetworkError, match=rf"tiny-\w+\.onnx: could not be written \({os.strerror(reason)}\)"):
        networks.onnx_path("tiny")
    assert tiny.files() == before


def test_a_damaged_packed_file_of_an_embedded_network_is_packed_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "models" / "efficientnet_lite0"
    folder.mkdir(parents=True)
    for name in ("model.yaml", "deploy.prototxt"):
        shutil.copy(networks.card("efficientnet_lite0").folder / name, folder)
    monkeypatch.setenv("PREDICT_DIFF_HOME", str(tmp_path))
    (folder / "efficientnet_lite0.caffemodel").write_bytes(b"half a file")
    assert networks.available("efficientnet_lite0")
    path = networks.obtain_weights("efficientnet_lite0")
    assert path.stat().st_size == networks.card("efficientnet_lite0").weights.bytes
    assert networks.onnx_path("efficientnet_lite0").exists()

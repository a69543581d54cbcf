"""HDF5 files from strangers, whose checksums are right: anyone can compute them."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from predict_diff.caffe.reader import read_weights
from predict_diff.errors import ConversionError, PredictDiffError, ResultError, SamplerError
from predict_diff.result import KIND, RelevanceMap
from predict_diff.samplers.statistics import FILE_KIND, GaussianStatistics
from predict_diff.sealed import SEAL_SIZE
from predict_diff.targets import Target
from predict_diff.windows import WindowGrid

#: 16 windows.
GRID = WindowGrid(8, 9, 3, 2)
SHAPE = (2, len(GRID))

Change = Callable[[h5py.File], object]


def seal(path: Path, kind: str) -> None:
    """Write the checksum that a file of this kind begins with."""
    content = bytearray(path.read_bytes())
    digest = hashlib.sha256(content[SEAL_SIZE:]).hexdigest()
    content[:SEAL_SIZE] = f"{kind}\nSHA-256 from byte {SEAL_SIZE}: {digest}".encode().ljust(SEAL_SIZE, b"\0")
    path.write_bytes(content)


def relevance_map(targets: int = 2, grid: WindowGrid = GRID, constant: bool = False) -> RelevanceMap:
    generator = np.random.default_rng(0)
    many = (targets, len(grid))
    relevance, known = (np.full(shape, 0.25) if constant else generator.normal(size=shape) for shape in (many, targets))
    return RelevanceMap(
        grid=grid,
        targets=tuple(Target("prob", (number,)) for number in range(targets)),
        measures=("WE",) * targets,
        known=known,
        expected=relevance,
        relevance=relevance,
        standard_error=np.abs(relevance),
        counts=np.ones(len(grid), np.int64),
        provenance={"seed": 0},
    )


def refused(path: Path, load: Callable[[Path], object], error: type[PredictDiffError], words: str) -> None:
    """Loading fails in one line, without taking memory for what the file claims."""
    tracemalloc.start()
    try:
        with pytest.raises(error, match=words) as caught:
            load(path)
        assert tracemalloc.get_traced_memory()[1] < 2e7 + 10 * path.stat().st_size
    finally:
        tracemalloc.stop()
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    """A file that blocks whoever opens it: what follows a link to it never comes back."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


def instead(name: str, *arguments: Any, **settings: Any) -> Change:
    def change(file: h5py.File) -> None:
        del file[name]
        file.create_dataset(name, *arguments, **settings)

    return change


def linked(name: str, link: Any) -> Change:
    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = link

    return change


def attribute(name: str, value: Any) -> Change:
    def change(file: h5py.File) -> None:
        del file.attrs[name]
        file.attrs[name] = value

    return change


def virtual(source: Path, unlimited: bool = False) -> Change:
    def change(file: h5py.File) -> None:
        del file["relevance"]
        most = (SHAPE[0], None) if unlimited else SHAPE
        layout = h5py.VirtualLayout(SHAPE, "f8", maxshape=most)
        part = h5py.VirtualSource(str(source), "x", SHAPE, maxshape=most)
        end = h5py.h5s.UNLIMITED if unlimited else SHAPE[1]
        layout[:, :end] = part[:, :end]
        file.create_virtual_dataset("relevance", layout)

    return change


def packed(content: bytes) -> Change:
    """An array of the right shape in one gzip'd piece, which unpacks to something else."""

    def change(file: h5py.File) -> None:
        del file["relevance"]
        made = file.create_dataset("relevance", SHAPE, "f8", chunks=SHAPE, compression="gzip")
        made.id.write_direct_chunk((0, 0), zlib.compress(content, 9))

    return change


OUTSIDE: dict[str, Callable[[Path], Change]] = {
    "external link": lambda path: linked("relevance", h5py.ExternalLink(str(path), "/x")),
    "soft link": lambda path: linked("relevance", h5py.SoftLink("/expected")),
    "virtual dataset": virtual,
    "virtual dataset that grows": lambda path: virtual(path, unlimited=True),
    "external storage": lambda path: instead("relevance", SHAPE, "f8", external=[(str(path), 0, h5py.h5f.UNLIMITED)]),
}


@pytest.mark.parametrize("way", OUTSIDE)
def test_nothing_outside_the_file_is_opened(tmp_path: Path, fifo: Path, way: str) -> None:
    path = relevance_map().save(tmp_path / "map.h5")
    with h5py.File(path, "r+") as file:
        OUTSIDE[way](fifo)(file)
    seal(path, KIND)
    refused(path, RelevanceMap.load, ResultError, "'relevance' is (a link|stored in another file)")


CLAIMS: dict[str, tuple[Change, str]] = {
    "a grid of 10^18 windows": (attribute("grid", [10**9, 10**9, 1, 1]), "at most 4096"),
    "a grid of many numbers": (attribute("grid", np.ones(10**6, np.int64)), "height, width, k and stride"),
    "a grid of nothing": (attribute("grid", h5py.Empty("i8")), "cannot be read"),
    "a grid of words": (attribute("grid", ["a"] * 4), "invalid literal"),
    "a lot in a piece": (packed(bytes(1 << 28)), "a piece of 257 bytes instead of 256"),
    "less in a piece": (packed(bytes(100)), "a piece of 100 bytes"),
    "no piece": (instead("relevance", SHAPE, "f8", chunks=SHAPE, compression="gzip"), "not there"),
    "10^12 values": (instead("relevance", (1 << 20, 1 << 20), "f8", chunks=(512, 512)), "expected 'relevance' with"),
    "pieces larger than the whole": (
        instead("relevance", data=np.zeros(SHAPE), maxshape=(None, None), chunks=(4096, 4096), compression="gzip"),
        "not stored with gzip",
    ),
    "another compression": (instead("relevance", data=np.zeros(SHAPE), compression="lzf"), "not stored with gzip"),
    "texts for numbers": (instead("relevance", data=np.full(SHAPE, "x", object)), "expected float64"),
    "records for numbers": (instead("relevance", data=np.zeros(SHAPE, [("x", "f8")])), "expected float64"),
    "a group for numbers": (lambda file: (file.pop("relevance"), file.create_group("relevance")), "found a group"),
    "millions of targets": (attribute("targets", np.full(2 << 20, b"p:1")), "expected at most 1,048,576"),
    "deep JSON": (attribute("provenance", "[" * 10**6), "recursion"),
    "wide JSON": (attribute("provenance", "[" + "[]," * (6 << 20) + "[]]"), "expected at most 16,777,216"),
    "endless JSON number": (attribute("provenance", '{"seed": ' + "9" * 10**6 + "}"), "4300 digits"),
    "a list for provenance": (attribute("provenance", "[1]"), "no JSON object"),
    "bytes for provenance": (attribute("provenance", np.void(b"{}")), "neither a number nor a text"),
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_what_a_map_claims_must_be_in_its_file(tmp_path: Path, claim: str) -> None:
    path = relevance_map().save(tmp_path / "map.h5")
    change, words = CLAIMS[claim]
    with h5py.File(path, "r+") as file:
        change(file)
    seal(path, KIND)
    refused(path, RelevanceMap.load, ResultError, words)


def test_one_long_text_is_not_read_three_thousand_times(tmp_path: Path) -> None:
    """HDF5 stores texts of any length apart, and the file refers to them: here to the same one again and again."""
    path = relevance_map().save(tmp_path / "map.h5")
    with h5py.File(path) as file:
        arrays = {name: file[name][()] for name in file}
        attributes = dict(file.attrs)
    long = 1_000_003
    with h5py.File(path, "w", libver="earliest", userblock_size=SEAL_SIZE) as file:
        for name, values in arrays.items():
            file[name] = values
        attributes |= {"long": "p" * (long - 2) + ":1", "targets": ["p:1"] * 3000, "measures": ["WE"] * 3000}
        for name, value in attributes.items():
            file.attrs[name] = value
    content = bytearray(path.read_bytes())
    # A reference: length (4 bytes), place (8) and number (4).
    place = content.index(struct.pack("<I", long))
    reference = bytes(content[place : place + 16])
    first = content.index(struct.pack("<I", 3), content.index(b"targets\0") + 8)
    content[first : first + 16 * 3000] = reference * 3000
    path.write_bytes(content)
    seal(path, KIND)
    with h5py.File(path) as file:
        assert file.attrs.get_id("targets").shape == (3000,)
    refused(path, RelevanceMap.load, ResultError, "'targets' may hold more than 2,147,483,648 bytes")


def test_a_map_of_many_targets_that_hardly_differ_is_no_bomb(tmp_path: Path) -> None:
    made = relevance_map(200, WindowGrid(224, 224, 10, 2), constant=True)
    path = made.save(tmp_path / "map.h5")
    assert path.stat().st_size < 3 * made.relevance.nbytes / 100
    found = RelevanceMap.load(path)
    np.testing.assert_array_equal(found.relevance, made.relevance)
    assert found.targets == made.targets


@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (40, 3000)])
def test_what_h5py_reads_is_read(tmp_path: Path, shape: tuple[int, int]) -> None:
    from predict_diff.untrusted import array

    generator = np.random.default_rng(1)
    values = {"noise": generator.normal(size=shape), "counts": generator.integers(0, 9, shape)}
    with h5py.File(tmp_path / "file.h5", "w") as file:
        for name, stored in values.items():
            file.create_dataset(f"{name} plain", data=stored)
            file.create_dataset(f"{name} packed", data=stored, compression="gzip", shuffle=True)
            file.create_dataset(f"{name} gzip", data=stored.astype(stored.dtype.newbyteorder(">")), compression="gzip")
    with h5py.File(tmp_path / "file.h5") as file:
        for name in file:
            stored = values[name.split()[0]]
            np.testing.assert_array_equal(array(file, name, shape, stored.dtype.name), stored)


@pytest.fixture
def statistics(tmp_path: Path) -> Path:
    pool = np.random.default_rng(2).normal(size=(30, 1, 8, 8)).astype(np.float32)
    path = tmp_path / "gaussian.h5"
    GaussianStatistics.fit(pool, 3, patches=500).save(path)
    return path


STATISTICS: dict[str, tuple[Change, str]] = {
    "compressed": (instead("covariance", data=np.zeros((9, 9)), compression="gzip"), "bytes in the file"),
    "a link": (linked("mean", h5py.SoftLink("/covariance")), "'mean' is a link"),
    "huge": (attribute("key", json.dumps({"l": 10**6, "channels": 3, "joint": True})), "shape"),
    "endless": (attribute("key", '{"l": ' + "9" * 4000 + ', "channels": 3, "joint": true}'), "shape|digits"),
    "deep": (attribute("key", "[" * 10**6), "recursion"),
}


@pytest.mark.parametrize("claim", STATISTICS)
def test_what_statistics_claim_must_be_in_their_file(statistics: Path, claim: str) -> None:
    change, words = STATISTICS[claim]
    with h5py.File(statistics, "r+") as file:
        change(file)
    seal(statistics, FILE_KIND)
    refused(statistics, GaussianStatistics.load, SamplerError, words)


def test_weights_are_read_over_no_link_and_unpack_to_no_more_than_they_claim(tmp_path: Path, fifo: Path) -> None:
    path = tmp_path / "net.caffemodel.h5"
    with h5py.File(path, "w") as file:
        file["data"] = h5py.ExternalLink(str(fifo), "/x")
    refused(path, read_weights, ConversionError, "found a link")
    with h5py.File(path, "w") as file:
        made = file.create_dataset("data/conv/0", (8, 8), "f4", chunks=(8, 8), compression="gzip")
        made.id.write_direct_chunk((0, 0), zlib.compress(bytes(1 << 30), 1))
    refused(path, read_weights, ConversionError, "that HDF5 cannot read|crashes")


def test_weights_of_another_hash_are_not_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.caffemodel"
    path.write_bytes(b"\n\4tiny")
    monkeypatch.setattr("predict_diff.caffe.reader.Wire", lambda *_: pytest.fail("parsed"))
    refused(path, lambda path: read_weights(path, "0" * 64), ConversionError, "it was not read")

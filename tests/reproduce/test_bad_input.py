"""Whatever is wrong ends in one line and exit code 2, and leaves no half-written file behind."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from PIL import Image
from tiny_home import CHEAP, DESCRIPTION, SIZE, Reproduce, add_network, noise, tiny_weights

from predict_diff.network.minibatch import MiniBatchEvaluator
from predict_diff.network.runtime import cuda_problem
from reproduce import networks
from reproduce.photos import _default_photos

pytestmark = pytest.mark.usefixtures("no_pictures")


def nothing_written() -> bool:
    """Whether no file lies in the folder that the command ran in."""
    return not [path for path in Path().rglob("*") if path.is_file()]


# --- settings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--k 0", "k: expected a number greater than 0, found 0"),
        ("--k 8 --l 8", "l: expected an outer patch larger than the window (l > k = 8), found l = 8"),
        ("--k 30", "l: expected an outer patch larger"),
        ("--k 40 --l 44", "k: expected a window between 1 and 32 pixels wide"),
        ("--k 30 --l 44", "l: expected at most 32, the size of the network's input (32 x 32), found 44"),
        ("--k two", "'two' is not a valid integer"),
        ("--samples 0", "samples: expected a number greater than 0, found 0"),
        ("--samples 13", "expected 13 or more crops of photos other than the explained one, found 12"),
        ("--stride 0", "stride: expected a number greater than 0, found 0"),
        ("--stride 7", "stride: expected 1 to k = 6, so that every pixel lies in a window, found 7"),
        ("--seed -1", "seed: expected a number greater than or equal to 0, found -1"),
        ("--seed 18446744073709551616", "seed: expected a number less than 18446744073709551616"),
        ("--batch-size 0", "batch size: expected 1 to 65535, found 0"),
        ("--batch-size 100000000000", "batch size: expected 1 to 65535"),
        ("--threads 0", "threads: expected 1 to 1024, found 0"),
        ("--threads 100000", "threads: expected 1 to 1024, found 100000"),
        ("--variant papr", "expected one of paper, iclr2017, authors_code, found 'papr' (did you mean 'paper'?)"),
        ("--profile quik", "expected one of paper, quick, found 'quik' (did you mean 'quick'?)"),
        ("--variant authors_code --faults stale", "found 'stale' (did you mean 'stale_window'?)"),
        ("--variant authors_code --faults ,", "--faults': expected at least one name, found none"),
        ("--faults stale_window", "expected none of stale_window in variant paper; choose --variant authors_code"),
        ("--variant authors_code --samples 200 --sampler conditional", "expected at most 128, found 200"),
        ("--palette saef", "expected one of paper, safe, found 'saef' (did you mean 'safe'?)"),
        ("--sampler marginall", "expected one of marginal, conditional, both, found 'marginall' (did you mean"),
        ("--provider cdua", "expected one of auto, cpu, cuda, found 'cdua' (did you mean 'cuda'"),
        ("--strid 3", "No such option '--strid'. (Did you mean"),
        ("--card tiny", "card: 'tiny' has a card of its own"),
        ("dog", "unexpected extra argument (dog); see reproduce explain --help"),
    ],
)
def test_impossible_settings(explain: Reproduce, arguments: str, words: str) -> None:
    assert words in explain(*arguments.split()).error
    assert nothing_written()


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("prb:1", "found 'prb' (did you mean 'prob'?)"),
        ("conv:1", "found 'conv' (did you mean 'conv1'"),
        ("prob:3", "blob 'prob' is 3, so it has no unit (3,)"),
        ("prob:1,0", "blob 'prob' is 3, so it has no unit (1, 0)"),
        ("conv1:4", "blob 'conv1' is 4 x 10 x 10, so it has no unit (4,)"),
        ("prob", "expected BLOB:UNIT, such as prob:281"),
        ("prob:cat", "expected BLOB:UNIT"),
        ("prob:-1", "expected BLOB:UNIT"),
        ("prob:" + "9" * 5000, "expected BLOB:UNIT"),
        ("", "expected BLOB:UNIT"),
    ],
)
def test_a_target_that_the_network_does_not_have(explain: Reproduce, target: str, words: str) -> None:
    assert words in explain("--target", "top", "--target", target).error
    assert nothing_written()


def test_the_authors_code_cannot_explain_feature_maps(explain: Reproduce) -> None:
    error = explain("--variant", "authors_code", "--target", "conv1:1").error
    assert "the authors' code cannot average over a feature map" in error
    assert explain("--variant", "authors_code", "--target", "conv1:1", "--faults", "none").code == 0


@pytest.mark.skipif(cuda_problem() is None, reason="CUDA runs here")
def test_cuda_asked_for_where_there_is_none(explain: Reproduce) -> None:
    assert explain("--provider", "cuda").error.startswith("provider cuda: ")
    assert nothing_written()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            "figur1",
            "(benchmark, compare, convert, explain, figure1, figure2, figure3, figure4, figure5, figure6, "
            "iclr_networks, iclr_sampling, iclr_window, inspect, merge, networks, report, status, study, verify, "
            "weights), "
            "found 'figur1' (did",
        ),
        ("figure99", "found 'figure99' (did you mean 'figure"),
        ("--verbose", "No such option '--verbose'"),
        ("explain", "Missing argument 'PHOTO'; see reproduce explain --help"),
        ("explain cat", "Missing option '--network'"),
        ("explain cat --network tyni", "found 'tyni' (did you mean 'tiny'?); a network of your own goes by its .onnx"),
        ("explain cat --network net.onnx", "net.onnx: expected an ONNX file, found nothing there"),
        ("figure1 --networks tiny,tyni --photos cat", "found 'tyni' (did you mean 'tiny'?)"),
        ("figure1 --networks tiny --photos cat,dog", "photo 'dog': expected a file, a name in"),
        ("figure1 --networks , --photos cat", "--networks': expected at least one name, found none"),
        ("weights tyni", "found 'tyni' (did you mean 'tiny'?)"),
        ("benchmark --threads 0", "threads: expected 1 to 1024, found 0"),
        ("benchmark --out /proc/nowhere", "/proc/nowhere: expected a folder that results can be written to"),
    ],
)
def test_commands_and_names_that_do_not_exist(reproduce: Reproduce, arguments: str, words: str) -> None:
    assert words in reproduce(*arguments.split()).error
    assert nothing_written()


# --- photos and pools ---------------------------------------------------------------------------------------------


def test_a_photo_that_is_not_there(explain: Reproduce) -> None:
    error = explain(photo="chelsae").error
    assert "photo 'chelsae': expected a file, a name in" in error
    assert "(did you mean 'chelsea'" in error
    Path("kitten.png").touch()
    assert "did you mean 'kitten.png'" in explain(photo="kiten.png").error
    assert explain(photo="nul\0").error.startswith("photo 'nul?'")


def png() -> bytes:
    Image.fromarray(noise(0)).save("whole.png")
    data = Path("whole.png").read_bytes()
    Path("whole.png").unlink()
    return data


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data[: len(data) // 2], "expected a whole picture, found a damaged or truncated one"),
        (lambda data: data[:300] + bytes(50) + data[350:], "expected a whole picture, found a damaged"),
        (lambda data: b"not a picture at all", "expected a picture (PNG"),
        (lambda data: b"", "expected a photo, found an empty file"),
    ],
    ids=["truncated", "damaged", "text", "empty"],
)
def test_a_corrupt_photo(explain: Reproduce, change: object, words: str) -> None:
    Path("photo.png").write_bytes(change(png()))  # type: ignore[operator]
    assert explain(photo="photo.png").error.startswith(f"photo.png: {words}")
    assert not Path("results").exists()


def test_a_photo_that_is_a_folder_or_a_device(explain: Reproduce) -> None:
    assert "expected a photo, found a folder" in explain(photo=".").error
    assert "expected a photo, found a device or a pipe" in explain(photo="/dev/zero").error


def view(path: Path) -> np.ndarray:
    """What a result says the network saw: (H, W, 3), RGB in [0, 1]."""
    with h5py.File(path) as file:
        return np.asarray(file["0/photo"])


RGB = noise(7)
GREY = RGB[..., 0]
ALPHA = noise(8)[..., 1]


@pytest.mark.parametrize(
    ("name", "image", "expected", "note"),
    [
        ("rgb.png", Image.fromarray(RGB), RGB / 255, None),
        ("grey.png", Image.fromarray(GREY), GREY[..., None] / 255 * np.ones(3), "greyscale: repeated"),
        ("wide.png", Image.fromarray(GREY * np.uint16(257)), GREY[..., None] / 255 * np.ones(3), "16 bits: scaled"),
        (
            "rgba.png",
            Image.fromarray(np.dstack([RGB, ALPHA])),
            RGB / 255 * (ALPHA[..., None] / 255) + (1 - ALPHA[..., None] / 255),
            "transparency laid over white",
        ),
        # One colour only, so that compression changes nothing: 1 - C, with no black.
        (
            "cmyk.tif",
            Image.fromarray(np.full((SIZE, SIZE, 4), (255, 51, 0, 0), np.uint8), "CMYK"),
            np.full((SIZE, SIZE, 3), (0, 0.8, 1)),
            "CMYK converted",
        ),
    ],
)
def test_unusual_photos_are_used_correctly(
    explain: Reproduce, name: str, image: Image.Image, expected: np.ndarray, note: str | None
) -> None:
    image.save(name)
    outcome = explain("--sampler", "marginal", photo=name)
    # The photo has the size of the network's input, so it is not resized.
    np.testing.assert_allclose(view(outcome.files[2]), expected, atol=0.6 / 255)
    assert note is None or f": {note}" in outcome.err


def test_of_an_animation_the_first_frame_is_used(explain: Reproduce) -> None:
    first, second = (Image.fromarray(np.full((SIZE, SIZE, 3), grey, np.uint8)) for grey in (51, 204))
    first.save("moves.gif", save_all=True, append_images=[second])
    outcome = explain("--sampler", "marginal", photo="moves.gif")
    np.testing.assert_allclose(view(outcome.files[2]), 0.2, atol=1e-6)
    assert "moves: animation: first frame." in outcome.err


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 300), (3, 2)])
def test_a_tiny_photo_is_enlarged(explain: Reproduce, height: int, width: int) -> None:
    Image.fromarray(np.full((height, width, 3), 102, np.uint8)).save("tiny.png")
    outcome = explain("--sampler", "marginal", photo="tiny.png")
    np.testing.assert_allclose(view(outcome.files[2]), 0.4, atol=1e-6)
    assert f"tiny: small: {width} x {height} pixels" in outcome.err


def test_a_pool_with_too_few_photos(explain: Reproduce, home: Path) -> None:
    assert "expected 'default' or a folder of photos, found nowhere" in explain("--pool", "nowhere").error
    Path("pool").mkdir()
    assert "pool pool: expected 2 or more crops" in explain("--pool", "pool").error
    shutil.copy(home / "pool" / "00.png", "pool")
    # The explained photo does not count, nor does what cannot be read.
    shutil.copy(home / "data" / "photos" / "cat.png", "pool")
    Path("pool/broken.png").write_text("none")
    error = explain("--pool", "pool").error
    assert "expected 2 or more crops of photos other than the explained one, found 1; add photos" in error
    assert "expected 'default' or a folder of photos, found pool/00.png" in explain("--pool", "pool/00.png").error
    assert not Path("results").exists()


def test_the_default_pool_is_too_small_for_many_marginal_samples_only(explain: Reproduce) -> None:
    assert "pool default: expected 65 or more crops" in explain("--pool", "default", "--samples", "65").error
    assert nothing_written()
    assert explain("--samples", "13", "--sampler", "conditional", "--stride", "6").code == 0


# --- weights and descriptions -------------------------------------------------------------------------------------


@pytest.fixture
def files(home: Path, reproduce: Reproduce) -> Iterator[SimpleNamespace]:
    """The tiny network's description and weights, as a user has them."""
    Path("net.prototxt").write_text(DESCRIPTION)
    Path("net.caffemodel").write_bytes(tiny_weights())
    yield SimpleNamespace(description=Path("net.prototxt"), weights=Path("net.caffemodel"))
    assert not Path("net.onnx").exists()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, "found none that can be read: No such file or directory"),
        (b"", "found an empty file; the download went wrong: fetch the file again"),
        (tiny_weights()[:3000], "bytes announced at byte"),
        (b"<html><body>Sorry</body></html>", "found a web page; the download went wrong"),
        (DESCRIPTION.encode(), "found a text: a description? Give the .caffemodel"),
        (bytes(1000), "the file is truncated, damaged or of another kind: fetch it again"),
        (20 << 30, "at most 4,294,967,296 bytes, found 21,474,836,480 bytes"),
    ],
    ids=["missing", "empty", "truncated", "page", "text", "zeros", "huge"],
)
def test_converting_a_file_that_holds_no_weights(
    reproduce: Reproduce, files: SimpleNamespace, data: bytes | int | None, words: str
) -> None:
    files.weights.unlink()
    if isinstance(data, int):
        with files.weights.open("wb") as file:
            file.truncate(data)  # takes no room on the disk
    elif data is not None:
        files.weights.write_bytes(data)
    error = reproduce("convert", files.description, files.weights, "-o", "net.onnx").error
    assert error.startswith("net.caffemodel: expected a Caffe weights file")
    assert words in error


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"ReLU"', '"RelU7"', "layer 'relu1'.*'RelU7'.*did you mean 'ReLU.*supported"),
        (
            "num_output: 3",
            "num_output: 5",
            "layer 'fc'.*expected weights .* 5 x 400, found 3 x 400 in the weights file",
        ),
        ('name: "fc"', 'name: "fc1000"', "layer 'fc1000'.*expected weights .* 3 x 400"),
        ('bottom: "fc"', 'bottom: "fb"', "layer 'prob'.*bottom blob.*'fb'.*did you mean 'fc'"),
        ("stride:", "strid:", "expected a field of ConvolutionParameter, found 'strid' .did you mean 'stride'"),
        (DESCRIPTION, "layer {" * 10_000, "found more than 50 blocks inside blocks"),
        (DESCRIPTION, "", "found an empty file"),
    ],
)
def test_converting_a_description_that_is_wrong_or_of_another_network(
    reproduce: Reproduce, files: SimpleNamespace, old: str, new: str, message: str
) -> None:
    assert old in DESCRIPTION
    files.description.write_text(DESCRIPTION.replace(old, new))
    error = reproduce("convert", files.description, files.weights, "-o", "net.onnx").error
    assert re.search(message, error)
    # The line on which the layer, or what is wrong in it, stands.
    line = next((n for n, text in enumerate(DESCRIPTION.splitlines(), 1) if old in text), None)
    assert re.match(r"net\.prototxt(:|, line )?" + (f"{line}:" if line else ""), error)


def test_converting_with_the_files_the_wrong_way_round(reproduce: Reproduce, files: SimpleNamespace) -> None:
    error = reproduce("convert", files.weights, files.description, "-o", "net.onnx").error
    assert error.startswith("net.caffemodel: expected a description (prototxt, a text), found a binary file")


@pytest.mark.parametrize("output", ["net.caffemodel", "net.prototxt", "net", ".", "/proc/nowhere/net.onnx"])
def test_converting_to_a_name_that_cannot_be_written(reproduce: Reproduce, files: SimpleNamespace, output: str) -> None:
    assert reproduce("convert", files.description, files.weights, "-o", output).error.startswith(f"{output}: ")
    assert files.weights.read_bytes() == tiny_weights()
    assert files.description.read_text() == DESCRIPTION


WRONG_WEIGHTS = [b"", tiny_weights()[:-1], tiny_weights(seed=1), b"<html>Sorry</html>"]


@pytest.mark.parametrize("data", WRONG_WEIGHTS, ids=["empty", "truncated", "other", "page"])
def test_a_wrong_file_in_models_is_not_used(explain: Reproduce, reproduce: Reproduce, home: Path, data: bytes) -> None:
    path = home / "models" / "tiny" / "tiny.caffemodel"
    path.write_bytes(data)
    for outcome in (explain(), reproduce("weights", "tiny")):
        assert outcome.error.startswith(f"{path}: expected {len(tiny_weights()):,} bytes with SHA-256")
        assert "delete it and run `reproduce weights tiny`, or put the right file there" in outcome.error
    assert path.read_bytes() == data
    assert nothing_written()
    assert f"tiny: {path}: expected" in reproduce("networks").out


def test_weights_that_are_missing(explain: Reproduce, reproduce: Reproduce, home: Path) -> None:
    path = home / "models" / "tiny" / "tiny.caffemodel"
    path.unlink()
    assert (
        f"Tiny needs tiny.caffemodel ({len(tiny_weights()):,} bytes); run `reproduce weights tiny`" in explain().error
    )
    assert "could not be downloaded: http://127.0.0.1:1/tiny.caffemodel" in reproduce("weights", "tiny").error
    path.mkdir()
    assert f"{path}: expected a weights file, found a folder" in explain().error


def test_description_and_weights_of_different_networks_in_models(explain: Reproduce, home: Path) -> None:
    description = home / "models" / "tiny" / "deploy.prototxt"
    description.write_text(DESCRIPTION.replace("num_output: 4", "num_output: 8"))
    assert re.search("expected weights .* 8 x 3 x 5 x 5, found 4 x 3 x 5 x 5", explain().error)
    description.unlink()
    assert explain().error.startswith(f"{description}: expected the network's description")
    assert not list(home.rglob("*.onnx"))


@pytest.mark.parametrize("data", [b"", b"no network", b"\x08\x0a\x3a\xff\xff\xff\xff\x0f"])
def test_a_file_that_is_no_network(explain: Reproduce, data: bytes) -> None:
    Path("net.onnx").write_bytes(data)
    assert explain("--card", "tiny", network="net.onnx").error.startswith("net.onnx: expected an ONNX")


def test_a_network_that_nobody_knows(explain: Reproduce, reproduce: Reproduce, home: Path) -> None:
    Path("net.caffemodel").write_bytes(tiny_weights(seed=5))
    reproduce("convert", home / "models" / "tiny" / "deploy.prototxt", "net.caffemodel", "-o", "net.onnx")
    error = explain(network="net.onnx").error
    assert error.startswith("net.onnx: expected to know how photos enter this network")
    assert "--card (tiny)" in error
    assert "found 'tinny' (did you mean 'tiny'?)" in explain("--card", "tinny", network="net.onnx").error


# --- YAML ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def card(home: Path) -> Path:
    """The card of the tiny network; what was read of it before is forgotten."""
    networks._card.cache_clear()
    return home / "models" / "tiny" / "model.yaml"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("title: Tiny", "titel: Tiny", "titel: unknown field (did you mean 'title'?)"),
        ("  resize: square", "  resise: square", "preprocessing.resise: unknown field (did you mean 'resize'"),
        ("input_size: 32", "input_size: large", "input_size: expected a valid integer"),
        ("input_size: 32", "input_size: 0", "input_size: expected a number greater than 0, found 0"),
        ("input_size: 32", "input_size: 33", "input_size: expected that of tiny-"),
        ("resize: square", "resize: squre", "found 'squre' (did you mean 'square'?)"),
        ("raw_scale: 255", "raw_scale: .nan", "preprocessing: raw_scale: expected a finite number"),
        ("penultimate: fc", "penultimate: fc8", "found 'fc8' (did you mean 'fc'?)"),
        ("output: prob", "output: prop", "found 'prop' (did you mean 'prob'?)"),
        ("name: tiny", "name: toni", "name: expected 'tiny', the name of the folder, found 'toni'"),
        ("title: Tiny", "title: [Tiny", "expected YAML"),
        ("title: Tiny", "title: &a [*a]", "expected YAML; found an alias"),
        ("title: Tiny", "title: " + "[" * 1000, "expected YAML; found more than 20 levels"),
    ],
)
def test_a_card_that_is_wrong(explain: Reproduce, card: Path, old: str, new: str, words: str) -> None:
    text = card.read_text()
    assert old in text
    card.write_text(text.replace(old, new))
    error = explain().error
    assert error.startswith(f"{card}:")
    assert words in error
    assert nothing_written()


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ("n00000001 one\n", "expected 3 lines, one a class, found 1"),
        ("one\ntwo\nthree\n", "line 1: expected a synset id and words"),
        (None, "expected a list of classes, found none"),
    ],
)
def test_labels_that_are_wrong(explain: Reproduce, home: Path, labels: str | None, words: str) -> None:
    path = home / "data" / "tiny_labels.txt"
    path.unlink()
    if labels is not None:
        path.write_text(labels)
    error = explain().error
    assert error.startswith(str(path))
    assert words in error


def test_a_list_of_default_photos_that_is_wrong(explain: Reproduce, home: Path) -> None:
    path = home / "data" / "photos.yaml"
    before, after = path.read_text().split("pool: true", maxsplit=1)
    path.write_text(f"{before}pol: true{after}")
    _default_photos.cache_clear()
    line = len(before.splitlines())
    assert explain().error.startswith(f"{path}:{line}: photos.0.pol: unknown field (did you mean 'pool'?)")
    path.unlink()
    assert explain().error.startswith(f"{path}: expected YAML, found no such file")
    _default_photos.cache_clear()


def test_a_home_without_models(reproduce: Reproduce, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREDICT_DIFF_HOME", str(tmp_path / "elsewhere"))
    assert "set PREDICT_DIFF_HOME to a clone of this project" in reproduce("networks").error


# --- results ------------------------------------------------------------------------------------------------------


@pytest.fixture
def no_computing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Computing anything is a failure."""

    def fail(*arguments: object) -> None:
        pytest.fail("something was computed")

    monkeypatch.setattr(MiniBatchEvaluator, "run_batch", fail)


@pytest.mark.usefixtures("no_computing")
def test_a_folder_for_results_that_cannot_be_written_to_is_refused_before_anything_is_computed(
    explain: Reproduce, reproduce: Reproduce, home: Path
) -> None:
    Path("file").write_text("mine")
    for out in ("file", "file/deeper", "/proc/nowhere"):
        assert explain("--out", out).error.startswith(f"{out}: expected a folder that results can be written to")
    Path("results").mkdir()
    Path("results/maps").write_text("mine")
    assert explain().error.startswith("results/maps: expected a folder that results can be written to")
    figure = ["figure1", "--networks", "tiny", "--photos", "cat", "--pool", home / "pool", *CHEAP, "--out", "file"]
    assert reproduce(*figure).error.startswith("file: expected a folder")
    assert Path("file").read_text() == "mine"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 200 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("disks cannot be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.usefixtures("no_computing")
def test_a_disk_that_is_too_small_is_refused_before_anything_is_computed(explain: Reproduce, small_disk: Path) -> None:
    error = explain("--out", small_disk).error
    assert error.startswith(f"{small_disk}: expected ")
    assert "bytes free for the results, found 204,800; free some space or choose another folder with --out" in error
    assert not list(small_disk.iterdir())


def test_a_disk_that_becomes_full_ends_in_one_line(
    explain: Reproduce, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1 << 40))
    error = explain("--out", small_disk).error
    assert "could not be written (No space left on device); free some space" in error
    left = [path for path in small_disk.rglob("*") if path.is_file()]
    # What was written before is whole.
    for path in left:
        h5py.File(path).close()


def test_a_disk_full_while_drawing_keeps_the_maps(explain: Reproduce, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **settings: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("matplotlib.figure.Figure.savefig", full)
        assert "cat-tiny.png: could not be written (No space left on device)" in explain().error
    assert len(list(Path("results/maps").iterdir())) == 2
    assert not list(Path("results").glob("explain/*"))
    assert explain().code == 0


def test_a_damaged_map_is_named_before_anything_is_computed(
    explain: Reproduce, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    assert explain().code == 0
    request.getfixturevalue("no_computing")
    for path in Path("results/maps").iterdir():
        whole = path.read_bytes()
        for data in (whole[:-100], b"", b"\x89HDF\r\n\x1a\n" + bytes(2000), whole[:-300] + bytes(200) + whole[-100:]):
            path.write_bytes(data)
            error = explain().error
            assert error.startswith(f"{path}: expected a relevance map (HDF5), but it cannot be read")
            assert "delete the file" in error
            assert path.read_bytes() == data
        path.write_bytes(whole)
    assert explain().code == 0


def test_a_map_under_the_name_of_another_is_not_taken_for_it(explain: Reproduce) -> None:
    explain("--sampler", "marginal", "--seed", "0")
    (first,) = Path("results/maps").iterdir()
    explain("--sampler", "marginal", "--seed", "1")
    (second,) = set(Path("results/maps").iterdir()) - {first}
    shutil.copy(first, second)
    assert (
        "expected the map of this configuration, found another" in explain("--sampler", "marginal", "--seed", "1").error
    )
    assert explain("--sampler", "marginal", "--seed", "0").code == 0


def test_damaged_statistics_are_named(explain: Reproduce) -> None:
    assert explain().code == 0
    path = next(Path("results/statistics").iterdir())
    path.write_bytes(path.read_bytes()[:-100])
    error = explain("--samples", "3").error
    assert error.startswith(f"{path}: expected Gaussian statistics that this program saved, found a damaged")
    assert "delete it" in error
    path.unlink()
    assert explain("--samples", "3").code == 0


def test_too_little_memory_ends_in_one_line(explain: Reproduce, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*arguments: object) -> None:
        raise MemoryError

    monkeypatch.setattr(MiniBatchEvaluator, "values", exhausted)
    assert "expected enough memory, found too little; lower --samples or --batch-size" in explain().error


def test_a_network_that_computes_no_numbers(explain: Reproduce, home: Path) -> None:
    add_network(home, "blind", tiny_weights(scale=1e30))
    assert "expected finite predictions, found NaN or infinity" in explain(network="blind").error
    assert not list(Path("results").glob("maps/*"))

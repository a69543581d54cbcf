"""`reproduce convert` with its proof and its warnings, and `reproduce inspect`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from tiny_home import DESCRIPTION, SIZE, Outcome, Reproduce, tiny_weights

from predict_diff.caffe.converter import convert
from predict_diff.network.network import Network

PROTOTXT, WEIGHTS = "net.prototxt", "net.caffemodel"


@pytest.fixture
def converted(reproduce: Reproduce) -> Reproduce:
    """Run `reproduce convert` on the tiny network, as `converted(*options)`."""
    Path(PROTOTXT).write_text(DESCRIPTION)
    Path(WEIGHTS).write_bytes(tiny_weights())

    def run(*options: str | Path) -> Outcome:
        return reproduce("convert", PROTOTXT, WEIGHTS, "-o", "net.onnx", *options)

    return run


def metadata() -> dict[str, str]:
    return {entry.key: entry.value for entry in onnx.load("net.onnx").metadata_props}


def arrays_of_caffe(factor: float = 1.0) -> None:
    """Blobs as another program would have saved them, and what it was fed."""
    x = np.random.default_rng(3).standard_normal((2, 3, SIZE, SIZE)).astype(np.float32)
    found = Network(convert(PROTOTXT, WEIGHTS), "cpu").run(x, ["fc", "prob"])
    np.save("input.npy", x)
    np.savez("blobs.npz", fc=factor * found["fc"], prob=found["prob"])


def test_the_streamed_file_is_the_model(converted: Reproduce) -> None:
    assert converted().files == [Path("net.onnx")]
    assert onnx.load("net.onnx") == convert(PROTOTXT, WEIGHTS)


def test_a_checked_file_is_the_same_model_and_keeps_the_report(converted: Reproduce) -> None:
    outcome = converted("--check")
    assert outcome.code == 0, outcome.err
    assert "PASSED" in outcome.out.splitlines()
    assert outcome.out.splitlines()[-1] == "net.onnx"
    assert json.loads(metadata()["check"])["passed"] is True
    model = onnx.load("net.onnx")
    kept = [entry for entry in model.metadata_props if entry.key != "check"]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    assert model == convert(PROTOTXT, WEIGHTS)


def test_arrays_of_the_original_imply_the_check(converted: Reproduce) -> None:
    Path("other").mkdir()
    converted()
    arrays_of_caffe()
    outcome = converted("--reference", "blobs.npz", "--input", "input.npy")
    assert outcome.code == 0, outcome.err
    report = json.loads(metadata()["check"])
    assert [entry["name"] for entry in report["implementations"]][:2] == ["Caffe", "NumPy"]
    assert "input.npy" in report["inputs"]


def test_an_input_alone_implies_the_check(converted: Reproduce) -> None:
    np.save("input.npy", np.zeros((1, 3, SIZE, SIZE), np.float32))
    assert converted("--input", "input.npy").code == 0
    assert "input.npy" in json.loads(metadata()["check"])["inputs"]


def test_a_failed_check_shows_the_table_and_writes_nothing(converted: Reproduce) -> None:
    arrays_of_caffe(factor=1.01)
    outcome = converted("--reference", "blobs.npz", "--input", "input.npy")
    assert outcome.error.startswith("net.onnx: expected a converted network that computes what Caffe does")
    assert "FAILED" in outcome.out.splitlines()
    assert not Path("net.onnx").exists()


def test_a_file_that_lay_there_stays_when_the_check_fails(converted: Reproduce) -> None:
    converted()
    before = Path("net.onnx").read_bytes()
    arrays_of_caffe(factor=1.01)
    assert converted("--reference", "blobs.npz", "--input", "input.npy").code == 2
    assert Path("net.onnx").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--reference", "none.npz", "--input", "input.npy"], "none.npz: expected"),
        (["--input", "none.npy"], "none.npy: expected"),
        (["--input", PROTOTXT], f"{PROTOTXT}: expected"),
    ],
)
def test_arrays_that_cannot_be_read(converted: Reproduce, options: list[str], words: str) -> None:
    np.save("input.npy", np.zeros((1, 3, SIZE, SIZE), np.float32))
    assert converted(*options).error.startswith(words)
    assert not Path("net.onnx").exists()


# --- warnings -----------------------------------------------------------------------------------------------------


def test_what_a_description_does_not_know_is_said_once(converted: Reproduce) -> None:
    lines = converted().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"{PROTOTXT}: a description does not say how photos become inputs (mean, scale, order")


def test_what_a_data_layer_knows_of_photos_is_quoted(converted: Reproduce) -> None:
    data = (
        'layer { name: "photos" type: "ImageData" top: "data" top: "label" include { phase: TEST } '
        f"image_data_param {{ batch_size: 2 }} transform_param {{ crop_size: {SIZE} mean_value: 104 }} }}"
    )
    Path(PROTOTXT).write_text("\n".join([data, *DESCRIPTION.splitlines()[2:]]))
    outcome = converted()
    assert outcome.code == 0, outcome.err
    assert f"layer 'photos' has crop_size: {SIZE} mean_value: 104" in outcome.err
    assert "describes training too; what runs in phase TEST was converted" in outcome.err


def test_statistics_of_the_batch_are_warned_of(converted: Reproduce) -> None:
    normalised = 'layer { name: "bn" type: "BatchNorm" bottom: "conv1" top: "conv1" batch_norm_param { SETTING } }'
    relu = next(line for line in DESCRIPTION.splitlines() if "relu1" in line)
    text = DESCRIPTION.replace(relu, f"{normalised}\n{relu}")
    Path(PROTOTXT).write_text(text.replace("SETTING", "use_global_stats: false"))
    assert "use_global_stats: false in 1 layer(s) normalises by the photos of a batch" in converted().err


def test_weights_that_no_layer_takes_are_named_and_counted(converted: Reproduce) -> None:
    Path(PROTOTXT).write_text(DESCRIPTION.replace('bottom: "fc" top: "prob"', 'bottom: "conv1" top: "prob"'))
    text = "\n".join(line for line in Path(PROTOTXT).read_text().splitlines() if '"fc"' not in line)
    Path(PROTOTXT).write_text(text)
    assert f"weights of 1 layer(s) were not used, as {PROTOTXT} has no layer of that name: fc" in converted().err


# --- inspect ------------------------------------------------------------------------------------------------------


def test_every_kind_of_file_can_be_inspected(converted: Reproduce, reproduce: Reproduce) -> None:
    converted("--check", "--licence", "mine")
    side = (SIZE - 5) // 3 + 1
    parameters = 4 * 75 + 4 + 3 * 4 * side**2 + 3
    for file in (PROTOTXT, WEIGHTS, "net.onnx"):
        outcome = reproduce("inspect", file)
        assert outcome.code == 0, outcome.err
        assert f"{parameters:,} parameters" in outcome.out.splitlines()[-1]
        assert max(len(line) for line in outcome.out.splitlines()) <= 110
        assert json.loads(reproduce("inspect", file, "--json").out)["totals"]["parameters"] == parameters
    text = reproduce("inspect", "net.onnx").out
    assert "licence: mine" in text
    assert "check: passed; NumPy" in text


def test_a_description_is_inspected_with_its_weights(converted: Reproduce, reproduce: Reproduce) -> None:
    assert "Caffe description and weights" in reproduce("inspect", PROTOTXT, "--weights", WEIGHTS).out
    shutil.copy(WEIGHTS, "other.caffemodel")
    Path(PROTOTXT).write_text(DESCRIPTION.replace("num_output: 3", "num_output: 5"))
    assert "found 3 x 400 in the weights file" in reproduce("inspect", PROTOTXT, "--weights", "other.caffemodel").error


@pytest.mark.parametrize("file", ["missing.onnx", "folder", "text.onnx"])
def test_what_cannot_be_inspected_ends_in_one_line(reproduce: Reproduce, file: str) -> None:
    Path("folder").mkdir()
    Path("text.onnx").write_text("no ONNX")
    assert reproduce("inspect", file).error.startswith(f"{file}: expected")

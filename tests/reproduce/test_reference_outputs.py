"""Published outputs: made-up ones for the tiny network, and the list of the real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image
from tiny_home import SIZE, add_network, noise, tiny_weights

from predict_diff.errors import ConfigurationError, ConversionError, ImageError, PredictDiffError
from reproduce import networks, reference_outputs
from reproduce.classifier import Engine
from reproduce.reference_outputs import ReferenceCheck, read_array, reference_cases, reference_checks

CASES = """\
cases:
  - name: from-photos
    network: tiny
    source: a server
    photos: {files: [a.png, b.png], channel_order: BGR, raw_scale: 255.0}
    blob: prob
    expected: prob.npy
    tolerance: {absolute: 1.0e-4, mean: 1.0e-5}
  - name: from-tensor
    network: tiny
    source: another server
    tensor: set/input_0.pb
    blob: conv1
    expected: set/output_0.pb
    tolerance: {absolute: 1.0e-5, relative: 1.0e-3}
"""


def by_hand(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """conv1, after the ReLU, and prob of the tiny network, in double precision: (N, 4, 10, 10) and (N, 3)."""
    from predict_diff.caffe.caffe_pb2 import NetParameter

    net = NetParameter.FromString(tiny_weights())
    kernel, bias, weights, offset = (
        np.array(blob.data).reshape(tuple(blob.shape.dim)) for layer in net.layer for blob in layer.blobs
    )
    patches = np.lib.stride_tricks.sliding_window_view(x.astype(np.float64), (5, 5), axis=(2, 3))[:, :, ::3, ::3]
    conv = np.maximum(np.einsum("ncyxij,ocij->noyx", patches, kernel) + bias[:, None, None], 0)
    scores = conv.reshape(len(x), -1) @ weights.T + offset
    exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
    return conv, exponentials / exponentials.sum(axis=1, keepdims=True)


def save_tensor(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(numpy_helper.from_array(values.astype(np.float32)).SerializeToString())


@pytest.fixture
def folder(home: Path, tmp_path: Path) -> Path:
    """What a publisher would offer, computed by hand."""
    folder = tmp_path / "references"
    folder.mkdir()
    pictures = [noise(21), noise(22)]
    for name, pixels in zip(("a.png", "b.png"), pictures, strict=True):
        Image.fromarray(pixels).save(folder / name)
    bgr = np.stack([pixels[..., ::-1].transpose(2, 0, 1) for pixels in pictures])
    np.save(folder / "prob.npy", by_hand(bgr)[1][:, :, None, None].astype(np.float32))
    x = np.random.default_rng(3).random((1, 3, SIZE, SIZE), np.float32)
    save_tensor(folder / "set" / "input_0.pb", x)
    save_tensor(folder / "set" / "output_0.pb", by_hand(x)[0])
    return folder


def checks(folder: Path | None, name: str = "tiny") -> dict[str, ReferenceCheck]:
    path = Path("cases.yaml")
    path.write_text(CASES)
    reference_cases.cache_clear()
    return {check.name: check for check in reference_checks(name, folder, Engine("cpu"), reference_cases(path))}


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_outputs_computed_by_hand_are_reproduced(folder: Path):
    for check in checks(folder).values():
        assert check.in_tolerances <= 1
        assert check.reason == ""
        assert 0 < check.largest_difference <= check.tolerance
        assert 0 < check.mean_difference < 1e-6


def test_a_number_beyond_its_tolerance_deviates(folder: Path):
    published = np.load(folder / "prob.npy")
    published[1, 2] += 3e-4
    np.save(folder / "prob.npy", published)
    found = checks(folder)["from-photos"]
    assert found.in_tolerances > 1
    assert found.largest_difference == pytest.approx(3e-4, rel=0.01)
    assert found.tolerance == 1e-4


def test_small_differences_everywhere_deviate_on_average(folder: Path):
    np.save(folder / "prob.npy", np.load(folder / "prob.npy") + np.float32(5e-5))
    found = checks(folder)["from-photos"]
    assert found.largest_difference < found.tolerance
    assert found.mean_difference > found.mean_tolerance
    assert found.in_tolerances == found.mean_difference / found.mean_tolerance > 1


@pytest.mark.parametrize(("factor", "within"), [(1.0008, True), (1.0015, False)])
def test_a_relative_tolerance_grows_with_the_number(folder: Path, factor: float, within: bool):
    path = folder / "set" / "output_0.pb"
    save_tensor(path, read_array(path) * factor)
    assert (checks(folder)["from-tensor"].in_tolerances <= 1) is within


def test_channels_in_the_wrong_order_deviate(folder: Path):
    for name in ("a.png", "b.png"):
        Image.fromarray(np.asarray(Image.open(folder / name))[..., ::-1]).save(folder / name)
    assert checks(folder)["from-photos"].in_tolerances > 1


def test_absent_files_are_not_measurable_and_say_where_to_get_them(folder: Path):
    (folder / "b.png").unlink()
    (folder / "set" / "output_0.pb").unlink()
    found = checks(folder)
    assert {check.in_tolerances for check in found.values()} == {None}
    assert found["from-photos"].reason == f"b.png is not in {folder}; it is published in a server"
    assert found["from-tensor"].reason.startswith("set/output_0.pb is not in")
    assert found["from-tensor"].largest_difference is None


def test_without_a_folder_nothing_is_measurable(home: Path):
    found = checks(None)
    assert {check.in_tolerances for check in found.values()} == {None}
    assert "--references" in found["from-photos"].reason


def test_without_weights_nothing_is_measurable(folder: Path, home: Path):
    (home / "models" / "tiny" / "tiny.caffemodel").unlink()
    found = checks(folder)["from-photos"]
    assert found.in_tolerances is None
    assert "Tiny needs tiny.caffemodel" in found.reason


def test_other_weights_in_their_place_are_not_compared(folder: Path, home: Path):
    (home / "models" / "tiny" / "tiny.caffemodel").write_bytes(tiny_weights(seed=9))
    found = checks(folder)["from-photos"]
    assert found.in_tolerances is None
    assert "SHA-256" in found.reason


def test_a_network_of_which_nothing_is_published_has_no_checks(folder: Path, home: Path):
    add_network(home, "other")
    assert checks(folder, "other") == {}


def test_no_such_folder(home: Path):
    with pytest.raises(ConfigurationError, match="references: expected a folder"):
        checks(Path("nowhere"))


def test_no_such_network(folder: Path):
    with pytest.raises(ConfigurationError, match="did you mean 'tiny'"):
        checks(folder, "tinny")


def test_a_picture_of_another_size_is_not_resized(folder: Path):
    Image.fromarray(noise(21, SIZE + 1, SIZE)).save(folder / "a.png")
    with pytest.raises(ImageError, match=r"a\.png: expected \(32, 32\) pixels.*found \(33, 32\)"):
        checks(folder)


def test_an_input_of_another_size(folder: Path):
    save_tensor(folder / "set" / "input_0.pb", np.zeros((1, 3, SIZE, SIZE + 1)))
    with pytest.raises(ConversionError, match=r"input_0\.pb: expected photos of shape \(3, 32, 32\)"):
        checks(folder)


def test_published_values_of_another_shape(folder: Path):
    np.save(folder / "prob.npy", np.zeros((2, 4), np.float32))
    with pytest.raises(
        ConversionError, match=r"prob\.npy: expected blob 'prob' of tiny, shape \(2, 3\), found \(2, 4\)"
    ):
        checks(folder)


def damaged() -> dict[str, bytes]:
    tensor = numpy_helper.from_array(np.zeros((2, 3), np.float32))
    double = numpy_helper.from_array(np.zeros((2, 3)))
    short = onnx.TensorProto.FromString(tensor.SerializeToString())
    short.dims[0] = 3
    huge = onnx.TensorProto(data_type=onnx.TensorProto.FLOAT, dims=[1 << 40], raw_data=b"1234")
    negative = onnx.TensorProto(data_type=onnx.TensorProto.FLOAT, dims=[-1, 3], raw_data=b"1234")
    outside = onnx.TensorProto(data_type=onnx.TensorProto.FLOAT, dims=[1], data_location=onnx.TensorProto.EXTERNAL)
    outside.external_data.add(key="location", value="/etc/passwd")
    values = {name: each.SerializeToString() for name, each in locals().items() if isinstance(each, onnx.TensorProto)}
    del values["tensor"]
    nan = numpy_helper.from_array(np.full(2, np.nan, np.float32)).SerializeToString()
    return {**values, "nan": nan, "empty": b"", "torn": tensor.SerializeToString()[:-3], "page": b"<!DOCTYPE html>"}


@pytest.mark.parametrize("name", damaged())
def test_a_damaged_tensor_ends_in_one_line(tmp_path: Path, name: str):
    path = tmp_path / "output_0.pb"
    path.write_bytes(damaged()[name])
    with pytest.raises(ConversionError) as caught:
        read_array(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nothing_is_unpickled(tmp_path: Path):
    path = tmp_path / "prob.npy"
    np.save(path, np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(ConversionError, match="never loaded"):
        read_array(path)


def test_a_stated_size_is_checked_before_anything_is_allocated(tmp_path: Path):
    path = tmp_path / "prob.npy"
    header = np.lib.format.header_data_from_array_1_0(np.zeros(1, np.float32))
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {**header, "shape": (1 << 40,)})
    with pytest.raises(ConversionError, match="expected at most"):
        read_array(path)


def test_several_arrays_are_not_one(tmp_path: Path):
    path = tmp_path / "prob.npy"
    with path.open("wb") as file:
        np.savez(file, a=np.zeros(2), b=np.zeros(2))
    with pytest.raises(ConversionError, match="found several"):
        read_array(path)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("    tensor: set/input_0.pb\n", "", "expected either photos or a tensor"),
        ("blob: prob", "blobb: prob", "cases.1.blobb: unknown field|cases.0.blobb: unknown field"),
        ("absolute: 1.0e-5", "absolute: -1.0", "greater than 0"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path: Path, old: str, new: str, expected: str):
    path = tmp_path / "wrong.yaml"
    path.write_text(CASES.replace(old, new))
    with pytest.raises(ConfigurationError, match=expected):
        reference_cases(path)


def test_the_published_cases_are_about_networks_and_blobs_that_exist():
    """Blobs are those of the descriptions: a layer's top."""
    names = set()
    for case in reference_cases(reference_outputs.CASES):
        description = networks.card(case.network).description.read_text()
        assert f'top: "{case.blob}"' in description
        names.add(case.name)
    assert len(names) == len(reference_cases(reference_outputs.CASES))


def test_every_error_is_of_the_family(folder: Path):
    (folder / "prob.npy").write_bytes(b"")
    with pytest.raises(PredictDiffError):
        checks(folder)

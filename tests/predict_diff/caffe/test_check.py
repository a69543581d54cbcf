"""The check of converted networks: right ones pass, wrong ones fail where they are wrong, bad files are one line."""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import ArrayLike
from onnx import numpy_helper

import predict_diff.caffe.reference.opencv as opencv
from predict_diff.caffe.check import LIMIT, attach, check
from predict_diff.caffe.converter import convert_read
from predict_diff.caffe.reader import Description, LayerWeights, Weights, read_description, read_weights
from predict_diff.caffe.reference.inputs import random_inputs
from predict_diff.caffe.report import Comparison, Report, Row, compare
from predict_diff.errors import ConversionError
from reproduce.random_weights import write_random_weights

GOLDENS = Path(__file__).parents[2] / "goldens"
MODELS = Path(__file__).parents[3] / "models"
WHOLE = ["mini_alexnet", "mini_googlenet", "mini_vgg", "v0_lenet", "v0_padding"]

needs_opencv = pytest.mark.skipif(find_spec("cv2") is None, reason="opencv-python-headless is not installed")

Files = tuple[onnx.ModelProto, Description, Weights]


def golden(case: str) -> Files:
    description = read_description(GOLDENS / case / "deploy.prototxt")
    weights = read_weights(GOLDENS / case / "weights.caffemodel")
    return convert_read(description, weights), description, weights


def network(text: str, weights: dict[str, list[ArrayLike]] | None = None) -> Files:
    description = Description.from_text(text)
    stored = {
        name: LayerWeights(name, "", [np.asarray(blob, np.float32) for blob in blobs])
        for name, blobs in (weights or {}).items()
    }
    read = Weights(Path("net.caffemodel"), "0" * 64, stored)
    return convert_read(description, read), description, read


def against(report: Report, implementation: str) -> Comparison:
    return next(comparison for comparison in report.comparisons if comparison.implementation == implementation)


def failed(report: Report, implementation: str = "NumPy") -> list[str]:
    return [row.blob for row in against(report, implementation).rows if not row.passed]


class TestRightNetworks:
    @pytest.mark.parametrize("case", WHOLE)
    def test_pass_against_caffe_and_numpy(self, case: str) -> None:
        model, description, weights = golden(case)
        report = check(model, description, weights, reference=GOLDENS / case / "blobs.npz", use_opencv=False)
        assert report.passed
        blobs = set(np.load(GOLDENS / case / "blobs.npz").files)
        assert {row.blob for row in against(report, "Caffe").rows} == blobs
        compared = {row.blob for row in against(report, "NumPy").rows}
        made = {value for values in json.loads(metadata(model)["caffe"])["layers"].values() for value in values}
        assert compared == made - {value.name for value in model.graph.input}

    def test_pass_on_two_random_inputs_when_none_are_given(self) -> None:
        report = check(*golden("mini_alexnet"), use_opencv=False)
        assert report.passed
        assert report.inputs == "2 random inputs (seed 0)"
        rows = {row.blob: row for row in against(report, "NumPy").rows}
        assert rows["prob"].numbers == 2 * 10
        assert {"conv1", "conv1@conv1", "fc6@fc6"} <= set(rows)

    @needs_opencv
    @pytest.mark.parametrize("case", ["mini_alexnet", "mini_googlenet", "mini_vgg"])
    def test_agree_with_opencv_layer_by_layer(self, case: str) -> None:
        report = check(*golden(case))
        comparison = against(report, "OpenCV")
        assert comparison.passed
        assert not comparison.note
        assert {row.blob for row in comparison.rows} == {row.blob for row in against(report, "NumPy").rows}

    def test_are_computed_a_few_blobs_at_a_time_with_the_same_numbers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        files = golden("mini_googlenet")
        whole = check(*files, use_opencv=False)
        monkeypatch.setattr("predict_diff.caffe.converted._NUMBERS_AT_ONCE", 20_000)
        pieces = check(*files, use_opencv=False)
        assert [row.blob for row in pieces.rows] == [row.blob for row in whole.rows]
        np.testing.assert_allclose([row.error for row in pieces.rows], [row.error for row in whole.rows], atol=1e-6)

    def test_an_input_that_a_layer_overwrites(self) -> None:
        files = golden("layers/inplace_input")
        folder = GOLDENS / "layers/inplace_input"
        assert check(*files, inputs=folder / "input.npy", reference=folder / "blobs.npz", use_opencv=False).passed
        with pytest.raises(ConversionError, match="a layer overwrites 'data'"):
            check(*files, reference=folder / "blobs.npz")

    def test_inputs_that_only_their_size_or_nothing_is_taken_of(self) -> None:
        report = check(
            *network(
                "layer { name: 'data' type: 'Input' top: 'data' top: 'like' top: 'label' "
                "input_param { shape { dim: 1 dim: 2 dim: 6 dim: 6 } shape { dim: 1 dim: 2 dim: 3 dim: 4 } "
                "shape { dim: 1 } } }"
                "layer { name: 'crop' type: 'Crop' bottom: 'data' bottom: 'like' top: 'crop' crop_param { offset: 1 } }"
                "layer { name: 'unused' type: 'Silence' bottom: 'label' }"
            ),
            use_opencv=False,
        )
        assert report.passed
        assert [(row.blob, row.numbers) for row in report.rows] == [("crop", 2 * 2 * 3 * 4)]

    def test_the_stated_batch_where_a_layer_counts_on_it(self) -> None:
        report = check(
            *network(
                "layer { name: 'data' type: 'Input' top: 'data' input_param { shape { dim: 3 dim: 4 } } }"
                "layer { name: 'r' type: 'Reshape' bottom: 'data' top: 'r' "
                "reshape_param { shape { dim: 3 dim: 2 dim: 2 } } }"
            ),
            use_opencv=False,
        )
        assert report.passed
        assert report.inputs.startswith("3 random inputs")

    def test_a_layer_that_magnifies_rounding_is_judged_by_its_own_bottoms(self) -> None:
        far = "layer {{ name: '{0}' type: 'Power' bottom: '{1}' top: '{0}' power_param {{ shift: {2} }} }}"
        report = check(
            *network(
                "layer { name: 'data' type: 'Input' top: 'data' input_param { shape { dim: 1 dim: 50 } } }"
                + far.format("away", "data", 1e6)
                + far.format("back", "away", -1e6)
                + "layer { name: 'positive' type: 'Threshold' bottom: 'back' top: 'positive' }"
            ),
            use_opencv=False,
        )
        rows = {row.blob: row for row in report.rows}
        assert report.passed
        assert rows["back"].error <= LIMIT
        assert "rounding in earlier layers moves it by" in rows["back"].note
        assert not rows["away"].note

    def test_a_type_that_the_reading_does_not_know_is_said_and_passed_over(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delitem(check.__globals__["reading"].TYPES, "LRN")
        report = check(*golden("mini_alexnet"), use_opencv=False)
        assert report.passed
        assert against(report, "NumPy").note == "layers of types it does not know: 'norm1', 'norm2'"
        assert "norm1" not in {row.blob for row in report.rows}
        assert "pool1" in {row.blob for row in report.rows}


class TestWrongNetworks:
    def test_a_changed_weight_is_found_in_its_layer_and_after_it(self) -> None:
        model, description, weights = golden("mini_alexnet")
        conv3 = next(node for node in model.graph.node if "conv3@conv3" in node.output)
        kernel = next(tensor for tensor in model.graph.initializer if tensor.name == conv3.input[1])
        values = numpy_helper.to_array(kernel).copy()
        values.flat[7] += 0.01 * np.abs(values).max()
        kernel.CopyFrom(numpy_helper.from_array(values, kernel.name))
        report = check(model, description, weights, reference=GOLDENS / "mini_alexnet/blobs.npz", use_opencv=False)
        assert not report.passed
        assert failed(report)[0] == "conv3@conv3"
        assert failed(report, "Caffe")[0] == "conv3"
        assert "prob" in failed(report)
        assert "FAILED" in report.table()

    @pytest.mark.parametrize(
        ("case", "operator", "change"),
        [
            ("mini_alexnet", "LRN", lambda node: set_attribute(node, "size", 3)),
            ("mini_alexnet", "LRN", lambda node: set_attribute(node, "bias", 2.0)),
            ("mini_googlenet", "Concat", lambda node: node.input.insert(0, node.input.pop())),
            ("layers/pool_ave_9x10", "AveragePool", lambda node: set_attribute(node, "count_include_pad", 0)),
            ("layers/mvn", "Sqrt", lambda node: setattr(node, "op_type", "Abs")),
            ("layers/eltwise", "Max", lambda node: setattr(node, "op_type", "Min")),
        ],
    )
    def test_a_changed_operator_is_found(
        self, case: str, operator: str, change: Callable[[onnx.NodeProto], None]
    ) -> None:
        model, description, weights = golden(case)
        for node in [node for node in model.graph.node if node.op_type == operator]:
            change(node)
        report = check(model, description, weights, use_opencv=False)
        assert not report.passed

    def test_a_model_of_other_files_is_refused(self) -> None:
        model, _, weights = golden("mini_alexnet")
        with pytest.raises(ConversionError, match="expected the file that the network was converted from"):
            check(model, read_description(GOLDENS / "mini_vgg/deploy.prototxt"), weights)


def set_attribute(node: onnx.NodeProto, name: str, value: Any) -> None:
    kept = [attribute for attribute in node.attribute if attribute.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, onnx.helper.make_attribute(name, value)])


class TestGivenFiles:
    FILES = property(lambda self: golden("mini_alexnet"))
    REFERENCE = GOLDENS / "mini_alexnet/blobs.npz"

    def blobs(self, folder: Path, **changes: ArrayLike | None) -> Path:
        arrays = {**np.load(self.REFERENCE), **changes}
        path = folder / "blobs.npz"
        np.savez_compressed(path, **{name: array for name, array in arrays.items() if array is not None})
        return path

    def refuse(self, **given: Any) -> str:
        with pytest.raises(ConversionError) as caught:
            check(*self.FILES, use_opencv=False, **given)
        message = str(caught.value)
        assert "\n" not in message
        return message

    def test_inputs_as_npy_npz_or_arrays(self, tmp_path: Path) -> None:
        x = np.load(self.REFERENCE)["data"]
        np.save(tmp_path / "x.npy", np.asfortranarray(x, dtype=np.float64))
        np.savez(tmp_path / "x.npz", data=x)
        for inputs in (tmp_path / "x.npy", tmp_path / "x.npz", {"data": x}):
            report = check(*self.FILES, inputs=inputs, reference=self.REFERENCE, use_opencv=False)
            assert report.passed

    def test_blobs_of_the_original_that_the_network_does_not_have_are_named(self, tmp_path: Path) -> None:
        path = self.blobs(tmp_path, label=np.zeros(2), conv1_split_0=np.zeros(2))
        assert (
            against(check(*self.FILES, reference=path, use_opencv=False), "Caffe").note == "the network has no 'label'"
        )

    def test_a_missing_output(self, tmp_path: Path) -> None:
        message = self.refuse(reference=self.blobs(tmp_path, prob=None, probe=np.zeros(3)))
        assert "found no blob 'prob' (did you mean 'probe'?)" in message

    def test_another_shape(self, tmp_path: Path) -> None:
        message = self.refuse(reference=self.blobs(tmp_path, fc8=np.zeros((2, 11))))
        assert "blob 'fc8': expected shape (2, 10), found (2, 11)" in message

    def test_another_shape_of_the_input(self, tmp_path: Path) -> None:
        np.save(tmp_path / "x.npy", np.zeros((2, 3, 68, 67), np.float32))
        assert "input 'data': expected N x 3 x 67 x 67, found 2 x 3 x 68 x 67" in self.refuse(inputs=tmp_path / "x.npy")

    def test_an_input_that_is_not_finite(self, tmp_path: Path) -> None:
        x = np.zeros((2, 3, 67, 67), np.float32)
        x[1, 2, 3, 4] = np.nan
        assert "expected finite numbers, found NaN" in self.refuse(inputs={"data": x})

    def test_no_input_of_that_name(self) -> None:
        assert "expected an array for input 'data', found 'date' (did you mean 'date'?)" in self.refuse(
            inputs={"date": np.zeros(3)}
        )

    def test_nan_where_the_network_has_none_fails(self, tmp_path: Path) -> None:
        fc8 = np.load(self.REFERENCE)["fc8"]
        fc8[0, 0] = np.nan
        report = check(*self.FILES, reference=self.blobs(tmp_path, fc8=fc8), use_opencv=False)
        assert failed(report, "Caffe") == ["fc8"]
        assert "NaN, infinity or -FLT_MAX in other places than expected" in report.table()
        assert json.loads(report.to_json())["implementations"][0]["blobs"]["fc8"][0] is None

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "found an empty file"),
            (b"\x80\x04\x95pickle", "found a Python pickle"),
            (b"<!DOCTYPE html><html>", "found a web page"),
            (b"layer {", "found a file of another kind"),
            (b"PK\x03\x04 and no more", "found a damaged archive"),
            (b"\x93NUMPY\x01\x00\x05\x00junk\n", "found a damaged header"),
        ],
    )
    def test_files_of_other_kinds(self, tmp_path: Path, content: bytes, message: str) -> None:
        path = tmp_path / "given"
        path.write_bytes(content)
        assert message in self.refuse(inputs=path)
        assert message in self.refuse(reference=path)

    def test_nothing_is_unpickled(self, tmp_path: Path) -> None:
        np.save(tmp_path / "x.npy", np.array([{}], object), allow_pickle=True)
        np.savez(tmp_path / "x.npz", data=np.array([{}], object))
        for name in ("x.npy", "x.npz"):
            assert "pickled Python objects, which are never loaded" in self.refuse(inputs=tmp_path / name)

    def test_an_array_where_blobs_belong_and_no_file_at_all(self, tmp_path: Path) -> None:
        np.save(tmp_path / "x.npy", np.zeros((2, 3, 67, 67), np.float32))
        given = {"inputs": tmp_path / "x.npy", "reference": tmp_path / "x.npy"}
        assert "expected blobs by name (.npz), found one array" in self.refuse(**given)
        assert "No such file" in self.refuse(inputs=tmp_path / "missing.npy")

    def test_truncated_archives_and_stated_sizes_that_are_not_there(self, tmp_path: Path) -> None:
        path = self.blobs(tmp_path)
        path.write_bytes(path.read_bytes()[:-500])
        assert "found a damaged archive" in self.refuse(reference=path)
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            header, {"descr": "<f4", "fortran_order": False, "shape": (1 << 20, 3, 67, 67)}
        )
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("data.npy", header.getvalue())
        # 56 GB are stated; nothing of that size is allocated.
        assert "for shape (1048576, 3, 67, 67), found 0" in self.refuse(inputs=path)

    def test_a_flipped_bit_is_found_by_the_archives_checksum(self, tmp_path: Path) -> None:
        path = tmp_path / "x.npz"
        np.savez(path, data=np.load(self.REFERENCE)["data"])
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        assert "found a damaged archive (Bad CRC-32" in self.refuse(inputs=path)


class TestCompare:
    X = np.array([[1.0, -4.0], [0.0, 2.0]], np.float32)

    def test_error_is_relative_to_the_largest_value(self) -> None:
        row = compare("b", self.X + np.float32(0.5), self.X.astype(float), LIMIT)
        assert row.error == 0.125
        assert row.numbers == 4
        assert not row.passed

    def test_cosine(self) -> None:
        assert compare("b", self.X, 3.0 * self.X, LIMIT).cosine == pytest.approx(1)
        assert compare("b", self.X, -self.X, LIMIT).cosine == pytest.approx(-1)
        assert compare("b", np.zeros(3, np.float32), np.zeros(3), LIMIT).cosine == 1

    def test_zeros_have_to_be_zeros(self) -> None:
        assert compare("b", np.zeros(3, np.float32), np.zeros(3), LIMIT).passed
        assert compare("b", np.full(3, 1e-9, np.float32), np.zeros(3), LIMIT).error == math.inf

    @pytest.mark.parametrize("odd", [math.nan, math.inf, -float(np.finfo(np.float32).max)])
    def test_odd_values_have_to_be_in_the_same_places_and_hide_nothing(self, odd: float) -> None:
        expected = np.array([1.0, odd, 2.0])
        found = expected.astype(np.float32)
        assert compare("b", found, expected, LIMIT).error == 0
        found[2] += 1
        assert compare("b", found, expected, LIMIT).error == 0.5
        assert compare("b", found[::-1].copy(), np.array([odd, 1.0, 2.0]), LIMIT).error == math.inf

    def test_what_overflows_single_precision_is_infinite(self) -> None:
        assert compare("b", np.array([np.inf], np.float32), np.array([1e40]), LIMIT).passed

    def test_another_shape_fails(self) -> None:
        row = compare("b", self.X, self.X.reshape(4, 1), LIMIT)
        assert row.error == math.inf
        assert row.note == "shape (2, 2) where (4, 1) is expected"


def metadata(model: onnx.ModelProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in model.metadata_props}


class TestReport:
    @staticmethod
    def report(count: int, bad: int = 0) -> Report:
        rows = [Row(f"inception_{i}/" + "x" * 60, 10**7, 1e-7 * (i + 1), 1.0, LIMIT) for i in range(count)]
        rows += [Row(f"bad{i}", 3, 0.5, 0.1, LIMIT, "note " * 40) for i in range(bad)]
        others = [Comparison(name, "1.2.3", rows, binding=False) for name in ("Caffe", "OpenCV")]
        return Report(
            "net", "2 random inputs", "ONNX Runtime 1", [Comparison("NumPy", "2", rows, binding=True), *others]
        )

    @pytest.mark.parametrize("full", [False, True])
    def test_the_table_fits_a_terminal(self, full: bool) -> None:
        assert max(map(len, self.report(40, 12).table(full).splitlines())) <= 110

    def test_short_tables_have_what_fails_and_the_worst_ten(self) -> None:
        lines = self.report(40, 12).table().splitlines()
        shown = [line for line in lines if line.startswith(("bad", "inception"))]
        assert len(shown) == 12
        assert all(line.startswith("bad") for line in shown)
        assert "... and 40 more blobs" in lines
        assert lines[-1] == "FAILED"

    def test_of_an_implementation_that_does_not_bind_short_tables_have_the_first_that_differs(self) -> None:
        right = [Row(f"blob{index:02}", 3, 1e-7, 1.0, LIMIT) for index in range(40)]
        wrong = [*right[:20], *(Row(row.blob, 3, 0.5, 0.1, LIMIT) for row in right[20:])]
        comparisons = [Comparison("NumPy", "2", right, binding=True), Comparison("OpenCV", "4", wrong, binding=False)]
        table = Report("net", "", "", comparisons).table()
        assert "OpenCV 4: differs in 20 of 40 blobs, first in 'blob20'" in table
        assert "blob20  " in table
        assert "blob21" not in table
        assert table.endswith("PASSED")

    def test_full_tables_keep_the_order_of_computation(self) -> None:
        lines = self.report(40).table(full=True).splitlines()
        shown = [line.partition("/")[0] for line in lines if line.startswith("inception")]
        assert shown == [f"inception_{index}" for index in range(40)]
        assert lines[-1] == "PASSED"

    def test_nothing_compared_is_not_a_pass(self) -> None:
        report = Report("net", "", "", [Comparison("NumPy", "2", [], binding=True, note="why")])
        assert not report.passed
        assert "NumPy 2: not compared: why" in report.table()

    def test_it_is_stored_in_the_model_once(self) -> None:
        model, description, weights = golden("layers/relu")
        attach(model, self.report(3))
        attach(model, check(model, description, weights, use_opencv=False))
        stored = onnx.load_model_from_string(model.SerializeToString())
        assert sum(entry.key == "check" for entry in stored.metadata_props) == 1
        assert {"caffe", "prototxt_sha256"} <= set(metadata(stored))
        found = json.loads(metadata(stored)["check"])
        assert found["passed"] is True
        (numpy,) = found["implementations"]
        assert (numpy["name"], numpy["version"]) == ("NumPy", np.__version__)
        assert set(numpy["blobs"]) == {"r", "l", "n"}
        assert numpy["worst"]["error"] <= LIMIT


class TestOpenCV:
    def test_is_left_out_where_it_is_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(opencv, "find_spec", lambda name: None)
        report = check(*golden("layers/relu"))
        assert report.passed
        assert "not installed (pip install 'opencv-python-headless<5')" in report.table()

    @needs_opencv
    def test_where_it_is_known_to_differ_the_report_says_so_and_the_check_passes(self) -> None:
        report = check(*golden("layers/lrn_across"))
        assert report.passed
        notes = {row.blob: row.note for row in against(report, "OpenCV").rows if not row.passed}
        assert notes["n2"] == notes["n3"] == "OpenCV ignores k"
        assert "n0" not in notes
        assert "OpenCV 4" in report.table()
        assert "differs in" in report.table()

    @needs_opencv
    @pytest.mark.parametrize(
        ("case", "note"),
        [
            ("layers/argmax", 'stops at layer \'a0\' (Can\'t create layer "a0" of type "ArgMax")'),
            ("layers/scale", "stops at layer 'sn'"),
        ],
    )
    def test_what_it_cannot_do_is_said(self, case: str, note: str) -> None:
        report = check(*golden(case))
        assert report.passed
        assert note in against(report, "OpenCV").note

    @needs_opencv
    def test_files_that_are_gone_are_said(self) -> None:
        text = "layer { name: 'd' type: 'Input' top: 'd' input_param { shape { dim: 1 dim: 3 } } }"
        report = check(*network(f"{text} layer {{ name: 'r' type: 'ReLU' bottom: 'd' top: 'r' }}"))
        assert report.passed
        assert "cannot read the files" in against(report, "OpenCV").note

    def test_its_crash_is_not_ours(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        script = tmp_path / "crashes.py"
        script.write_text("import os; os.abort()")
        monkeypatch.setattr(opencv, "find_spec", lambda name: True)
        monkeypatch.setattr(opencv.opencv_process, "__file__", str(script))
        report = check(*golden("layers/relu"))
        assert report.passed
        assert against(report, "OpenCV").note == "it crashed (signal 6)"


class TestRandomInputs:
    def test_are_like_photos_standard_normal_or_rows_of_a_table(self) -> None:
        net = Description.from_text(
            "layer { name: 'in' type: 'Input' top: 'data' top: 'word' top: 'size' input_param { "
            "shape { dim: 1 dim: 3 dim: 64 dim: 64 } shape { dim: 1 dim: 9 dim: 1 } shape { dim: 1 dim: 500 } } }"
            "layer { name: 'flat' type: 'Flatten' bottom: 'word' top: 'flat' }"
            "layer { name: 'e' type: 'Embed' bottom: 'flat' top: 'e' embed_param { input_dim: 5 num_output: 2 } }"
        ).net
        shapes = {"data": (None, 3, 64, 64), "word": (None, 9, 1), "size": (None, 500)}
        inputs = random_inputs(net, shapes, 2, seed=1)
        photos, words, sizes = inputs.values()
        assert photos.shape == (2, 3, 64, 64)
        assert photos.std() == pytest.approx(60, rel=0.05)
        assert np.abs(photos.mean()) < 5
        assert set(np.unique(words)) == {0, 1, 2, 3, 4}
        assert sizes.std() == pytest.approx(1, rel=0.1)
        again = random_inputs(net, shapes, 2, seed=1)
        assert all(np.array_equal(again[name], inputs[name]) for name in inputs)


@pytest.mark.slow
def test_a_network_of_full_size_passes_against_all(tmp_path: Path) -> None:
    prototxt = MODELS / "googlenet/deploy.prototxt"
    weights = read_weights(write_random_weights(prototxt, tmp_path / "net.caffemodel", seed=0))
    description = read_description(prototxt)
    report = check(convert_read(description, weights), description, weights)
    assert report.passed
    assert all(comparison.passed for comparison in report.comparisons)

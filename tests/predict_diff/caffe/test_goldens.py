"""Converted networks against arrays that the original Caffe computed (tests/goldens/README.md)."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
from caffe_networks import Array, declared, run

from predict_diff.caffe.converter import CONVERTER_VERSION, convert
from predict_diff.network.gradient import gradient_model

GOLDENS = Path(__file__).parents[2] / "goldens"
CASES = sorted(path.parent.relative_to(GOLDENS).as_posix() for path in GOLDENS.rglob("blobs.npz"))

#: Caffe has no gradient here, or none that is defined.
WITHOUT_GRADIENT = {
    "layers/argmax": "ArgMax has no backward pass",
    "layers/argmax_ties": "ArgMax has no backward pass",
    "layers/embed": "Embed cannot propagate to its input",
    "layers/parameter": "the original was not asked for one",
    "layers/pool_mask": "that of the mask is not defined",
    "layers/threshold": "Threshold has no backward pass",
}

#: Photos of a batch do not stand for themselves.
ACROSS_PHOTOS = {
    "layers/batchnorm_batchstats": "normalises by the statistics of the batch",
    "layers/concat": "one layer joins along the batch axis",
    "layers/flatten": "one layer makes the batch a part of another axis",
    "layers/reduction": "one layer sums over the batch",
    "layers/slice": "one layer cuts the batch in halves",
    "layers/softmax": "one layer normalises over the batch",
}

BLOB_ERROR = 1e-5  # of the blob's largest value
GRADIENT_ERROR = 1e-4  # relative, in L2


@cache
def converted(case: str, weights: str = "weights.caffemodel") -> onnx.ModelProto:
    return convert(GOLDENS / case / "deploy.prototxt", GOLDENS / case / weights, "CC0")


@cache
def blobs_of(case: str) -> dict[str, Array]:
    return dict(np.load(GOLDENS / case / "blobs.npz"))


def inputs_of(case: str, model: onnx.ModelProto) -> dict[str, Array]:
    """What the network is fed, by the names of the model's inputs: ``data@data`` where a layer overwrites ``data``."""
    overwritten = GOLDENS / case / "input.npy"
    if overwritten.exists():
        (name,) = (info.name for info in model.graph.input)
        return {name: np.load(overwritten)}
    return {info.name: blobs_of(case)[info.name] for info in model.graph.input}


def expect_equal(found: Array, caffe: Array) -> None:
    assert found.shape == caffe.shape
    finite = np.isfinite(caffe)
    assert np.array_equal(found[~finite], caffe[~finite], equal_nan=True)
    if finite.any():
        assert np.abs(found - caffe)[finite].max() <= BLOB_ERROR * np.abs(caffe[finite]).max()


def gradients(model: onnx.ModelProto, feeds: dict[str, Array], diffs: dict[str, Array]) -> dict[str, Array]:
    backward = gradient_model(model, list(diffs))
    diffs = {f"upstream/{blob}": diff for blob, diff in diffs.items()}
    found = run(backward, feeds | diffs)
    return {name.removeprefix("gradient/").split("@")[0]: gradient for name, gradient in found.items()}


def distance(found: Array, caffe: Array) -> float:
    return float(np.linalg.norm(np.float64(found) - caffe) / np.linalg.norm(np.float64(caffe)))


def test_no_case_is_missing() -> None:
    whole = [case for case in CASES if not case.startswith("layers/")]
    assert whole == ["mini_alexnet", "mini_googlenet", "mini_vgg", "v0_lenet", "v0_padding"]
    assert len(CASES) - len(whole) == 57


@pytest.mark.parametrize("case", CASES)
def test_every_blob_has_caffes_value(case: str) -> None:
    model, caffe = converted(case), blobs_of(case)
    feeds = inputs_of(case, model)
    others = [blob for blob in caffe if blob not in feeds]
    for blob, found in run(model, feeds, others).items():
        expect_equal(found, caffe[blob])


@pytest.mark.parametrize(
    ("case", "weights"),
    [("layers/hdf5_weights", "weights.caffemodel.h5"), ("layers/old_input_fields", "weights_double.caffemodel")],
)
def test_the_same_weights_in_another_form_give_the_same_blobs(case: str, weights: str) -> None:
    usual, other = converted(case), converted(case, weights)
    feeds = inputs_of(case, usual)
    others = [blob for blob in blobs_of(case) if blob not in feeds]
    first, second = run(usual, feeds, others), run(other, feeds, others)
    for blob in others:
        assert np.array_equal(first[blob], second[blob])


@pytest.mark.parametrize("case", [case for case in CASES if case not in WITHOUT_GRADIENT])
def test_gradients_are_caffes(case: str) -> None:
    caffe, model = dict(np.load(GOLDENS / case / "grad.npz")), converted(case)
    if "unit" in caffe:
        blob, unit = str(caffe["blob"]), int(caffe["unit"])
        diff = np.zeros_like(blobs_of(case)[blob])
        diff[:, unit] = 1
        diffs, wanted = {blob: diff}, {"data": caffe["data"]}
    else:
        diffs, wanted = (
            {key.removeprefix(part): caffe[key] for key in caffe if key.startswith(part)}
            for part in ("top_diff/", "grad/")
        )
    found = gradients(model, inputs_of(case, model), diffs)
    assert found.keys() == wanted.keys()
    for name in wanted:
        assert distance(found[name], wanted[name]) <= GRADIENT_ERROR


def test_there_is_no_gradient_where_caffe_has_none() -> None:
    assert {case for case in CASES if not (GOLDENS / case / "grad.npz").exists()} == WITHOUT_GRADIENT.keys()


def test_gradient_of_mvn_is_caffes_and_not_quite_the_derivative() -> None:
    """y = c / (s + eps), with c = x - mean and s the deviation: the way through s has the factor (s + eps) / s.

    Caffe's backward pass leaves that factor out, and so do we; at this eps, 0.1, it shows.
    """
    case = "layers/mvn"
    model, x = converted(case), np.float64(blobs_of(case)["data"])
    diff = np.load(GOLDENS / case / "grad.npz")["top_diff/m4"]
    mean, deviation, eps = x.mean((2, 3), keepdims=True), x.std((2, 3), keepdims=True), 0.1
    y = (x - mean) / (deviation + eps)
    direct, through = diff - diff.mean((2, 3), keepdims=True), y * (diff * y).mean((2, 3), keepdims=True)
    found = gradients(model, inputs_of(case, model), {"m4": diff})["data"]
    assert distance(found, (direct - through) / (deviation + eps)) < 1e-6
    assert distance(found, (direct - through * (deviation + eps) / deviation) / (deviation + eps)) > 1e-2


@pytest.mark.parametrize("case", CASES)
def test_models_are_valid_and_say_where_they_come_from(case: str) -> None:
    model = converted(case)
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 22)]
    assert model.ir_version == 10
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    names, described = json.loads(metadata.pop("caffe")), json.loads(metadata.pop("caffe_layers"))
    assert names["layers"].keys() <= described.keys()
    assert metadata == {
        "prototxt_sha256": hashlib.sha256((GOLDENS / case / "deploy.prototxt").read_bytes()).hexdigest(),
        "weights_sha256": hashlib.sha256((GOLDENS / case / "weights.caffemodel").read_bytes()).hexdigest(),
        "converter_version": CONVERTER_VERSION,
        "licence": "CC0",
    }
    assert set(names["blobs"]) == set(blobs_of(case))
    values = {info.name for info in (*model.graph.input, *model.graph.value_info, *model.graph.output)}
    assert {value for tops in names["layers"].values() for value in tops} | set(names["blobs"]) == values


@pytest.mark.parametrize("case", CASES)
def test_every_blob_is_declared_with_caffes_shape_and_an_open_batch(case: str) -> None:
    shapes = declared(converted(case))
    for blob, array in blobs_of(case).items():
        assert len(shapes[blob]) == array.ndim
        assert all(stated in (size, "N") for stated, size in zip(shapes[blob], array.shape, strict=True)) or (
            case in ACROSS_PHOTOS
        )
    assert all(info.type.tensor_type.shape.dim[0].dim_param == "N" for info in converted(case).graph.input[:1])


@pytest.mark.parametrize("case", [case for case in CASES if case not in ACROSS_PHOTOS])
@pytest.mark.parametrize("count", [1, 3])
def test_any_number_of_photos_can_stand_in_a_batch(case: str, count: int) -> None:
    model, caffe = converted(case), blobs_of(case)
    shapes, inputs = declared(model), inputs_of(case, model)
    batch = len(next(iter(inputs.values())))
    photos = [(batch - 1 - place) % batch for place in range(count)]
    feeds = {name: array[photos] if shapes[name][0] == "N" else array for name, array in inputs.items()}
    others = [blob for blob in caffe if blob not in feeds]
    for blob, found in run(model, feeds, others).items():
        expect_equal(found, caffe[blob][photos] if shapes[blob][:1] == ("N",) else caffe[blob])

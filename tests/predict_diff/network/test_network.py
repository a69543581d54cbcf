"""Networks on ONNX Runtime: blobs by name, shapes, gradients, providers, and files that are none."""

from __future__ import annotations

import hashlib
from copy import deepcopy
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from predict_diff.errors import ConfigurationError, NetworkError
from predict_diff.network.network import Network
from predict_diff.network.runtime import cuda_problem
from predict_diff.sensitivity import sensitivity_map
from predict_diff.targets import Target


def numpy_forward(network: Network, x: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
    """The small classifier in plain loops and float64."""
    tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in network.load().graph.initializer}
    padded = np.pad(x.astype(np.float64), ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    before = np.einsum("crsij,ocij->ors", windows, tensors["w1"]) + tensors["b1"][:, None, None]
    conv = np.maximum(before, 0)
    pool = conv.reshape(5, 7, 2, 7, 2).max(axis=(2, 4))
    fc = tensors["w2"] @ pool.ravel() + tensors["b2"]
    exponentials = np.exp(fc - fc.max())
    return {"conv@conv": before, "conv": conv, "pool": pool, "fc": fc, "prob": exponentials / exponentials.sum()}


def test_every_blob_has_its_value(network: Network, x: NDArray[np.float32]) -> None:
    expected = numpy_forward(network, x)
    found = network.run(x, list(expected))
    for name, value in expected.items():
        np.testing.assert_allclose(found[name][0], value, rtol=0, atol=1e-5 * np.abs(value).max(), err_msg=name)


def test_a_copy_of_a_network_that_has_run_gives_the_same(network: Network, x: NDArray[np.float32]) -> None:
    expected = network.run(x, "prob")["prob"]
    copied = deepcopy(network)  # as other processes get it
    np.testing.assert_array_equal(copied.run(x, "prob")["prob"], expected)
    assert copied.sha256 == network.sha256


def test_blobs_have_shapes_without_the_batch(network: Network) -> None:
    assert network.input_shape == (3, 14, 14)
    assert network.blobs["data"] == (3, 14, 14)
    assert network.blobs["pool"] == (5, 7, 7)
    assert network.blobs["prob"] == (4,)
    assert "w1" not in network.blobs
    assert network.outputs == ("prob",)


def test_a_batch_gives_what_its_photos_give(network: Network, photos: NDArray[np.float32]) -> None:
    together = network.run(photos[:3], "prob")["prob"]
    alone = np.concatenate([network.run(photo, "prob")["prob"] for photo in photos[:3]])
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-6)


def test_what_a_softmax_makes_is_a_probability(network: Network) -> None:
    assert network.is_probability("prob")
    assert not network.is_probability("fc")
    assert network.penultimate("prob") == "fc"
    assert network.penultimate("conv") == "conv"


@pytest.mark.parametrize("opset", [11, 12, 13, 22])
@pytest.mark.parametrize("axis", [None, 1, 2, 3, -1, -3])
@pytest.mark.parametrize("after", ["", "Flatten", "Identity"])
def test_the_classes_of_a_probability_are_those_that_add_up_to_1(opset: int, axis: int | None, after: str) -> None:
    """Over whichever axis; until opset 12 over all that follow it, too."""
    nodes = [helper.make_node("Softmax", ["data"], ["p"], **({} if axis is None else {"axis": axis}))]
    if after:
        nodes.append(helper.make_node(after, ["p"], ["prob"]))
    ends = [
        helper.make_tensor_value_info("data", TensorProto.FLOAT, ["N", 3, 4, 5]),
        helper.make_tensor_value_info("prob" if after else "p", TensorProto.FLOAT, None),
    ]
    graph = helper.make_graph(nodes, "softmax", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    network = Network(model, "cpu", threads=1)
    (output,) = network.outputs
    values = network.run(np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32), output)[output][0]
    assert network.classes(output) == pytest.approx(values.size / values.sum(), rel=1e-5)
    assert network.classes("data") == 3  # no probability


def test_an_unknown_blob_is_refused_with_the_closest(network: Network, x: NDArray[np.float32]) -> None:
    with pytest.raises(NetworkError, match=r"found 'prop'.*did you mean 'prob'"):
        network.run(x, "prop")


def test_photos_of_another_shape_are_refused(network: Network) -> None:
    with pytest.raises(NetworkError, match=r"expected photos of shape \(3, 14, 14\), found \(3, 15, 14\)"):
        network.run(np.zeros((3, 15, 14), np.float32), "prob")


def test_the_gradient_is_the_slope(network: Network, x: NDArray[np.float32]) -> None:
    gradient = network.gradient(x, "fc", 2)
    assert gradient.shape == x.shape
    direction = np.random.default_rng(3).normal(size=x.shape)
    step = 1e-6
    ends = [numpy_forward(network, x + sign * step * direction)["fc"][2] for sign in (-1, 1)]
    assert (gradient * direction).sum() == pytest.approx((ends[1] - ends[0]) / (2 * step), rel=1e-4)


def test_where_there_is_no_gradient_the_message_names_the_file_and_says_what_to_do(tmp_path: Path) -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 18]> main_graph (float[N,1,4,4] x) => (float[N,1,4,4] y) { y = Atan(x) }'
    )
    onnx.save(model, tmp_path / "mine.onnx")
    with pytest.raises(NetworkError, match=r"^mine: operator Atan of 'y' has no derivative here; choose a method that"):
        Network(tmp_path / "mine.onnx", provider="cpu").gradient(np.ones((1, 4, 4), np.float32), "y", 0)


def test_the_gradient_of_a_mean_is_the_mean_of_gradients(network: Network, x: NDArray[np.float32]) -> None:
    units = [network.gradient(x, "pool", (1, row, column)) for row in range(7) for column in range(7)]
    np.testing.assert_allclose(network.gradient(x, "pool", (1,)), np.mean(units, axis=0), atol=1e-6)


def test_a_unit_that_does_not_exist_is_refused(network: Network, x: NDArray[np.float32]) -> None:
    with pytest.raises(NetworkError, match=r"shape \(4,\), so it has no unit 4"):
        network.gradient(x, "fc", 4)
    with pytest.raises(NetworkError, match="so it has no unit"):
        network.gradient(x, "pool", (1, 9, 0))


def test_a_sensitivity_map_is_the_largest_slope_over_channels(network: Network, x: NDArray[np.float32]) -> None:
    plain = sensitivity_map(network, x, Target("fc", (1,)))
    np.testing.assert_array_equal(plain, np.abs(network.gradient(x, "fc", 1)).max(axis=0))


def test_the_authors_sensitivity_map_is_scaled_by_the_activation(network: Network, x: NDArray[np.float32]) -> None:
    plain = sensitivity_map(network, x, Target("fc", (1,)))
    scaled = sensitivity_map(network, x, Target("fc", (1,)), from_activation=True)
    activation = numpy_forward(network, x)["fc"][1]
    np.testing.assert_allclose(scaled, plain * abs(activation), rtol=1e-4)


def test_a_sensitivity_map_of_an_unknown_target_is_refused(network: Network, x: NDArray[np.float32]) -> None:
    with pytest.raises(ConfigurationError, match="has no unit"):
        sensitivity_map(network, x, Target("fc", (99,)))


def test_cuda_asked_for_where_there_is_none_is_an_error() -> None:
    if cuda_problem() is None:
        pytest.skip("there is a GPU")
    with pytest.raises(NetworkError, match=r"provider cuda: .*; use --provider cpu"):
        Network(identity_model(), provider="cuda")
    assert Network(identity_model(), provider="auto").provider == "cpu"


def test_a_runtime_without_the_provider_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("predict_diff.network.runtime._cuda_answer", [])
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert "has no CUDA provider" in str(cuda_problem())


@pytest.mark.gpu
def test_cuda_agrees_with_the_cpu(network: Network, photos: NDArray[np.float32]) -> None:
    if cuda_problem() is not None:
        pytest.skip("no GPU")
    on_gpu = Network(network.load(), provider="cuda")
    np.testing.assert_allclose(
        on_gpu.run(photos, "prob")["prob"], network.run(photos, "prob")["prob"], rtol=0, atol=1e-5
    )


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "found nothing there"), (b"", "without operators"), (b"<html>no</html>", "cannot be read")],
)
def test_files_that_are_no_networks_are_refused(tmp_path: Path, content: bytes | None, problem: str) -> None:
    path = tmp_path / "net.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(NetworkError, match=problem):
        Network(path)


def test_a_network_with_two_inputs_is_refused() -> None:
    model = identity_model()
    model.graph.input.append(helper.make_tensor_value_info("other", TensorProto.FLOAT, ["N", 3]))
    with pytest.raises(NetworkError, match=r"one input, found 2 \(x, other\)"):
        Network(model)


def test_a_network_of_open_size_is_refused() -> None:
    with pytest.raises(NetworkError, match="all sizes but the batch's fixed"):
        Network(identity_model(sides=("h", "w")))


def test_the_hash_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(identity_model(), str(path))
    assert Network(path).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def identity_model(sides: tuple[int | str, int | str] = (4, 4)) -> onnx.ModelProto:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3, *sides]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "net", ends[:1], ends[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

"""ONNX Runtime: what it is told, which operators it is given, and arrays that stay where sessions run."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from gradient_cases import network as written
from gradient_cases import normal, run
from numpy.typing import NDArray
from onnx import TensorProto, defs, helper
from random_networks import random_network

from predict_diff.errors import NetworkError
from predict_diff.network.binding import BoundSession, Buffer
from predict_diff.network.cuda import cuda_options, largest_batch, with_cuda_kernels
from predict_diff.network.incremental import IncrementalEvaluator
from predict_diff.network.minibatch import MiniBatchEvaluator
from predict_diff.network.network import Network
from predict_diff.network.runtime import cuda_problem, make_session, run_session
from predict_diff.precision import precision_error
from predict_diff.targets import Target

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


class Recorded:
    """Stands for ONNX Runtime's session, and remembers what it was given."""

    opened: list[Recorded] = []  # noqa: RUF012
    loaded = (CUDA, CPU)

    def __init__(self, model: bytes, options: onnxruntime.SessionOptions, providers: list[Any], **others: Any) -> None:
        self.model, self.options, self.others = onnx.load_from_string(model), options, others
        name_and_options = [entry if isinstance(entry, tuple) else (entry, {}) for entry in providers]
        self.providers, self.provider_options = zip(*name_and_options, strict=True)
        Recorded.opened.append(self)

    def get_providers(self) -> list[str]:
        return list(self.loaded)

    def entry(self, key: str) -> str:
        return str(self.options.get_session_config_entry(key))


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Recorded]:
    """The sessions that are opened on what looks like a machine with a GPU."""
    monkeypatch.setattr(Recorded, "opened", [])
    monkeypatch.setattr(onnxruntime, "InferenceSession", Recorded)
    monkeypatch.setattr("predict_diff.network.runtime._cuda_answer", [None])
    return Recorded.opened


def relu(opset: int = 22) -> onnx.ModelProto:
    return written("y = Relu(x)", opset=opset)


@pytest.mark.parametrize(("precision", "tf32"), [("full", "0"), ("tf32", "1"), ("fp16", "0")])
@pytest.mark.parametrize("device", [0, 3])
def test_cuda_is_told_device_and_precision(
    network: Network, opened: list[Recorded], precision: Any, tf32: str, device: int
) -> None:
    chosen = Network(network.load(), "auto", precision=precision, device=device)
    chosen.extended(network.load())
    session = opened[-1]
    assert session.providers == (CUDA,)
    assert session.provider_options[0]["use_tf32"] == tf32
    assert session.provider_options[0]["device_id"] == str(device)
    assert session.provider_options[0]["cudnn_conv_algo_search"] == "EXHAUSTIVE"
    assert session.entry("session.disable_cpu_ep_fallback") == "1"
    assert session.others == {"enable_fallback": 0}
    weights = {tensor.data_type for tensor in session.model.graph.initializer}
    assert weights == {TensorProto.FLOAT16 if precision == "fp16" else TensorProto.FLOAT}
    assert chosen.describe()["precision"] == precision
    assert chosen.describe()["provider"] == "cuda"


def test_every_provider_option_is_one_that_the_runtime_knows() -> None:
    """It refuses options that it does not know, but only where there is a GPU; so look into its library."""
    library = Path(onnxruntime.__file__).parent / "capi" / "libonnxruntime_providers_cuda.so"
    if not library.exists():
        pytest.skip("no CUDA provider")
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for name, value in cuda_options(tf32=True, device=0).items():
            assert content.find(name.encode()) > 0, name
            assert value.isdigit() or content.find(value.encode()) > 0, value


def test_the_cpu_is_told_nothing_of_a_gpu(network: Network, opened: list[Recorded]) -> None:
    chosen = Network(network.load(), "cpu", threads=3)
    chosen.extended(network.load())
    session = opened[-1]
    assert (session.providers, session.provider_options) == ((CPU,), ({},))
    assert session.options.intra_op_num_threads == 3
    assert session.model.opset_import[0].version == 22
    assert chosen.describe()["precision"] == "full"


def test_a_gradient_runs_on_the_cpu_in_full_precision(
    network: Network, opened: list[Recorded], x: NDArray[np.float32]
) -> None:
    chosen = Network(network.load(), "cuda", precision="fp16")
    with pytest.raises(AttributeError):  # what stands for the session cannot run
        chosen.gradient(x, "fc", 1)
    assert opened[-1].providers == (CPU,)
    assert {tensor.data_type for tensor in opened[-1].model.graph.initializer} <= {
        TensorProto.FLOAT,
        TensorProto.INT64,
    }


def test_a_session_that_quietly_runs_on_the_cpu_is_refused(
    opened: list[Recorded], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Recorded, "loaded", (CPU,))
    with pytest.raises(NetworkError, match="CUDA was asked for, but ONNX Runtime did not load it"):
        make_session(relu(), "cuda")


def test_a_gpu_that_does_not_exist_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("Parse\nfailed: Invalid device ID: 7, must be between 0 (inclusive) and 1 (exclusive).")

    monkeypatch.setattr(onnxruntime, "InferenceSession", refuse)
    with pytest.raises(NetworkError, match=r"^device 7: expected the number of a GPU, found none with it$"):
        make_session(relu(), "cuda", device=7)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"precision": "tf32"}, "precision tf32: expected a network that runs on CUDA, found .* CPU.*precision full"),
        ({"precision": "half"}, "precision: expected full, tf32, fp16, found 'half'"),
        ({"device": 1}, "device 1: expected a network that runs on CUDA, found .* CPU"),
        ({"device": -1}, "device: expected the number of a GPU, 0 or more, found -1"),
    ],
)
def test_what_the_cpu_cannot_do_is_refused(network: Network, options: Any, problem: str) -> None:
    with pytest.raises(NetworkError, match=problem):
        Network(network.load(), "cpu", **options)


def test_cuda_is_given_an_opset_that_it_has_kernels_for(network: Network, opened: list[Recorded]) -> None:
    original = network.load()
    make_session(original, "cuda")
    assert [entry.version for entry in opened[-1].model.opset_import] == [21]
    assert original.opset_import[0].version == 22
    assert opened[-1].model.graph == original.graph


@pytest.mark.parametrize("opset", [17, 21, 23])
def test_other_opsets_are_left_alone(opset: int) -> None:
    assert with_cuda_kernels(relu(opset)).opset_import[0].version == opset


@pytest.mark.parametrize("opset", [13, 17, 18, 21, 22])
def test_global_averages_are_means_on_cuda(opset: int) -> None:
    model = written("y = GlobalAveragePool(x)", "float[N,3,4,5] x", opset=opset)
    rewritten = with_cuda_kernels(model)
    assert [node.op_type for node in rewritten.graph.node] == ["ReduceMean"]
    assert model.graph.node[0].op_type == "GlobalAveragePool"
    feeds = {"x": normal(2, 3, 4, 5)}
    np.testing.assert_allclose(run(rewritten, feeds)["y"], run(model, feeds)["y"], rtol=1e-6, atol=1e-7)


def test_average_pools_bound_the_batch_on_cuda() -> None:
    pool = "y = AveragePool<kernel_shape=[2,2]>(x)"
    assert largest_batch(written(pool, "float[N,512,4,4] x"), {"x": (512, 4, 4), "y": (512, 3, 3)}) == 127
    assert largest_batch(written("y = Relu(x)", "float[N,512,4,4] x"), {"x": (512, 4, 4)}) == 65_535


def test_the_operators_of_both_opsets_take_and_give_the_same() -> None:
    changed = 0
    for name in {schema.name for schema in defs.get_all_schemas_with_history() if schema.domain == ""}:
        try:
            after = defs.get_schema(name, 22)
        except defs.SchemaError:
            continue
        before = defs.get_schema(name, 21)
        assert set(before.attributes) == set(after.attributes), name
        assert [entry.name for entry in before.inputs] == [entry.name for entry in after.inputs], name
        assert len(before.outputs) == len(after.outputs), name
        changed += before.since_version != after.since_version
    assert changed > 10


@pytest.mark.parametrize("seed", range(8))
def test_the_numbers_of_both_opsets_are_the_same(seed: int) -> None:
    model = random_network(seed)
    feeds = {"x": normal(2, 4, 7, 8, seed=seed)}
    np.testing.assert_array_equal(run(with_cuda_kernels(model), feeds)["y"], run(model, feeds)["y"])


@pytest.mark.parametrize("kind", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("size", range(5, 11))
def test_pools_that_leave_out_a_window_do_so_in_both_opsets(kind: str, size: int) -> None:
    """Opset 22 changed how many windows a pool is said to have, but not how many ONNX Runtime gives it."""
    pool = f"b = {kind}<kernel_shape=[2,2], strides=[3,3], pads=[1,1,1,1], ceil_mode=1>(a)"
    model = written(f"a = Relu(x)\n{pool}\nc = Relu(b)\ny = Add(b, c)", f"float[N,2,{size},{size}] x")
    feeds = {"x": normal(3, 2, size, size)}
    np.testing.assert_array_equal(run(with_cuda_kernels(model), feeds)["y"], run(model, feeds)["y"])


def doubling() -> BoundSession:
    model = written("twice = Add(x, x)\ny = Reshape(twice, sizes)", "float[N,3] x, int64[K] sizes", "float[A,B] y")
    return BoundSession(make_session(model, "cpu", threads=1), "cpu")


def counting(rows: int) -> Buffer:
    """A buffer whose row r is (3 r, 3 r + 1, 3 r + 2)."""
    buffer = Buffer((rows, 3), "cpu")
    buffer.value.update_inplace(np.arange(3.0 * rows, dtype=np.float32).reshape(rows, 3))
    return buffer


def test_a_buffer_holds_zeros_and_then_the_same_row_everywhere() -> None:
    buffer = Buffer((4, 2, 3), "cpu")
    np.testing.assert_array_equal(buffer.numpy(), np.zeros((4, 2, 3)))
    address = buffer.rows(0, 4)
    row = np.moveaxis(np.arange(6, dtype=np.float32).reshape(3, 2), 0, -1)  # not contiguous
    buffer.fill(row)
    np.testing.assert_array_equal(buffer.numpy(), np.stack([row] * 4))
    assert buffer.rows(0, 4) == address


def test_sessions_read_and_write_rows_and_no_others() -> None:
    session, source, result = doubling(), counting(6), Buffer((8, 3), "cpu")
    session.read_from("x", source, 2, 3)
    session.write_into("y", result, 4, 3)
    session.run({"sizes": np.array([3, 3])})
    expected = np.zeros((8, 3), np.float32)
    expected[4:7] = 2 * np.arange(6, 15).reshape(3, 3)
    np.testing.assert_array_equal(result.numpy(), expected)
    np.testing.assert_array_equal(source.numpy(), np.arange(18).reshape(6, 3))


def test_one_session_reads_what_another_wrote() -> None:
    first, second, between, result = doubling(), doubling(), Buffer((4, 3), "cpu"), Buffer((2, 3), "cpu")
    first.read_from("x", counting(2), 0, 2)
    first.write_into("y", between, 1, 2)
    first.run({"sizes": np.array([2, 3])})
    second.read_from("x", between, 1, 2)
    second.write_into("y", result, 0, 2)
    second.run({"sizes": np.array([2, 3])})
    np.testing.assert_array_equal(result.numpy(), 4 * np.arange(6).reshape(2, 3))


def test_what_is_kept_stays_until_it_is_replaced() -> None:
    session, result = doubling(), Buffer((2, 3), "cpu")
    sizes = np.array([2, 3])
    session.write_into("y", result, 0, 2)
    for value in (1, 5):
        session.keep({"x": np.full((3, 2), value, np.float32).T})  # not contiguous
        for _ in range(2):
            result.fill(np.zeros(3, np.float32))
            session.run({"sizes": sizes})
            np.testing.assert_array_equal(result.numpy(), np.full((2, 3), 2 * value))


def test_rows_that_a_buffer_does_not_have_are_refused() -> None:
    session, buffer = doubling(), Buffer((4, 3), "cpu")
    with pytest.raises(NetworkError, match="expected rows of a buffer of 4, found 3 to 5"):
        session.read_from("x", buffer, 3, 2)
    with pytest.raises(NetworkError, match="found -1 to 1"):
        session.write_into("y", buffer, -1, 2)


def fails_to_bind(session: BoundSession) -> None:
    session.read_from("nothing", Buffer((1, 3), "cpu"), 0, 1)


def fails_to_keep(session: BoundSession) -> None:
    session.keep({"nothing": np.zeros((1, 3), np.float32)})


def fails_to_run(session: BoundSession) -> None:
    session.read_from("x", counting(2), 0, 2)
    session.write_into("y", Buffer((2, 3), "cpu"), 0, 2)
    session.run({"sizes": np.array([5, 5])})


@pytest.mark.parametrize("fails", [fails_to_bind, fails_to_keep, fails_to_run])
def test_what_the_runtime_refuses_is_one_line(fails: Any) -> None:
    with pytest.raises(NetworkError, match=r"^ONNX Runtime failed while ") as raised:
        fails(doubling())
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 400


def test_a_failing_session_is_one_line() -> None:
    session = make_session(relu(), "cpu", threads=1)
    with pytest.raises(NetworkError, match="failed while running the network"):
        run_session(session, {"x": np.zeros((2, 9, 9), np.float32)})


def test_a_network_that_the_runtime_cannot_load_is_one_line() -> None:
    model = relu()
    model.graph.node.append(helper.make_node("Relu", ["nothing"], ["z"]))
    with pytest.raises(NetworkError, match="net: ONNX Runtime cannot run the network") as raised:
        make_session(model, "cpu")
    assert "\n" not in str(raised.value)


TARGETS = [Target("prob", (1,)), Target("conv", (2,)), Target("prob", (3,))]


@pytest.mark.gpu
class TestOnCuda:
    @pytest.fixture(autouse=True)
    def gpu(self) -> None:
        if cuda_problem() is not None:
            pytest.skip("no GPU")

    @pytest.mark.parametrize("kind", [MiniBatchEvaluator, IncrementalEvaluator])
    @pytest.mark.parametrize(("precision", "bits"), [("full", 1e-3), ("tf32", 0.1), ("fp16", 0.1)])
    def test_evaluators_agree_with_the_cpu(
        self, network: Network, photos: NDArray[np.float32], kind: type, precision: Any, bits: float
    ) -> None:
        windows = np.array([[0, 0], [11, 11], [4, 7], [0, 6]])
        patches = np.stack([photos[s : s + 3, :, :3, :3] for s in (1, 4, 7, 10)])
        extra = (3,) if kind is IncrementalEvaluator else ()
        evaluator = kind(Network(network.load(), "cuda", precision=precision), TARGETS, *extra)
        reference = MiniBatchEvaluator(network, TARGETS)
        error = precision_error(reference, evaluator, ("WE", "AD", "WE"), photos[0], windows, patches)
        assert (error.bits or 0) <= bits

    def test_sessions_hand_rows_on_through_buffers(self) -> None:
        model = written("twice = Add(x, x)\ny = Reshape(twice, sizes)", "float[N,3] x, int64[K] sizes", "float[A,B] y")
        first, second = (BoundSession(make_session(model, "cuda"), "cuda") for _ in range(2))
        source, between, result = Buffer((4, 3), "cuda"), Buffer((4, 3), "cuda"), Buffer((3, 3), "cpu")
        source.fill(np.arange(3, dtype=np.float32))
        first.read_from("x", source, 1, 2)
        first.write_into("y", between, 2, 2)
        first.run({"sizes": np.array([2, 3])})
        second.read_from("x", between, 1, 3)
        second.write_into("y", result, 0, 3)
        second.run({"sizes": np.array([3, 3])})
        np.testing.assert_array_equal(result.numpy(), np.float32([[0, 0, 0], [0, 4, 8], [0, 4, 8]]))

    @pytest.mark.parametrize("seed", range(8))
    def test_random_networks_run_there(self, seed: int) -> None:
        model, x = random_network(seed), normal(2, 4, 7, 8, seed=seed)
        expected, found = (Network(model, provider).run(x, "y")["y"] for provider in ("cpu", "cuda"))
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())

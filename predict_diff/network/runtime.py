"""ONNX Runtime: which provider can run here, and sessions that run where they were told to."""

from __future__ import annotations

import contextlib
import ctypes
import io
import logging
import sys
from collections.abc import Iterator, Mapping
from math import prod
from typing import Any, Literal, get_args

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from ..errors import NetworkError, on_one_line
from .cuda import cuda_options, with_cuda_kernels

logger = logging.getLogger(__name__)

#: What the user asks for, and what runs.
Provider = Literal["auto", "cpu", "cuda"]
Running = Literal["cpu", "cuda"]

#: "full": float32 throughout. "tf32": CUDA rounds the operands of convolutions and inner products to 10 bits of
#: mantissa. "fp16": weights and activations in half precision; see `precision.half_precision`.
Precision = Literal["full", "tf32", "fp16"]

_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


def choose_provider(wanted: Provider) -> Running:
    """What will run: CUDA if it can and may, else the CPU.

    Raises
    ------
    NetworkError
        If CUDA was asked for by name and cannot run.
    """
    if wanted not in ("auto", "cpu", "cuda"):
        raise NetworkError(f"provider: expected auto, cpu or cuda, found '{wanted}'")
    if wanted == "cpu":
        return "cpu"
    problem = cuda_problem()
    if problem is None:
        return "cuda"
    if wanted == "cuda":
        raise NetworkError(f"provider cuda: {problem}; use --provider cpu, or auto to take what there is")
    if not _said:
        _said.append(problem)
        logger.info("Running on the CPU: %s.", problem)
    return "cpu"


_said: list[str] = []


def cuda_problem() -> str | None:
    """Why ONNX Runtime's CUDA provider cannot run here, or None if it can.

    A provider that fails to load is only logged by ONNX Runtime, so a tiny network is tried.
    """
    if _cuda_answer:
        return _cuda_answer[0]
    problem = _try_cuda()
    _cuda_answer.append(problem)
    return problem


_cuda_answer: list[str | None] = []


def _try_cuda() -> str | None:
    if _CUDA not in onnxruntime.get_available_providers():
        return f"this build of ONNX Runtime ({onnxruntime.__version__}) has no CUDA provider"
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return "no NVIDIA driver found"
    # What is missing is said once, by us: the runtime prints pages.
    onnxruntime.set_default_logger_severity(4)
    with contextlib.redirect_stdout(io.StringIO()):
        onnxruntime.preload_dlls()
    try:
        session = _open(_tiny_model(), [(_CUDA, {})], onnxruntime.SessionOptions())
    except Exception as error:  # ONNX Runtime raises a dozen unrelated kinds
        return f"ONNX Runtime's CUDA provider does not start ({one_line(error)})"
    finally:
        # Errors only, as in `_open`.
        onnxruntime.set_default_logger_severity(3)
    if _CUDA not in session.get_providers():
        return "ONNX Runtime's CUDA provider could not be loaded; it needs the libraries of CUDA 13 and cuDNN 9"
    return None


def check_precision(precision: Precision, device: int, provider: Running) -> None:
    """NetworkError unless what runs can calculate in this precision, and has such a device."""
    if precision not in get_args(Precision):
        raise NetworkError(f"precision: expected {', '.join(get_args(Precision))}, found '{precision}'")
    if device < 0:
        raise NetworkError(f"device: expected the number of a GPU, 0 or more, found {device}")
    if provider == "cpu" and precision == "tf32":
        raise NetworkError(
            "precision tf32: expected a network that runs on CUDA, found one that runs on the CPU, which has no TF32; "
            "use precision full"
        )
    if provider == "cpu" and device:
        raise NetworkError(
            f"device {device}: expected a network that runs on CUDA, found one that runs on the CPU; leave the device "
            f"at 0"
        )


def make_session(
    model: onnx.ModelProto,
    provider: Running,
    threads: int | None = None,
    precision: Precision = "full",
    device: int = 0,
) -> onnxruntime.InferenceSession:
    """Open a session; with CUDA, every operator has to run there.

    Parameters
    ----------
    model : onnx.ModelProto
        In float32, or what `precision.half_precision` made of one.
    provider : {"cpu", "cuda"}
    threads : int, optional
        Threads within an operator on the CPU.
    precision : {"full", "tf32", "fp16"}
    device : int
        Number of the GPU.

    Raises
    ------
    NetworkError
        If the runtime refuses.
    """
    options = onnxruntime.SessionOptions()
    # Threads that wait for more work by spinning would take the cores from whatever runs between two calls.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if threads is not None:
        options.intra_op_num_threads = threads
    providers: list[Any] = [_CPU]
    if provider == "cuda":
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        providers = [(_CUDA, cuda_options(precision == "tf32", device))]
        model = with_cuda_kernels(model)
    try:
        session = _open(model, providers, options)
    except Exception as error:  # ONNX Runtime raises a dozen unrelated kinds
        if "Invalid device ID" in str(error):
            raise NetworkError(f"device {device}: expected the number of a GPU, found none with it") from error
        raise NetworkError(f"{model.graph.name}: ONNX Runtime cannot run the network ({one_line(error)})") from error
    if provider == "cuda" and _CUDA not in session.get_providers():
        raise NetworkError(f"{model.graph.name}: CUDA was asked for, but ONNX Runtime did not load it")
    return session


def run_session(
    session: onnxruntime.InferenceSession, feeds: Mapping[str, NDArray[np.generic]]
) -> list[NDArray[np.float32]]:
    """All outputs of a session. NetworkError if the runtime fails."""
    with _failing("running the network"):
        return list(session.run(None, dict(feeds)))


def run_in_batches(
    session: onnxruntime.InferenceSession,
    feeds: Mapping[str, NDArray[np.float32]],
    size: int | None,
    whole: Mapping[str, NDArray[np.generic]] | None = None,
) -> list[NDArray[np.float32]]:
    """All outputs of a session that takes a fixed number of rows, or any if that is None; see `run_session`.

    Inputs that the session does not have are left out. The last batch is filled up with its last row. What is
    `whole` has no rows, and goes with each batch as it is.
    """
    available = {entry.name for entry in session.get_inputs()}
    feeds = {name: value for name, value in feeds.items() if name in available}
    rows = max(map(len, feeds.values()), default=0)
    if size is None or rows in (0, size):
        return run_session(session, {**feeds, **(whole or {})})
    parts = []
    for start in range(0, rows, size):
        chosen = np.minimum(np.arange(start, start + size), rows - 1)
        some = {name: value[chosen] for name, value in feeds.items()}
        parts.append(run_session(session, {**some, **(whole or {})}))
    return [np.concatenate(outputs)[:rows] for outputs in zip(*parts, strict=True)]


class Buffer:
    """An array of float32 where a session runs, which sessions read from and write into; zeros at first.

    Parameters
    ----------
    shape : tuple of int
    provider : {"cpu", "cuda"}
    device : int
        Number of the GPU.

    Raises
    ------
    NetworkError
        If there is no such device, or not enough memory.
    """

    def __init__(self, shape: tuple[int, ...], provider: Running, device: int = 0) -> None:
        self.shape, self.provider, self.device = shape, provider, device
        self.value = _on_device(np.zeros(shape, np.float32), provider, device)

    def rows(self, start: int, count: int) -> tuple[Any, ...]:
        """So many rows from row `start` on, as sessions are told of them: device, type, shape and address."""
        if not 0 <= start <= start + count <= self.shape[0]:
            raise NetworkError(f"expected rows of a buffer of {self.shape[0]}, found {start} to {start + count}")
        sizes = self.shape[1:]
        address = int(self.value.data_ptr()) + 4 * start * prod(sizes)
        return self.provider, self.device, np.float32, (count, *sizes), address

    def fill(self, row: NDArray[np.float32]) -> None:
        """Make every row this one."""
        self.value.update_inplace(np.ascontiguousarray(np.broadcast_to(row, self.shape)))

    def numpy(self) -> NDArray[np.float32]:
        return np.asarray(self.value.numpy())


class BoundSession:
    """A session whose large arrays stay where it runs.

    Parameters
    ----------
    session : onnxruntime.InferenceSession
    provider : {"cpu", "cuda"}
    device : int
        Number of the GPU: the session's.
    """

    def __init__(self, session: onnxruntime.InferenceSession, provider: Running, device: int = 0) -> None:
        self._session, self._provider, self._device = session, provider, device
        self._binding = session.io_binding()
        self._kept: dict[str, onnxruntime.OrtValue] = {}

    def keep(self, arrays: Mapping[str, NDArray[np.generic]]) -> None:
        """Inputs that stay the same from run to run. NetworkError if the session does not take them."""
        with _failing("taking what stays the same"):
            for name, array in arrays.items():
                self._kept[name] = _on_device(np.ascontiguousarray(array), self._provider, self._device)
                self._binding.bind_ortvalue_input(name, self._kept[name])

    def read_from(self, name: str, buffer: Buffer, start: int, count: int) -> None:
        """Take an input from so many rows of a buffer, from row `start` on."""
        with _failing(f"binding '{name}'"):
            self._binding.bind_input(name, *buffer.rows(start, count))

    def write_into(self, name: str, buffer: Buffer, start: int, count: int) -> None:
        """Put an output into so many rows of a buffer, from row `start` on."""
        with _failing(f"binding '{name}'"):
            self._binding.bind_output(name, *buffer.rows(start, count))

    def run(self, feeds: Mapping[str, NDArray[Any]] | None = None) -> None:
        """Run once, with what is new. NetworkError if the runtime fails.

        What an operator reads on the device is copied there; what it reads on the CPU, as the shape of a Reshape,
        stays. When this returns, all has been computed, so that another session can read it.
        """
        with _failing("running the network"):
            for name, array in (feeds or {}).items():
                self._binding.bind_cpu_input(name, array)
            self._session.run_with_iobinding(self._binding)


def _on_device(array: NDArray[np.generic], provider: Running, device: int) -> onnxruntime.OrtValue:
    """An array where sessions run; on the CPU it shares its memory."""
    with _failing("reserving memory"):
        return onnxruntime.OrtValue.ortvalue_from_numpy(array, provider, device)


@contextlib.contextmanager
def _failing(doing: str) -> Iterator[None]:
    """Turn what the runtime raises into one line."""
    try:
        yield
    except NetworkError:
        raise
    except Exception as error:  # ONNX Runtime raises a dozen unrelated kinds
        raise NetworkError(f"ONNX Runtime failed while {doing} ({one_line(error)})") from error


def _open(
    model: onnx.ModelProto, providers: list[Any], options: onnxruntime.SessionOptions
) -> onnxruntime.InferenceSession:
    # Errors only: warnings about unused initialisers and unplaced nodes are not the user's business.
    options.log_severity_level = 4
    # Without a fallback of its own, which prints a page and goes on with the CPU.
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=providers, enable_fallback=0)


def _tiny_model() -> onnx.ModelProto:
    info = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "probe", info[:1], info[1:])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)


def one_line(error: Exception) -> str:
    """An error's message, on one line and not too long; ONNX Runtime says last what is wrong."""
    return on_one_line(str(error), 300)

"""ONNX Runtime: which provider can run here, and sessions that run where they were told to."""

from __future__ import annotations

import contextlib
import ctypes
import io
import logging
import sys
from collections.abc import Iterator, Mapping
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
    with failing("running the network"):
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


@contextlib.contextmanager
def failing(doing: str) -> Iterator[None]:
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

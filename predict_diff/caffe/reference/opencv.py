"""OpenCV's Caffe importer, asked for the output of every layer.

`opencv-python-headless` below version 5 has it; it is an optional dependency.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ConversionError
from . import opencv_process
from .arrays import Arrays, open_arrays

#: Seconds that OpenCV may take.
_PATIENCE = 900


class OpenCVUnavailableError(Exception):
    """OpenCV is not there, or cannot load or run the network; says why, on one line."""


#: Where OpenCV 4.14 is known to compute something else than Caffe does: layer type, which of its layers, why.
DIFFERENCES: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("Axpy", lambda layer: True, "scales the third bottom instead of the second"),
    (
        "Concat",
        lambda layer: layer.concat_param.axis == 0 or layer.concat_param.concat_dim == 0,
        "joins batches wrongly",
    ),
    ("InnerProduct", lambda layer: layer.inner_product_param.transpose, "ignores transpose"),
    ("Interp", lambda layer: layer.interp_param.pad_beg or layer.interp_param.pad_end, "ignores pads"),
    ("Log", lambda layer: layer.HasField("log_param"), "ignores base, scale and shift"),
    ("LRN", lambda layer: layer.lrn_param.k != 1, "ignores k"),
    ("LRN", lambda layer: not layer.lrn_param.HasField("alpha"), "takes 0.0001 for an alpha that is not stated"),
    ("MVN", lambda layer: layer.mvn_param.HasField("eps"), "uses eps in another way"),
    ("Pooling", lambda layer: not layer.pooling_param.pad, "may fill windows that meet nothing in another way"),
    ("Scale", lambda layer: len(layer.bottom) > 1 and layer.scale_param.bias_term, "ignores the bias"),
    ("Swish", lambda layer: layer.swish_param.beta != 1, "ignores beta"),
)


def known_difference(layer: Any) -> str:
    """Why OpenCV's output of a layer may not be Caffe's; empty if it should be."""
    return next((why for kind, applies, why in DIFFERENCES if layer.type == kind and applies(layer)), "")


@dataclass(frozen=True)
class Outputs:
    """What OpenCV's layers put out.

    Attributes
    ----------
    version : str
        OpenCV's.
    stopped : str
        At which layer it stopped, and why; empty if it computed all.
    """

    version: str
    stopped: str
    _places: dict[str, int]
    _arrays: Arrays

    def read(self, layer: str, top: int) -> NDArray[np.float64] | None:
        """One output of a layer; None if OpenCV does not have it."""
        name = f"{self._places.get(layer)} {top}"
        header = self._arrays.headers.get(name)
        return None if header is None else self._arrays.read(name, header.shape)


@contextmanager
def layer_outputs(prototxt: Path, weights: Path, inputs: Mapping[str, NDArray[np.float32]]) -> Iterator[Outputs]:
    """Run a network in OpenCV, in a process of its own.

    Parameters
    ----------
    prototxt, weights : Path
        The files themselves, so that nothing of ours comes between.
    inputs : mapping of str to ndarray
        By input blob.

    Raises
    ------
    OpenCVUnavailableError
        If it is not installed, or cannot load or run the network.
    """
    if find_spec("cv2") is None:
        raise OpenCVUnavailableError("not installed (pip install 'opencv-python-headless<5')")
    with tempfile.TemporaryDirectory(prefix="opencv-") as name:
        folder = Path(name)
        arrays_in: dict[str, Any] = {f"blob {blob}": array for blob, array in inputs.items()}
        np.savez(folder / "inputs.npz", **arrays_in)
        result = _run(prototxt.resolve(), weights.resolve(), folder)
        places = {layer: index for index, layer in enumerate(result["names"])}
        try:
            with open_arrays(folder / "outputs.npz", "OpenCV's outputs") as arrays:
                yield Outputs(result["version"], result["stopped"], places, arrays)
        except ConversionError as error:
            raise OpenCVUnavailableError(f"what it put out cannot be read ({error})") from None


def _run(prototxt: Path, weights: Path, folder: Path) -> dict[str, Any]:
    # -P: the script's folder is not for importing from.
    command = [sys.executable, "-P", opencv_process.__file__, str(prototxt), str(weights), str(folder)]
    try:
        # Our own script, with paths, whatever they hold, as arguments of their own.
        ended = subprocess.run(command, capture_output=True, timeout=_PATIENCE, check=False)  # noqa: S603  # nosec B603
    except subprocess.TimeoutExpired:
        raise OpenCVUnavailableError(f"it took more than {_PATIENCE} s") from None
    except OSError as error:
        raise OpenCVUnavailableError(f"no process could be started for it ({error.strerror})") from None
    try:
        result: dict[str, Any] = json.loads((folder / "result.json").read_bytes())
    except (OSError, ValueError):
        raise OpenCVUnavailableError(_end(ended)) from None
    if "problem" in result:
        raise OpenCVUnavailableError(result["problem"])
    return result


def _end(ended: subprocess.CompletedProcess[bytes]) -> str:
    """How a process ended that left no result."""
    if ended.returncode < 0:
        return f"it crashed (signal {-ended.returncode})"
    lines = ended.stderr.decode(errors="replace").strip().splitlines()
    return f"it failed ({lines[-1][:120] if lines else f'exit code {ended.returncode}'})"

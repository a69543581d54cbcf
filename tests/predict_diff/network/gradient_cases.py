"""Small networks written as text, and independent ways to differentiate them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import ArrayLike, NDArray
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from predict_diff.network.gradient import gradient_model

Array = NDArray[Any]


def network(
    body: str,
    inputs: str = "float[N,3,4] x",
    outputs: str = "y",
    weights: Mapping[str, ArrayLike] | None = None,
    opset: int = 22,
    functions: str = "",
) -> onnx.ModelProto:
    """A model from ONNX's text format; `body` has one operator a line."""
    imports = f'"" : {opset}' + (', "local" : 1' if functions else "")
    text = f"<ir_version: 10, opset_import: [{imports}]> net ({inputs}) => ({outputs}) {{ {body} }} {functions}"
    model = onnx.parser.parse_model(text)
    for name, array in (weights or {}).items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
    return model


def run(model: onnx.ModelProto, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Outputs by name, computed by ONNX Runtime on the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))


def gradient(
    model: onnx.ModelProto, x: Array, upstream: Array, blob: str = "y", inputs: str | Sequence[str] | None = None
) -> Array:
    """The diff that arrives at input x."""
    return run(gradient_model(model, blob, inputs), {"x": x, f"upstream/{blob}": upstream})["gradient/x"]


def jacobian(model: onnx.ModelProto, x: Array, blob: str = "y") -> Array:
    """Derivatives of all units of one photo, shape (units, size of x): as many backward passes, in one batch."""
    value = ReferenceEvaluator(model).run([blob], {"x": x[None]})[0]
    units = value[0].size
    basis = np.eye(units, dtype=np.float32).reshape(units, *value.shape[1:])
    return gradient(model, np.repeat(x[None], units, axis=0), basis, blob).reshape(units, x.size)


def jacobian_by_differences(model: onnx.ModelProto, x: Array, blob: str = "y", step: float = 1e-5) -> Array:
    """The same from central differences, by ONNX's reference implementation in float64."""
    exact = ReferenceEvaluator(in_double(model))
    moves = step * np.eye(x.size).reshape(x.size, *x.shape)
    ahead, behind = (exact.run([blob], {"x": x.astype(np.float64) + sign * moves})[0] for sign in (1, -1))
    return ((ahead - behind) / (2 * step)).reshape(x.size, -1).T


def in_double(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with float64 weights; ONNX's reference implementation then calculates in float64."""
    double = onnx.ModelProto()
    double.CopyFrom(model)
    del double.graph.initializer[:]
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        exact = array.astype(np.float64) if array.dtype == np.float32 else array
        double.graph.initializer.append(numpy_helper.from_array(exact, tensor.name))
    return double


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)

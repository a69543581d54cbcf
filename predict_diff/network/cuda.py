"""What ONNX Runtime's CUDA provider needs to be told, and to be spared."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper

from .graphs import Shape, opset
from .receptive_fields import STANDARD

#: The opset that CUDA lacks kernels for.
_WITHOUT_KERNELS = 22
#: From this opset on, the axes of a mean are an input.
_AXES_AS_INPUT = 18
#: As many planes, photos times channels, as CUDA's average pools take.
_MOST_PLANES = 65_535


def cuda_options(tf32: bool, device: int) -> dict[str, str]:
    """Options of the CUDA provider. Chosen from its documentation; not measured.

    Left as they are: copies share the stream of the computation, because ONNX Runtime warns of races otherwise; no
    CUDA graphs, because outputs go to other rows of a buffer from run to run; and ONNX Runtime's own order of axes,
    because fewer operators know the other.

    Parameters
    ----------
    tf32 : bool
        Whether to round the operands of convolutions and inner products to 10 bits of mantissa.
    device : int
        Number of the GPU.
    """
    return {
        "device_id": str(device),
        # On by default, and not faithful.
        "use_tf32": str(int(tf32)),
        # Tunes each new shape once, with as much workspace as any algorithm wants: pays because shapes are few.
        "cudnn_conv_algo_search": "EXHAUSTIVE",
        "cudnn_conv_use_max_workspace": "1",
        # Shapes are few and fixed, so memory is asked for a few times; by default, each time for twice as much.
        "arena_extend_strategy": "kSameAsRequested",
    }


def largest_batch(model: onnx.ModelProto, shapes: Mapping[str, Shape]) -> int:
    """As many photos as CUDA's average pools take at once; global ones are replaced, and do not count."""
    channels = [shapes[node.output[0]][0] for node in model.graph.node if node.op_type == "AveragePool"]
    return max(1, _MOST_PLANES // max(channels, default=1))


def with_cuda_kernels(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model in terms of what CUDA has kernels for, without opset 22 and without global average pools.

    A kernel that is registered without a last opset serves only until the operator changes. ONNX Runtime up to 1.31
    therefore has no MaxPool and no Elu of opset 22 on CUDA. What opset 22 changed is types (bfloat16) and how the
    sizes of pools are inferred, so that operators compute the same in opset 21.

    A global average is the mean over rows and columns, of as many planes as there are.
    """
    if opset(model) != _WITHOUT_KERNELS and not any(node.op_type == "GlobalAveragePool" for node in model.graph.node):
        return model
    lowered = onnx.ModelProto()
    lowered.CopyFrom(model)
    _replace_global_averages(lowered)
    for imports in (lowered.opset_import, *(function.opset_import for function in lowered.functions)):
        for entry in imports:
            if entry.domain in STANDARD and entry.version == _WITHOUT_KERNELS:
                entry.version = _WITHOUT_KERNELS - 1
    return lowered


def _replace_global_averages(model: onnx.ModelProto) -> None:
    axes = "predict_diff/planes"
    for node in model.graph.node:
        if node.op_type != "GlobalAveragePool" or node.domain not in STANDARD:
            continue
        if opset(model) >= _AXES_AS_INPUT:
            mean = helper.make_node("ReduceMean", [node.input[0], axes], node.output, name=node.name)
            if not any(tensor.name == axes for tensor in model.graph.initializer):
                model.graph.initializer.append(numpy_helper.from_array(np.array([2, 3]), axes))
        else:
            mean = helper.make_node("ReduceMean", [node.input[0]], node.output, name=node.name, axes=[2, 3])
        node.CopyFrom(mean)

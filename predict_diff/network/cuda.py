"""What ONNX Runtime's CUDA provider needs to be told, and to be spared."""

from __future__ import annotations

import onnx

from .graphs import opset
from .receptive_fields import STANDARD

#: The opset that CUDA lacks kernels for.
_WITHOUT_KERNELS = 22


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


def with_cuda_kernels(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model in opset 22 in terms of opset 21, for which CUDA has all kernels; others as they are.

    A kernel that is registered without a last opset serves only until the operator changes. ONNX Runtime up to 1.31
    therefore has no MaxPool and no Elu of opset 22 on CUDA. What opset 22 changed is types (bfloat16) and how the
    sizes of pools are inferred, so that operators compute the same in opset 21.
    """
    if opset(model) != _WITHOUT_KERNELS:
        return model
    lowered = onnx.ModelProto()
    lowered.CopyFrom(model)
    for imports in (lowered.opset_import, *(function.opset_import for function in lowered.functions)):
        for entry in imports:
            if entry.domain in STANDARD and entry.version == _WITHOUT_KERNELS:
                entry.version = _WITHOUT_KERNELS - 1
    return lowered

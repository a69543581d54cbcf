"""Any ONNX classifier, from whatever exported it, as a network that takes (N, C, H, W) and gives probabilities."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import AttributeProto, TensorProto, defs, helper, numpy_helper

from ..errors import NetworkError
from ..input_spec import InputSpec
from .function import are_probabilities
from .graphs import blob_shapes, opset, producers
from .image_input import ImageInput, find_input, take_images
from .network import Network
from .probing import class_output, probe, refuse_moods
from .reading import read_model
from .runtime import Provider
from .softmax import softmax_of

logger = logging.getLogger(__name__)

#: ONNX Runtime's own operators, which ONNX does not list.
_RUNTIME_DOMAINS = frozenset({"com.microsoft", "com.microsoft.nchwc"})
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)

#: From this opset on, Max and Min repeat a number for all classes.
_REPEATING_OPSET = 8


@dataclass(frozen=True)
class Classifier:
    """An ONNX classifier that has been read, and waits for the size of its images.

    Attributes
    ----------
    source : path or onnx.ModelProto
    model : onnx.ModelProto
    name : str
        What messages call it.
    given : ImageInput
        The image that it takes.
    spec : InputSpec
    outputs : tuple of str
        Names of the file's own.
    labels : tuple of str
        Names of its classes, as far as the file has them: scikit-learn's exports do.
    """

    source: str | Path | onnx.ModelProto
    model: onnx.ModelProto
    name: str
    given: ImageInput
    spec: InputSpec
    outputs: tuple[str, ...]
    labels: tuple[str, ...]

    @property
    def size(self) -> tuple[int, int] | None:
        """(H, W) that the file insists on, if it does."""
        _, height, width = self.given.shape
        return None if height is None or width is None else (height, width)

    def network(self, x: NDArray[np.float32], provider: Provider = "auto") -> Network:
        """The network, for images like one.

        Parameters
        ----------
        x : ndarray, shape (C, H, W), float32
            As `InputSpec.prepare` makes it.
        provider : {"auto", "cpu", "cuda"}
            With "auto", a network that has operators that CUDA lacks runs on the CPU.

        Returns
        -------
        Network
            Its one output has the probabilities, or scores if `spec.softmax` is not set and it gives no others.

        Raises
        ------
        NetworkError
            If x does not fit, the network cannot run, or none of its outputs, or several, are those of classes.
        """
        self.given.check(x.shape, self.name)
        self.given.check_range(x, self.name)
        model = _copy(self.model)
        if not (plain := self.given.is_plain and None not in self.given.sizes):
            take_images(model, self.given, x.shape)
        found, again = probe(model, x, self.given.batch, self.name)
        output = class_output(found, self.spec, self.name)
        refuse_moods(found[output], again[output], f"{self.name}: expected the same numbers in output '{output}'")
        known = are_probabilities(found[output].reshape(len(found[output]), -1))
        if self.spec.softmax and known:
            raise NetworkError(
                f"{self.name}: expected scores in output '{output}', since the spec says softmax, found probabilities, "
                f"which add up to 1; leave softmax out"
            )
        by_softmax = softmax_of(producers(model), output) is not None
        as_it_is = plain and (by_softmax or not known) and not self.spec.softmax
        # What a file records of its output need not be so.
        if as_it_is and self.outputs == (output,) and blob_shapes(model).get(output) == found[output].shape[1:]:
            return _running(self.source, provider, x)
        wanted = "Softmax" if self.spec.softmax else "Clip" if known and not by_softmax else None
        _give_classes(model, output, found[output].shape[1:], self.given.batch, wanted)
        return _running(model, provider, x, known=wanted == "Clip")


def open_classifier(source: str | Path | onnx.ModelProto, spec: InputSpec | None = None) -> Classifier:
    """Read an ONNX classifier: of PyTorch, Keras (NHWC), scikit-learn (flat, ZipMap) or any other origin.

    Parameters
    ----------
    source : path or onnx.ModelProto
    spec : InputSpec, optional
        Its `layout`, `softmax` and `output` count here.

    Raises
    ------
    NetworkError
        If it cannot be read, takes something else than one image, or has operators that ONNX Runtime does not know.
    """
    model = source if isinstance(source, onnx.ModelProto) else read_model(Path(source))
    name = model.graph.name or "network" if isinstance(source, onnx.ModelProto) else Path(source).name
    spec = spec or InputSpec()
    if strange := _custom_operators(model):
        raise NetworkError(
            f"{name}: expected operators of ONNX, found {', '.join(strange)}, which ONNX Runtime does not have; export "
            f"the network without them, or give a function that calls it"
        )
    model = _copy(model)
    model.graph.name = Path(name).stem
    given = find_input(model, name, spec.layout)
    outputs = tuple(value.name for value in model.graph.output)
    return Classifier(source, model, name, given, spec, outputs, _without_zip_maps(model))


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def _custom_operators(model: onnx.ModelProto) -> list[str]:
    """Operators that neither ONNX nor the file itself defines, by domain and name, each once."""
    own = {(function.domain, function.name) for function in model.functions}
    nodes = [*_nodes(model.graph.node), *(node for function in model.functions for node in _nodes(function.node))]
    strange = [
        f"{node.domain or 'ai.onnx'}:{node.op_type}"
        for node in nodes
        if (node.domain, node.op_type) not in own
        and node.domain not in _RUNTIME_DOMAINS
        and not defs.has(node.op_type, "" if node.domain == "ai.onnx" else node.domain)
    ]
    return list(dict.fromkeys(strange))


def _nodes(nodes: list[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """All nodes, those in the bodies of loops and branches too."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for body in [attribute.g] if attribute.type == AttributeProto.GRAPH else attribute.graphs:
                yield from _nodes(body.node)


def _without_zip_maps(model: onnx.ModelProto) -> tuple[str, ...]:
    """Put arrays in place of scikit-learn's dictionaries of probabilities, in place; the labels that these had."""
    makers = producers(model)
    labels: tuple[str, ...] = ()
    outputs = list(model.graph.output)
    for number, value in enumerate(outputs):
        node = makers.get(value.name)
        if node is None or node.op_type != "ZipMap":
            continue
        labels = tuple(
            text
            for attribute in node.attribute
            for text in (*(entry.decode(errors="replace") for entry in attribute.strings), *map(str, attribute.ints))
        )
        if len(node.input) != 1 or not labels:
            raise NetworkError(f"{model.graph.name}: expected labels and probabilities in its ZipMap, found too few")
        outputs[number] = helper.make_tensor_value_info(node.input[0], TensorProto.FLOAT, None)
        model.graph.node.remove(node)
    # Labels and lists of whatever are nothing that can be explained.
    kept = [value for value in outputs if value.type.tensor_type.elem_type in _FLOATS]
    if not kept:
        found = ", ".join(f"{value.name} ({_kind_in_words(value)})" for value in outputs) or "none"
        raise NetworkError(
            f"{model.graph.name}: expected an output with probabilities, floating-point numbers, found {found}; export "
            f'them too, for scikit-learn with options={{"zipmap": False}}'
        )
    del model.graph.output[:]
    model.graph.output.extend(kept)
    return labels


def _kind_in_words(value: onnx.ValueInfoProto) -> str:
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        return "of no type" if kind is None else kind.removesuffix("_type")
    return str(TensorProto.DataType.Name(value.type.tensor_type.elem_type))


def _give_classes(
    model: onnx.ModelProto, output: str, shape: tuple[int, ...], batch: int | None, last: str | None
) -> None:
    """Leave a model with one output, in place: float32, of known shape, with a softmax or a clip put behind it."""
    graph = model.graph

    def then(operator: str, *constants: float, **attributes: Any) -> None:
        nonlocal output
        tensors = [numpy_helper.from_array(np.array(value, np.float32), f"{output}/{value}") for value in constants]
        graph.initializer.extend(tensors)
        inputs = [output, *(tensor.name for tensor in tensors)]
        output = f"{output}/{operator}"
        graph.node.append(helper.make_node(operator, inputs, [output], **attributes))

    kind = next(value for value in graph.output if value.name == output).type.tensor_type.elem_type
    if kind != TensorProto.FLOAT:
        if kind != TensorProto.DOUBLE:
            logger.info("%s: near 1, its half precision has no other probabilities: evidence is coarse.", graph.name)
        then("Cast", to=TensorProto.FLOAT)
    known = helper.make_tensor_value_info(output, TensorProto.FLOAT, [batch or "N", *shape])
    graph.value_info.append(known)
    if last == "Softmax":
        # Before opset 13 a softmax was over all axes from this one on, which are of size 1.
        then("Softmax", axis=1)
    if last == "Clip":
        # What adds up the votes of many trees may end 1e-7 beyond 1. Clip itself differs between opsets.
        if opset(model) < _REPEATING_OPSET:
            then("Clip", min=0.0, max=1.0)
        else:
            then("Max", 0.0)
            then("Min", 1.0)
    del graph.output[:]
    graph.output.add().CopyFrom(known)
    graph.output[0].name = output
    if last is None:
        del graph.value_info[-1]


def _running(
    source: str | Path | onnx.ModelProto, provider: Provider, x: NDArray[np.float32], known: bool = False
) -> Network:
    """A network that has been seen to run; `known` if something else than a softmax gives its probabilities."""
    outputs = [source.graph.output[0].name] if known and isinstance(source, onnx.ModelProto) else []
    network = Network(source, provider, probabilities=outputs)
    if provider == "auto" and network.provider == "cuda":
        try:
            network.run(x, network.outputs[0])
        except NetworkError as error:
            logger.info("%s: runs on the CPU, since CUDA cannot (%s).", network.name, error)
            return Network(source, "cpu", probabilities=outputs)
    return network

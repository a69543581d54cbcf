"""What is in a description, a weights file or an ONNX file: layers, shapes, parameters, cost, receptive fields."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from math import prod
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto

from ..errors import ConversionError, NetworkError
from ..network.graphs import reads
from ..network.inference import constants, infer_types
from ..network.multiply_adds import multiply_adds
from ..network.reading import read_model
from ..network.receptive_fields import ReceptiveField, receptive_fields
from .converter import PRODUCER, convert_apart
from .files import HDF5, is_text, open_file
from .reader import read_description, read_weights

_FILE = "a Caffe description, a Caffe weights file or an ONNX file"
_FLOATS = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE}

#: The first byte of a serialised model, which says its IR version; Caffe's files begin with a name or a layer.
_ONNX = b"\x08"

#: Metadata that are for programs, not shown as they are.
_OF_PROGRAMS = ("caffe", "caffe_layers", "check")

#: Numbers in a tensor or a layer; more are a damaged file's.
_AT_MOST = 2**48


@dataclass(frozen=True)
class Top:
    """What a layer puts out.

    Attributes
    ----------
    name : str
        In the converted network.
    shape : tuple of int, str or None, or None
        Batch included; a name where a size is open, None where nothing is known.
    receptive_field : list of int, "all" or None
        Pixels of the input that one number sees, along each axis; None if not known.
    stride : list of float
        Pixels of the input between neighbours, along each axis.
    """

    name: str
    shape: tuple[int | str | None, ...] | None
    receptive_field: list[int] | str | None = None
    stride: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class LayerRow:
    """A layer, or an operator of a file that is not Caffe's.

    Attributes
    ----------
    name, type : str
    tops : list of Top
        Of a weights file, which has none, its blobs.
    parameters : int
        Learned numbers; those that layers share count for the first.
    multiply_adds : int or None
        For one photo; None if not known.
    """

    name: str
    type: str
    tops: list[Top]
    parameters: int
    multiply_adds: int | None


@dataclass(frozen=True)
class Inspection:
    """What is in a file.

    Attributes
    ----------
    path : str
    kind : str
    layers : list of LayerRow
    facts : dict
        What the file says of itself: name, SHA-256s, licence, check.
    """

    path: str
    kind: str
    layers: list[LayerRow]
    facts: dict[str, Any]

    @property
    def parameters(self) -> int:
        return sum(layer.parameters for layer in self.layers)

    @property
    def multiply_adds(self) -> int | None:
        """For one photo; None if it is not known of a layer."""
        counts = [layer.multiply_adds for layer in self.layers]
        known = [count for count in counts if count is not None]
        return sum(known) if len(known) == len(counts) else None

    def to_json(self) -> str:
        """All of it, for programs."""
        totals = {"layers": len(self.layers), "parameters": self.parameters, "multiply_adds": self.multiply_adds}
        return json.dumps(asdict(self) | {"totals": totals}, indent=1)


def inspect(path: str | Path, weights: str | Path | None = None) -> Inspection:
    """Tell what is in a file.

    Parameters
    ----------
    path : path
        A description (prototxt), weights (caffemodel, HDF5), or an ONNX file, converted or other.
    weights : path, optional
        Beside a description: weights that are matched against it. Without them they are imagined.

    Raises
    ------
    ConversionError
        If a Caffe file cannot be read, or the two do not belong together.
    NetworkError
        If an ONNX file cannot be read, or breaks ONNX's rules.
    """
    path = Path(path)
    kind = _kind(path)
    if weights is not None and kind != "description":
        raise ConversionError(f"{path}: expected a description, beside which weights can be given, found {kind}")
    if kind == "weights":
        return _of_weights(path)
    if kind == "ONNX":
        return _of_model(path, "ONNX network", read_model(path))
    description = read_description(path)
    model, _ = convert_apart(description, None if weights is None else read_weights(weights))
    return _of_model(path, "Caffe description" if weights is None else "Caffe description and weights", model)


def _kind(path: Path) -> str:
    with open_file(path, _FILE) as file:
        if file.head.startswith(HDF5):
            return "weights"
        if path.suffix == ".onnx" or file.head.startswith(_ONNX):
            return "ONNX"
        return "description" if is_text(file.head) else "weights"


def _of_weights(path: Path) -> Inspection:
    weights = read_weights(path)
    layers = [
        LayerRow(
            layer.name,
            layer.type,
            [Top(str(index), tuple(blob.shape)) for index, blob in enumerate(layer.blobs)],
            sum(blob.size for blob in layer.blobs),
            None,
        )
        for layer in weights.layers.values()
    ]
    return Inspection(str(path), "Caffe weights", layers, {"weights_sha256": weights.sha256})


def _of_model(path: Path, kind: str, model: onnx.ModelProto) -> Inspection:
    metadata = {str(entry.key): str(entry.value) for entry in model.metadata_props}
    facts: dict[str, Any] = {"name": model.graph.name}
    facts |= {key: text for key, text in metadata.items() if key not in _OF_PROGRAMS and text}
    if model.producer_name and model.producer_name != PRODUCER:
        facts["producer"] = f"{model.producer_name} {model.producer_version}".strip()
    facts["opset"] = next((entry.version for entry in model.opset_import if not entry.domain), None)
    if "check" in metadata:
        facts["check"] = _check_summary(_object(path, "check", metadata["check"]))
    try:
        tops = _Tops(model)
    except UnicodeError as error:  # ONNX's own check decodes what protocol buffers have let pass
        raise NetworkError(
            f"{path}: expected names in UTF-8, found others; the file is damaged: get it again"
        ) from error
    caffe, described = (_object(path, key, metadata.get(key, "{}")) for key in ("caffe", "caffe_layers"))
    if described:
        try:
            rows = _caffe_layers(model, tops, caffe["layers"], described)
        except (AttributeError, LookupError, OverflowError, TypeError, ValueError) as error:
            raise _damaged(path, "caffe") from error
    else:
        rows = _operators(path, model, tops)
    return Inspection(str(path), kind, rows, facts)


class _Tops:
    """Shapes, receptive fields and cost in a graph."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._shapes = {name: known.shape for name, known in infer_types(model).items() if known.shape is not None}
        self._shapes |= {name: tuple(tensor.dims) for name, tensor in constants(model).items()}
        weights = {tensor.name for tensor in model.graph.initializer}
        self.inputs = [str(info.name) for info in model.graph.input if info.name not in weights]
        self._fields = receptive_fields(model, self._shapes, self.inputs)
        self.multiply_adds = multiply_adds(model, self._shapes)

    def top(self, name: str) -> Top:
        seen = self._fields.get(name)
        shown = None if seen is None else "all" if seen.whole else list(seen.size)
        return Top(name, self._shapes.get(name), shown, _strides(seen))


def _caffe_layers(
    model: onnx.ModelProto, tops: _Tops, names: Mapping[str, Any], described: Mapping[str, Any]
) -> list[LayerRow]:
    costs: dict[str, int | None] = {}
    for node, count in zip(model.graph.node, tops.multiply_adds, strict=True):
        layer = node.name.rpartition("/")[0]
        before = costs.get(layer, 0)
        costs[layer] = None if before is None or count is None else before + count
    return [
        LayerRow(
            layer,
            str(described[layer][0]),
            [tops.top(str(name)) for name in values],
            _count(described[layer][1]),
            costs.get(layer, 0),
        )
        for layer, values in names.items()
    ]


def _count(value: Any) -> int:
    if not 0 <= (count := int(value)) <= _AT_MOST:
        raise ValueError(count)
    return count


def _operators(path: Path, model: onnx.ModelProto, tops: _Tops) -> list[LayerRow]:
    """Each operator with the floating-point constants that no operator before it has used."""
    tensors = constants(model)
    # A constant without axes is a setting, not a weight.
    learned = {name: tensor for name, tensor in tensors.items() if tensor.data_type in _FLOATS and tensor.dims}
    unused = {name: prod(tensor.dims) for name, tensor in learned.items()}
    for name, numbers in unused.items():
        if not 0 <= numbers <= _AT_MOST:
            sizes = list(learned[name].dims)[:9]
            raise NetworkError(f"{path}: tensor '{name}': expected the sizes of weights, found {sizes}")
    rows = [LayerRow(name, "input", [tops.top(name)], 0, 0) for name in tops.inputs]
    for node, count in zip(model.graph.node, tops.multiply_adds, strict=True):
        if not tensors.keys().isdisjoint(node.output):
            continue
        used = Counter({name: unused.pop(name) for name in reads(node) if name in unused})
        made = [tops.top(name) for name in node.output if name]
        rows.append(LayerRow(node.name or next(iter(node.output), ""), node.op_type, made, used.total(), count))
    return rows


def _strides(seen: ReceptiveField | None) -> list[float]:
    steps: Sequence[Fraction] = () if seen is None or seen.whole else seen.stride
    return [int(step) if step.denominator == 1 else float(step) for step in steps]


def _object(path: Path, key: str, text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, key) from error
    if not isinstance(found, dict):
        raise _damaged(path, key)
    return found


def _damaged(path: Path, key: str) -> NetworkError:
    return NetworkError(f"{path}: expected JSON of a conversion in the metadata '{key}', found another; convert again")


def _check_summary(report: Mapping[str, Any]) -> str:
    words = ["passed" if report.get("passed") is True else "FAILED"]
    entries = report.get("implementations")
    for entry in entries if isinstance(entries, list) else []:
        worst = entry.get("worst") if isinstance(entry, dict) else None
        if isinstance(worst, dict):
            error = worst.get("error")
            largest = f"{error:.1e}" if isinstance(error, float) else "0" if error == 0 else "infinite"
            words.append(f"{entry.get('name')} {entry.get('version')}: largest error {largest}")
    return "; ".join(words)

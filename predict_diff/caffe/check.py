"""Prove a conversion: the converted network against independent implementations, blob by blob.

Independent are the arrays that the original Caffe has computed, where the user has them; a plain NumPy reading of
Caffe's definitions, which shares no code with the converter; and OpenCV's Caffe importer, where it is installed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from ..errors import ConversionError, closest
from . import reference as reading
from .converted import Converted
from .reader import Description, Weights
from .reference.arrays import Arrays, open_arrays
from .reference.inputs import given_inputs, random_inputs, unread_inputs
from .reference.opencv import OpenCVUnavailableError, known_difference, layer_outputs
from .report import Comparison, Report, Row, compare

#: Largest error of a blob against Caffe and against the NumPy reading, relative to the blob's largest value.
LIMIT = 1e-5

#: The same against OpenCV, whose kernels round in other places; its being exceeded is reported, and fails nothing.
OPENCV_LIMIT = 1e-4

#: Photos in a random batch, and the numbers in all blobs of a photo beyond which it is a single one: a gigabyte.
_BATCH, _LARGE = 2, 1 << 28


def check(
    model: onnx.ModelProto,
    description: Description,
    weights: Weights,
    *,
    inputs: str | Path | Mapping[str, NDArray[Any]] | None = None,
    reference: str | Path | None = None,
    use_opencv: bool = True,
    seed: int = 0,
) -> Report:
    """Run a converted network, and hold every blob against implementations that know nothing of the converter.

    A blob passes if no number is off by more than 1e-5 of the blob's largest. Where it is against the NumPy reading,
    although everything that its layer reads has passed, the layer is computed once more from the very numbers that
    the converted network gave it: what then agrees was only rounding, which some layers amplify and ArgMax, Threshold
    and the places of maxima turn into jumps. The row then shows that second error, and says so.

    Parameters
    ----------
    model : onnx.ModelProto
        The converted network.
    description : Description
    weights : Weights
        What it was converted from.
    inputs : path or mapping of str to ndarray, optional
        What to feed it: an .npy, an .npz with one array for each input, or the arrays. Otherwise the input blobs of
        `reference`, or two random photos of the size that the description states (one if the network is very large).
    reference : path, optional
        An .npz with the blobs that the original Caffe computed from these inputs, by name.
    use_opencv : bool, default True
        Compare with OpenCV too, if it is installed.
    seed : int
        Of the random photos.

    Returns
    -------
    Report

    Raises
    ------
    ConversionError
        If the model was not converted from these files, or the arrays given do not belong to it.
    NetworkError
        If ONNX Runtime cannot run it.
    """
    network = Converted(model, description, weights)
    if inputs is not None:
        fed = given_inputs(inputs, network.inputs)
        told = f"inputs of {Path(inputs).name}" if isinstance(inputs, str | Path) else "the inputs given"
    elif reference is not None:
        fed = _inputs_among(network, Path(reference))
        told = f"inputs of {Path(reference).name}"
    else:
        batch = _batch(network, description)
        fed = random_inputs(description.net, network.inputs, batch, seed)
        told = f"{batch} random inputs (seed {seed})"
    network.feed(fed)
    fed |= unread_inputs(description.net, fed)
    comparisons = [_against_caffe(network, Path(reference))] if reference is not None else []
    comparisons.append(_against_numpy(network, description, weights, fed))
    if use_opencv:
        comparisons.append(_against_opencv(network, description, weights, fed))
    return Report(network.name, told, f"ONNX Runtime {onnxruntime.__version__}", comparisons)


def attach(model: onnx.ModelProto, report: Report) -> None:
    """Store a report in the model's metadata, under ``check``, in place of an earlier one."""
    kept = [entry for entry in model.metadata_props if entry.key != "check"]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    model.metadata_props.add(key="check", value=report.to_json())


def _inputs_among(network: Converted, path: Path) -> dict[str, NDArray[np.float32]]:
    """The inputs, from a file of all blobs."""
    if network.overwritten:
        raise ConversionError(
            f"{path}: expected inputs beside it, as a layer overwrites '{network.overwritten[0]}', found none; give "
            f"the arrays that the network was fed"
        )
    return given_inputs(path, network.inputs)


def _batch(network: Converted, description: Description) -> int:
    """How many random photos: two; one if the network is very large; what is stated where layers count on it."""
    if any(_counts_on_batch(layer) for layer in description.net.layer):
        stated = [layer.input_param.shape[0].dim[0] for layer in description.net.layer if layer.input_param.shape]
        return int(stated[0]) if stated else 1
    return 1 if network.numbers_a_photo() > _LARGE else _BATCH


def _counts_on_batch(layer: Any) -> bool:
    """Whether a layer may be right for the stated number of photos only; negative axes may be the first too."""
    if layer.type == "Reshape":
        settings = layer.reshape_param
        kept = settings.num_axes != 0 and settings.shape.dim[:1] == [0]
        return bool(settings.axis <= 0 and not kept)
    return bool(layer.type == "Slice" and (layer.slice_param.axis <= 0 or layer.slice_param.slice_dim == 0))


def _against_caffe(network: Converted, path: Path) -> Comparison:
    with open_arrays(path, "blobs that Caffe computed (.npz)") as arrays:
        blobs = _expected_blobs(network, arrays)
        rows = []
        for blob in blobs:
            found = network.value(blob)
            rows.append(compare(blob, found, arrays.read(blob, found.shape), LIMIT))
        # Caffe puts Split layers in where several layers read a blob.
        others = [name for name in arrays.headers if name not in network.blobs and "_split_" not in name]
        note = f"the network has no {_some(others)}" if others else ""
        return Comparison("Caffe", f"({path.name}, sha256 {arrays.sha256[:12]})", rows, binding=True, note=note)


def _expected_blobs(network: Converted, arrays: Arrays) -> list[str]:
    """The network's blobs that the file has; ConversionError if an output is missing."""
    if arrays.single:
        raise ConversionError(f"{arrays.path}: expected blobs by name (.npz), found one array (.npy)")
    for output in network.outputs:
        if output not in arrays.headers:
            raise ConversionError(
                f"{arrays.path}: expected at least the network's outputs, found no blob '{output}'"
                f"{closest(output, arrays.headers)}; save them all: "
                "numpy.savez(file, **{name: blob.data for name, blob in net.blobs.items()})"
            )
    return [blob for blob in network.blobs if blob in arrays.headers]


def _against_numpy(
    network: Converted, description: Description, weights: Weights, fed: Mapping[str, NDArray[np.float32]]
) -> Comparison:
    walk = _Reading(network, description, weights, fed)
    for index in range(len(description.net.layer)):
        walk.add(index)
    note = f"layers of types it does not know: {_some(walk.unknown)}" if walk.unknown else ""
    return Comparison("NumPy", np.__version__, list(walk.rows.values()), binding=True, note=note)


class _Reading:
    """The NumPy reading, beside the converted network; blobs are let go when no later layer reads them.

    Attributes
    ----------
    rows : dict of str to Row
        By value of the model.
    unknown : list of str
        Layers that were not compared.
    """

    def __init__(
        self,
        network: Converted,
        description: Description,
        weights: Weights,
        fed: Mapping[str, NDArray[np.float32]],
    ) -> None:
        self.rows: dict[str, Row] = {}
        self.unknown: list[str] = []
        self._network, self._fed, self._net = network, fed, description.net
        self._stored = reading.stored_blobs(self._net, {name: layer.blobs for name, layer in weights.layers.items()})
        self._last_read, self._last_written = reading.last_readers(self._net), reading.last_writers(self._net)
        self._blobs: dict[str, reading.Array] = {}
        self._values: dict[str, str] = {}  # The value of the model that each blob is now.
        self._failed: set[str] = set()

    def add(self, index: int) -> None:
        """Compute one layer, and compare what it puts out."""
        layer = self._net.layer[index]
        tops = [(top, value) for top, value in zip(layer.top, self._network.tops[index], strict=True) if value]
        made: dict[str, NDArray[Any]] = {}
        if layer.type in reading.FED:
            made = {top: self._fed[top] for top in layer.top if top in self._fed}
        elif tops and reading.knows(layer):
            made = self._compared(index, tops)
        elif tops:
            made = {top: self._network.value(value) for top, value in tops}
            self.unknown.append(layer.name)
        self._values |= dict(tops)
        self._blobs |= {top: np.asarray(array, np.float64) for top, array in made.items()}
        for blob in (*layer.top, *layer.bottom):
            if self._last_read.get(blob, -1) <= index:
                self._blobs.pop(blob, None)

    def _compared(self, index: int, tops: list[tuple[str, str]]) -> dict[str, NDArray[Any]]:
        """What the layer makes of what the layers before it made."""
        bottoms = reading.wanted_bottoms(self._net.layer[index])
        whole = self._made(index, [self._blobs[bottom] for bottom in bottoms])
        rows = [self._row(value, array) for (_, value), array in zip(tops, whole, strict=True)]
        if not all(row.passed for row in rows) and self._failed.isdisjoint(bottoms):
            local = self._made(index, [self._found(bottom) for bottom in bottoms])
            again = [self._row(value, array) for (_, value), array in zip(tops, local, strict=True)]
            if all(row.passed for row in again):
                note = "from the network's own bottoms; rounding in earlier layers moves it by "
                rows = [replace(row, note=f"{note}{old.error:.1e}") for row, old in zip(again, rows, strict=True)]
                whole = local
        for (top, value), row, array in zip(tops, rows, whole, strict=True):
            self._keep(row)
            if top != value and self._last_written[top] == index:
                # The same numbers under the blob's own name.
                self._keep(self._row(top, array))
            self._failed.discard(top)
            if not row.passed:
                self._failed.add(top)
        return {top: array for (top, _), array in zip(tops, whole, strict=True)}

    def _found(self, blob: str) -> NDArray[Any]:
        """What the converted network has for a blob now; an input that it does not take is as good as fed."""
        return self._network.value(self._values[blob]) if blob in self._values else self._fed[blob]

    def _made(self, index: int, bottoms: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        arrays = reading.apply(self._net.layer[index], bottoms, self._stored[index], self._fed)
        return [array for array in arrays if array is not None]

    def _row(self, value: str, array: NDArray[Any]) -> Row:
        return compare(value, self._network.value(value), array, LIMIT)

    def _keep(self, row: Row) -> None:
        """One row a value, the worst: of a Dropout, bottom and top are one."""
        known = self.rows.get(row.blob)
        if known is None or row.error > known.error:
            self.rows[row.blob] = row


def _against_opencv(
    network: Converted, description: Description, weights: Weights, fed: Mapping[str, NDArray[np.float32]]
) -> Comparison:
    rows: dict[str, Row] = {}
    try:
        with layer_outputs(description.path, weights.path, fed) as outputs:
            for layer, values in zip(description.net.layer, network.tops, strict=True):
                for position, value in enumerate(values):
                    array = outputs.read(layer.name, position) if value and layer.type not in reading.FED else None
                    if value and array is not None and value not in rows:
                        rows[value] = _opencv_row(layer, value, network.value(value), array)
            note = outputs.stopped or ("" if rows else "it has none of the network's layers under their names")
            return Comparison("OpenCV", outputs.version, list(rows.values()), binding=False, note=note)
    except OpenCVUnavailableError as error:
        return Comparison("OpenCV", "", [], binding=False, note=str(error))


def _opencv_row(layer: Any, value: str, found: NDArray[np.float32], array: NDArray[np.float64]) -> Row:
    # OpenCV drops or adds axes of size 1.
    row = compare(value, found, array.reshape(found.shape) if array.size == found.size else array, OPENCV_LIMIT)
    why = known_difference(layer)
    return row if row.passed or not why else replace(row, note=f"OpenCV {why}")


def _some(names: Sequence[str], count: int = 4) -> str:
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(repr(name) for name in names[:count]) + more

"""A network: an ONNX file on ONNX Runtime, with named blobs and an explicit choice of provider."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from ..errors import NetworkError, closest
from ..given_arrays import given_array
from .cuda import largest_batch
from .gradient import gradient_model
from .graphs import blob_names, blob_shapes, image_input, opset, producers, prune
from .half_precision import half_precision
from .reading import external_files, read_model
from .runtime import (
    Precision,
    Provider,
    Running,
    check_precision,
    choose_provider,
    make_session,
    run_in_batches,
)
from .softmax import classes_of, softmax_of


class Network:
    """A classifier that ONNX Runtime can run.

    Parameters
    ----------
    source : path or onnx.ModelProto
        Any ONNX classifier with one float32 image input (N, C, H, W); converted from Caffe or not. Those with other
        inputs or outputs are for `predict_diff.network.opening.open_classifier`.
    provider : {"auto", "cpu", "cuda"}
        "cuda" is an error where ONNX Runtime cannot run it; "auto" then takes the CPU, and says so once.
    threads : int, optional
        Threads within an operator on the CPU; all cores by default.
    precision : {"full", "tf32", "fp16"}
        "full" is faithful. "tf32" lets CUDA round the operands of convolutions and inner products to 10 bits of
        mantissa; "fp16" is what `half_precision` does. What they cost: `predict_diff.precision`.
    device : int, default 0
        Number of the GPU.
    probabilities : sequence of str
        Blobs whose units are probabilities although no softmax makes them.

    Attributes
    ----------
    name : str
        Name of the file or of the graph.
    sha256 : str
        Of the file, or of the serialised model.
    provider : {"cpu", "cuda"}
        What runs.
    device : int
        Number of the GPU; 0 on the CPU.
    precision : {"full", "tf32", "fp16"}
    blobs : dict of str to tuple of int
        Shape of each blob, batch axis left out, in the order in which they are computed.
    outputs : tuple of str
        The blobs that the file itself names as outputs.
    fixed_batch : int or None
        As many photos as the file insists on at once; calls with others are split and filled up.
    largest_batch : int
        As many photos as the provider takes at once, whatever the memory.

    Raises
    ------
    NetworkError
        If the file cannot be read or run, does not take one image, or what runs has no such precision or device.
    """

    def __init__(
        self,
        source: str | Path | onnx.ModelProto,
        provider: Provider = "auto",
        threads: int | None = None,
        precision: Precision = "full",
        device: int = 0,
        probabilities: Sequence[str] = (),
    ) -> None:
        self._source = source
        self._probabilities = tuple(probabilities)
        self._threads = threads
        self.provider: Running = choose_provider(provider)
        check_precision(precision, device, self.provider)
        self.precision, self.device = precision, device
        model = self._load()
        self.name = Path(source).stem if isinstance(source, str | Path) else str(model.graph.name)
        self.input_name, self.input_shape, self.fixed_batch = image_input(model, self.name)
        self.outputs = tuple(str(value.name) for value in model.graph.output)
        self.metadata = {str(entry.key): str(entry.value) for entry in model.metadata_props}
        shapes = blob_shapes(model)
        self._layers, self.blobs = blob_names(self.metadata, shapes, self.outputs)
        self._shapes, self._opset = shapes, opset(model)
        self.largest_batch = largest_batch(model, shapes) if self.provider == "cuda" else sys.maxsize
        if self.fixed_batch is not None:
            self.largest_batch = self.fixed_batch
        self._producers = producers(model)
        self._sessions: dict[tuple[str, ...], onnxruntime.InferenceSession] = {}
        self._keeps_gradient = False
        self._kept_gradient: dict[str, onnxruntime.InferenceSession] = {}

    def __getstate__(self) -> dict[str, Any]:
        """For copies, as for other processes: sessions have none, and are opened anew."""
        return {**self.__dict__, "_sessions": {}, "_keeps_gradient": False, "_kept_gradient": {}}

    @cached_property
    def sha256(self) -> str:
        digest = hashlib.sha256()
        if isinstance(self._source, onnx.ModelProto):
            digest.update(self._source.SerializeToString(deterministic=True))
        else:
            path = Path(self._source)
            for part in (path, *external_files(path)):
                with part.open("rb") as file:
                    while chunk := file.read(1 << 20):
                        digest.update(chunk)
        return digest.hexdigest()

    def resolve(self, name: str) -> str:
        """The blob that a name stands for: a blob's own, or that of a layer that made one.

        Raises
        ------
        NetworkError
            If there is neither; the message has the closest names.
        """
        if name in self.blobs:
            return name
        tops = self._layers.get(name, [])
        if tops:
            return tops[0]
        raise NetworkError(
            f"{self.name}: expected the name of a blob or layer, found '{name}'"
            f"{closest(name, [*self.blobs, *self._layers])}"
        )

    def is_probability(self, blob: str) -> bool:
        """Whether a blob is the output of a softmax, or is said to have probabilities."""
        name = self.resolve(blob)
        return name in self._probabilities or softmax_of(self._producers, name) is not None

    def penultimate(self, blob: str) -> str:
        """What the softmax that makes `blob` is applied to; the blob itself if it is no probability."""
        name = self.resolve(blob)
        while (softmax := softmax_of(self._producers, name)) is not None and softmax.input[0] in self.blobs:
            name = str(softmax.input[0])
        return name

    def classes(self, blob: str) -> int:
        """See `Predictor.classes`: the size of the softmax's axis; where that is not known, of the blob's first."""
        name = self.resolve(blob)
        softmax = None if name in self._probabilities else softmax_of(self._producers, name)
        if softmax is None or softmax.output[0] not in self._shapes:
            return self.blobs[name][0]
        return classes_of(softmax, self._shapes[softmax.output[0]], self._opset)

    def run(self, x: NDArray[np.float32], blobs: str | Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Values of some blobs.

        Parameters
        ----------
        x : ndarray, shape (N, C, H, W) or (C, H, W), float32
            Photos as the network sees them.
        blobs : str or sequence of str
            Names of blobs, or of layers.

        Returns
        -------
        dict of str to ndarray, shape (N, ...), float32
            Under the names that were asked for.

        Raises
        ------
        NetworkError
            If there is no such blob, or x has another shape.
        """
        asked = [blobs] if isinstance(blobs, str) else list(blobs)
        names = tuple(dict.fromkeys(self.resolve(blob) for blob in asked))
        session = self._session(names)
        values = dict(zip(names, self.run_session(session, self.batch(x)), strict=True))
        return {blob: values[self.resolve(blob)] for blob in asked}

    def gradient(
        self, x: NDArray[np.float32], blob: str, unit: int | tuple[int, ...], scale: float = 1.0
    ) -> NDArray[np.float32]:
        """Gradient of one unit, or of the mean of several, with respect to the input, of each photo by itself.

        Parameters
        ----------
        x : ndarray, shape (N, C, H, W) or (C, H, W), float32
        blob : str
            Name of the blob, or layer.
        unit : int or tuple of int
            Position of the unit in the blob, batch axis left out; an int counts through the flattened blob. With
            fewer numbers than the blob has axes: the mean over the rest, as in `Target`.
        scale : float, default 1
            The diff that the backward pass starts from.

        Returns
        -------
        ndarray, shape of x, float32

        Raises
        ------
        NetworkError
            If there is no such unit, or an operator on the way has no gradient.
        """
        name = self.resolve(blob)
        batch = self.batch(x)
        shape = self.blobs[name]
        upstream = np.zeros((len(batch), *shape), np.float32)
        try:
            index = np.unravel_index(unit, shape) if isinstance(unit, int) else tuple(unit)
            upstream[(slice(None), *index)] = scale / prod(shape[len(index) :])
        except (IndexError, ValueError) as error:
            raise NetworkError(f"{self.name}: blob '{name}' has shape {shape}, so it has no unit {unit}") from error
        gradient = self.run_session(self._backward(name), batch, {f"upstream/{name}": upstream})[0]
        return gradient.reshape(np.shape(x))

    @contextmanager
    def keeping_gradient(self) -> Iterator[None]:
        """For many calls of `gradient`: meanwhile the backward graph of the last blob is kept, weights and all."""
        self._keeps_gradient = True
        try:
            yield
        finally:
            self._keeps_gradient = False
            self._kept_gradient.clear()

    def run_session(
        self,
        session: onnxruntime.InferenceSession,
        batch: NDArray[np.float32],
        beside: Mapping[str, NDArray[np.float32]] | None = None,
        whole: Mapping[str, NDArray[np.generic]] | None = None,
    ) -> list[NDArray[np.float32]]:
        """All outputs of a session of a model derived from this network's, in batches of the size that it insists on.

        Parameters
        ----------
        session : onnxruntime.InferenceSession
        batch : ndarray, shape (N, C, H, W), float32
        beside : mapping of str to ndarray, shape (N, ...), optional
            Other inputs; those that the session does not have are left out.
        whole : mapping of str to ndarray, optional
            Inputs that are the same for all photos.
        """
        return run_in_batches(session, {self.input_name: batch, **(beside or {})}, self.fixed_batch, whole)

    def extended(self, model: onnx.ModelProto) -> onnxruntime.InferenceSession:
        """A session for a model derived from this network's: in its precision, where it runs, float32 outside."""
        if self.precision == "fp16":
            model = half_precision(model)
        return make_session(model, self.provider, self._threads, self.precision, self.device)

    def in_full_precision(self) -> Network:
        """The same network on the same provider, in full precision."""
        return Network(self._source, self.provider, self._threads, "full", self.device, self._probabilities)

    def load(self) -> onnx.ModelProto:
        """The model, weights included; read anew from the file, so that nobody holds it for long."""
        return self._load()

    def batch(self, x: NDArray[np.floating]) -> NDArray[np.float32]:
        """x as a contiguous float32 batch; NetworkError if it does not fit the input."""
        x = given_array(x, f"{self.name}: photos", NetworkError)
        batch = x[None] if x.ndim == len(self.input_shape) else x
        if batch.shape[1:] != self.input_shape or batch.dtype.kind not in "fiu":
            raise NetworkError(
                f"{self.name}: expected photos of shape {self.input_shape}, found {x.shape} of {x.dtype}"
            )
        return np.ascontiguousarray(batch, dtype=np.float32)

    def describe(self) -> dict[str, Any]:
        """What a result should say of the network, JSON-able."""
        return {
            "name": self.name,
            "sha256": self.sha256,
            "provider": self.provider,
            "precision": self.precision,
            "onnxruntime": onnxruntime.__version__,
            "converted_from": {
                key: self.metadata[key]
                for key in ("prototxt_sha256", "weights_sha256", "converter_version")
                if key in self.metadata
            },
        }

    def _load(self) -> onnx.ModelProto:
        if isinstance(self._source, onnx.ModelProto):
            return self._source
        model = read_model(Path(self._source))
        model.graph.name = Path(self._source).stem  # what messages call it: exporters name all graphs alike
        return model

    def _backward(self, blob: str) -> onnxruntime.InferenceSession:
        """The backward graph of a blob. Outside `keeping_gradient` it is not worth its copy of the weights."""
        if (kept := self._kept_gradient.get(blob)) is not None:
            return kept
        self._kept_gradient.clear()
        # On the CPU, in full precision: scattering with atomics makes CUDA's last bits vary.
        session = make_session(gradient_model(self._load(), blob, self.input_name), "cpu", self._threads)
        if self._keeps_gradient:
            self._kept_gradient[blob] = session
        return session

    def _session(self, blobs: tuple[str, ...]) -> onnxruntime.InferenceSession:
        session = self._sessions.get(blobs)  # which another thread may replace
        if session is None:
            # One set of blobs at a time: each session holds the weights.
            self._sessions.clear()
            session = self._sessions[blobs] = self.extended(prune(self._load(), blobs))
        return session

"""Try a classifier that anyone may have exported with one image, and find its output with a number for each class."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from ..errors import NetworkError, closest
from ..input_spec import InputSpec
from .function import are_probabilities
from .runtime import make_session, run_session

#: Numbers of the images that a file is tried with: 256 MiB. It may claim any batch.
_NUMBERS_AT_MOST = 1 << 26
#: How far the same image's outputs may differ between two batches, as a share of the largest: half precision's kernels
#: differ by 1e-3, statistics of the batch by much more.
_BATCH_TOLERANCE = 1e-2


def probe(
    model: onnx.ModelProto, x: NDArray[np.float32], batch: int | None, name: str
) -> tuple[dict[str, NDArray[np.float64]], dict[str, NDArray[np.float64]]]:
    """Try a network with an image: what its outputs are, and whether they depend on what else is in the batch.

    Parameters
    ----------
    model : onnx.ModelProto
        Takes (N, C, H, W), float32.
    x : ndarray, shape (C, H, W), float32
    batch : int or None
        On how many images at once it insists.
    name : str
        What messages call it.

    Returns
    -------
    found, again : dict of str to ndarray, shape (n, ...), float64
        All outputs that have a row for each image: for a batch of the image and its mirror image, and once more for
        the image alone or, where the batch is fixed, beside others. The image is the first.

    Raises
    ------
    NetworkError
        If the network cannot run, insists on a batch beyond all memory, or gives NaN or infinity.
    """
    count = batch or 2
    if count > 2 and count * x.size > _NUMBERS_AT_MOST:
        raise NetworkError(
            f"{name}: expected batches of at most {_NUMBERS_AT_MOST:,} numbers, found {count:,} images of "
            f"{' x '.join(map(str, x.shape))}, on which the file insists; export the network with any batch"
        )
    images = np.ascontiguousarray(np.resize(np.stack([x, x[..., ::-1]]), (count, *x.shape)))
    session = make_session(model, "cpu")
    found = _outputs(session, model, images, name)
    for output, value in found.items():
        if not np.isfinite(value).all():
            raise NetworkError(
                f"{name}: expected finite numbers in output '{output}', found NaN or infinity; check the network's "
                f"weights, and the range of the images"
            )
    again = _outputs(session, model, _beside_others(images, batch), name)
    return found, {output: again.get(output, value) for output, value in found.items()}


def _beside_others(images: NDArray[np.float32], batch: int | None) -> NDArray[np.float32]:
    """The first image alone or, where the batch is fixed, beside others."""
    if batch is None:
        return images[:1]
    return np.concatenate([images[:1], images[1:] / 2])


def _outputs(
    session: onnxruntime.InferenceSession, model: onnx.ModelProto, images: NDArray[np.float32], name: str
) -> dict[str, NDArray[np.float64]]:
    """All outputs that have a row for each image."""
    try:
        values = run_session(session, {session.get_inputs()[0].name: images})
    except NetworkError as error:
        raise NetworkError(
            f"{name}: expected a network that takes {len(images)} images of {' x '.join(map(str, images.shape[1:]))} "
            f"at once, but {error}; check the size and range of the images, and that it was exported with any batch, "
            f"or one that is fixed in its input too"
        ) from error
    found = {output.name: value for output, value in zip(model.graph.output, values, strict=True)}
    return {
        output: np.asarray(value, np.float64)
        for output, value in found.items()
        if np.ndim(value) and len(value) == len(images)
    }


def refuse_moods(values: NDArray[np.float64], again: NDArray[np.float64], expected: str) -> None:
    """NetworkError if an image's outputs depend on what else is in the batch, or on chance."""
    difference = np.abs(again[0] - values[0]).max()
    if difference > _BATCH_TOLERANCE * np.abs(values).max():
        raise NetworkError(
            f"{expected} for an image beside whatever others, found some that differ by {difference:.3g}; export the "
            f"network in evaluation mode: no dropout, no batch statistics, no softmax over the batch"
        )


def class_output(found: dict[str, NDArray[np.float64]], spec: InputSpec, name: str) -> str:
    """The output that has a number for each class. NetworkError if there is none, or nothing says which."""
    shapes = ", ".join(f"'{output}' {value.shape[1:]}" for output, value in found.items()) or "none"
    if spec.output is not None and spec.output not in found:
        raise NetworkError(
            f"{name}: expected one of its outputs, {shapes}, found '{spec.output}' in the spec"
            f"{closest(spec.output, found)}"
        )
    asked = {spec.output: found[spec.output]} if spec.output is not None else found
    classes = {output: value for output, value in asked.items() if _are_classes(value.shape[1:])}
    if not classes:
        hint = ""
        if asked and all(value[0].size == 1 for value in asked.values()):
            hint = (
                f"; for one probability of two classes, give a function with both: np.stack([1 - p, p], axis=1); to "
                f"explain the number itself, open it with predict_diff.Network: '{next(iter(asked))}:0'"
            )
            if len(asked) > 1:
                hint = '; for scikit-learn, export it with options={"zipmap": False}'
        elif asked:
            hint = f"; to explain one of its units, open it with predict_diff.Network: '{next(iter(asked))}:0'"
        else:
            hint = "; export the network with an axis for the batch"
        raise NetworkError(f"{name}: expected an output of at least two classes for each image, found {shapes}{hint}")
    sure = [output for output, value in classes.items() if are_probabilities(value.reshape(len(value), -1))]
    choice = list(classes) if len(classes) == 1 or spec.softmax or not sure else sure
    if len(choice) > 1:
        raise NetworkError(
            f"{name}: expected one output with classes, found {', '.join(choice)}; say which in the spec: "
            f'output="{choice[-1]}"'
        )
    return choice[0]


def _are_classes(shape: tuple[int, ...]) -> bool:
    return bool(shape) and shape[0] > 1 and all(size == 1 for size in shape[1:])

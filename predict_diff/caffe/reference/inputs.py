"""What a network is fed while it is checked: the user's arrays, or plausible random ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ConversionError, closest
from ..caffe_pb2 import NetParameter
from .arrays import open_arrays

#: Sizes of an input; None is the batch's.
InputShape = tuple[int | None, ...]

#: Spread of random photos, in grey levels about the mean: what photos have.
_PHOTO = 60.0

#: Layers that hand numbers on as they are.
_HANDING_ON = frozenset({"Concat", "Crop", "Dropout", "Flatten", "Reshape", "Slice", "Split", "Tile"})


def random_inputs(
    net: NetParameter, shapes: Mapping[str, InputShape], batch: int, seed: int
) -> dict[str, NDArray[np.float32]]:
    """Random numbers such as a network may be given.

    Parameters
    ----------
    net : NetParameter
    shapes : mapping of str to tuple
        Of the input blobs.
    batch : int
    seed : int

    Returns
    -------
    dict of str to ndarray, float32
        Smooth noise of 60 grey levels about zero for blobs with three channels, as of photos with their mean
        subtracted; row numbers where an Embed layer looks them up; standard normal noise otherwise.
    """
    generator = np.random.Generator(np.random.Philox(seed))
    rows = _looked_up(net)
    inputs: dict[str, NDArray[np.float32]] = {}
    for name, open_shape in shapes.items():
        shape = tuple(batch if size is None else size for size in open_shape)
        if name in rows:
            inputs[name] = generator.integers(0, rows[name], shape).astype(np.float32)
            continue
        noise = generator.standard_normal(shape, np.float32)
        inputs[name] = _like_photos(noise) if len(shape) == 4 and shape[1] == 3 else noise
    return inputs


def _like_photos(noise: NDArray[np.float32]) -> NDArray[np.float32]:
    """Noise whose neighbouring pixels are alike, with a spread of 60."""
    smooth = sum((np.roll(noise, (down, right), (2, 3)) for down in (0, 1) for right in (0, 1)), np.zeros_like(noise))
    return (smooth * np.float32(_PHOTO / 2)).astype(np.float32)


def _looked_up(net: NetParameter) -> dict[str, int]:
    """Number of rows of the tables in which blobs are looked up."""
    rows: dict[str, int] = {}
    for layer in reversed(net.layer):
        known = [rows[top] for top in layer.top if top in rows]
        if layer.type == "Embed":
            rows.update(dict.fromkeys(layer.bottom, layer.embed_param.input_dim))
        elif layer.type in _HANDING_ON and known:
            rows.update(dict.fromkeys(layer.bottom, min(known)))
    return rows


def unread_inputs(net: NetParameter, fed: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """Zeros for the inputs that a converted network does not take, such as one that Crop takes only the size of.

    Their first axis is the batch where the description says that it is as long as that of the first input.
    """
    stated: dict[str, tuple[int, ...]] = {}
    for layer in net.layer:
        if layer.type == "Input":
            shapes = [tuple(shape.dim) for shape in layer.input_param.shape]
            stated |= dict(zip(layer.top, shapes * len(layer.top) if len(shapes) == 1 else shapes, strict=False))
    batch, as_stated = len(next(iter(fed.values()))), next((shape[0] for shape in stated.values()), None)
    return {
        name: np.zeros((batch if shape[0] == as_stated else shape[0], *shape[1:]), np.float32)
        for name, shape in stated.items()
        if name not in fed
    }


def given_inputs(
    inputs: str | Path | Mapping[str, NDArray[Any]], shapes: Mapping[str, InputShape]
) -> dict[str, NDArray[np.float32]]:
    """The user's inputs.

    Parameters
    ----------
    inputs : path or mapping of str to ndarray
        An .npy for the only input, an .npz with one array for each, or the arrays themselves.
    shapes : mapping of str to tuple
        Of the input blobs.

    Returns
    -------
    dict of str to ndarray, float32

    Raises
    ------
    ConversionError
        If an input is missing, has another shape, or holds NaN or infinity.
    """
    place = "inputs"
    if isinstance(inputs, str | Path):
        place = str(inputs)
        found = _read(Path(inputs), shapes)
    else:
        found = _fitting({name: tuple(np.shape(array)) for name, array in inputs.items()}, shapes, place)
        found = {name: np.asarray(inputs[name]) for name in found}
    with np.errstate(over="ignore"):  # A double beyond float32 becomes infinite, and is refused as that.
        fed = {name: np.ascontiguousarray(array, np.float32) for name, array in found.items()}
    for name, array in fed.items():
        if not np.isfinite(array).all():
            raise ConversionError(f"{place}: input '{name}': expected finite numbers, found NaN or infinity")
    return fed


def _read(path: Path, shapes: Mapping[str, InputShape]) -> dict[str, NDArray[Any]]:
    with open_arrays(path, "an input (.npy, or .npz with one array for each input)") as arrays:
        stored = {name: header.shape for name, header in arrays.headers.items()}
        if arrays.single:
            if len(shapes) > 1:
                raise ConversionError(
                    f"{path}: expected an .npz with one array for each input ({', '.join(shapes)}), found one array"
                )
            only = next(iter(shapes))
            fitting = _fitting({only: stored[""]}, shapes, str(path))
            return {only: arrays.read("", fitting[only])}
        return {name: arrays.read(name, shape) for name, shape in _fitting(stored, shapes, str(path)).items()}


def _fitting(found: Mapping[str, tuple[int, ...]], shapes: Mapping[str, InputShape], place: str) -> dict[str, Any]:
    """The shapes of the wanted inputs; ConversionError if one is missing or does not fit."""
    batches = set()
    for name, expected in shapes.items():
        if name not in found:
            raise ConversionError(
                f"{place}: expected an array for input '{name}', found "
                f"{', '.join(map(repr, list(found)[:5])) or 'none'}{closest(name, found)}"
            )
        shape = found[name]
        if len(shape) != len(expected) or any(
            size not in (None, own) for size, own in zip(expected, shape, strict=True)
        ):
            wanted = " x ".join("N" if size is None else str(size) for size in expected)
            raise ConversionError(
                f"{place}: input '{name}': expected {wanted}, found {' x '.join(map(str, shape)) or 'one number'}; "
                f"give the numbers as the network sees them"
            )
        batches |= {own for size, own in zip(expected, shape, strict=True) if size is None}
    if len(batches) > 1:
        raise ConversionError(f"{place}: expected one batch size for all inputs, found {sorted(batches)}")
    return {name: found[name] for name in shapes}

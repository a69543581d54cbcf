"""Converted networks against outputs that others have published for the very same weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path
from typing import Self

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from pydantic import NonNegativeFloat, PositiveFloat, model_validator

from predict_diff.caffe.files import open_file
from predict_diff.caffe.preprocess import ChannelOrder, transform
from predict_diff.caffe.reference.arrays import open_arrays
from predict_diff.errors import ConfigurationError, ConversionError, ImageError, NetworkError
from predict_diff.network.network import Network

from . import networks
from .classifier import Engine
from .photos import printable, read_photo, user_path
from .validation import Strict, read_yaml

CASES = Path(__file__).parent / "reference_outputs.yaml"

#: A hundred photos, or twenty of GoogLeNet's first blob.
_NUMBERS_AT_MOST = 2**24

_EXPECTED = "a published array (.npy, or ONNX's .pb)"


class ReferencePhotos(Strict):
    """Pictures that are fed as they are."""

    files: list[str]
    channel_order: ChannelOrder
    raw_scale: float


class Tolerance(Strict):
    """At each number ``absolute + relative * |published|``; for the mean of the differences, `mean`."""

    absolute: PositiveFloat
    relative: NonNegativeFloat = 0.0
    mean: PositiveFloat | None = None


class ReferenceCase(Strict):
    """One entry of reference_outputs.yaml, where the fields are explained."""

    name: str
    network: str
    source: str
    photos: ReferencePhotos | None = None
    tensor: str | None = None
    blob: str
    expected: str
    tolerance: Tolerance

    @model_validator(mode="after")
    def _one_input(self) -> Self:
        if (self.photos is None) == (self.tensor is None):
            raise ValueError("expected either photos or a tensor")
        return self

    @property
    def files(self) -> list[str]:
        """What must lie in the user's folder."""
        inputs = self.photos.files if self.photos is not None else [str(self.tensor)]
        return [*inputs, self.expected]


class _Cases(Strict):
    cases: list[ReferenceCase]


@dataclass(frozen=True)
class ReferenceCheck:
    """A converted network beside one published output.

    Attributes
    ----------
    name, network, source, blob : str
        See reference_outputs.yaml.
    largest_difference, tolerance : float or None
        Of the number whose difference is the largest share, or multiple, of its tolerance; None if nothing was
        compared.
    mean_difference, mean_tolerance : float or None
        Of the mean of all absolute differences; no tolerance if the publisher has none.
    reason : str
        Why nothing was compared; empty if something was.
    """

    name: str
    network: str
    source: str
    blob: str
    largest_difference: float | None = None
    tolerance: float | None = None
    mean_difference: float | None = None
    mean_tolerance: float | None = None
    reason: str = ""

    @property
    def in_tolerances(self) -> float | None:
        """The difference that comes closest to its tolerance, or goes farthest beyond; None if nothing was compared."""
        if self.largest_difference is None or self.tolerance is None or self.mean_difference is None:
            return None
        of_mean = 0.0 if self.mean_tolerance is None else self.mean_difference / self.mean_tolerance
        return max(self.largest_difference / self.tolerance, of_mean)


@cache
def reference_cases(path: Path = CASES) -> tuple[ReferenceCase, ...]:
    """The published cases. ConfigurationError if the list is wrong."""
    return tuple(read_yaml(path, _Cases).cases)


def reference_checks(
    name: str, folder: Path | None, engine: Engine | None = None, cases: Sequence[ReferenceCase] | None = None
) -> list[ReferenceCheck]:
    """Compare a converted network with published outputs.

    Parameters
    ----------
    name : str
        The network, as in models/.
    folder : Path or None
        Where the user has put the published files, under the names that they have in reference_outputs.yaml.
    engine : Engine, optional
        What runs the network.
    cases : sequence of ReferenceCase, optional
        Default: reference_outputs.yaml.

    Returns
    -------
    list of ReferenceCheck
        One for each case of this network; none if nothing is published for it. What cannot be compared, for want of
        weights or files, says so.

    Raises
    ------
    ConfigurationError
        If there is no such network or folder, or a case does not fit the network.
    ConversionError, ImageError
        If a file that is there is damaged, or is not what the case says.
    NetworkError
        If the network cannot be run, has no such blob, or gives NaN or infinity.
    """
    networks.card(name)
    own = [case for case in (reference_cases() if cases is None else cases) if case.network == name]
    if folder is not None and not (folder := user_path(folder)).is_dir():
        raise ConfigurationError(
            f"references: expected a folder of published outputs, found none at {printable(str(folder))}; name another"
        )
    reasons = [networks.obstacle(name) or _absent(case, folder) for case in own]
    network = None
    checks = []
    for case, reason in zip(own, reasons, strict=True):
        if reason or folder is None:
            checks.append(ReferenceCheck(case.name, name, case.source, case.blob, reason=reason))
            continue
        network = network or (engine or Engine()).network(networks.onnx_path(name))
        checks.append(_compare(case, network, folder))
    return checks


def _absent(case: ReferenceCase, folder: Path | None) -> str:
    """Why a case cannot be compared, or nothing."""
    where = f"it is published in {case.source}"
    if folder is None:
        return f"no folder with {case.expected} was named with --references; {where}"
    for file in case.files:
        if not (folder / file).is_file():
            return f"{file} is not in {printable(str(folder))}; {where}"
    return ""


def _compare(case: ReferenceCase, network: Network, folder: Path) -> ReferenceCheck:
    x = _photos(case.photos, network, folder) if case.photos is not None else _tensor(case, network, folder)
    path = folder / case.expected
    published = read_array(path)
    found = network.run(x, case.blob)[case.blob].astype(np.float64)
    # Some drop axes of size 1, or keep those that Caffe has behind a vector.
    if found.squeeze().shape != published.squeeze().shape:
        raise ConversionError(
            f"{printable(str(path))}: expected blob '{case.blob}' of {case.network}, shape {found.shape}, found "
            f"{published.shape}; fetch the file again"
        )
    if not np.isfinite(found).all():
        raise NetworkError(f"{network.name}: expected finite numbers in blob '{case.blob}', found NaN or infinity")
    difference = np.abs(found.squeeze() - published.squeeze()).ravel()
    tolerance = case.tolerance.absolute + case.tolerance.relative * np.abs(published).ravel()
    worst = int(np.argmax(difference / tolerance))
    return ReferenceCheck(
        case.name,
        case.network,
        case.source,
        case.blob,
        float(difference[worst]),
        float(tolerance[worst]),
        float(difference.mean()),
        case.tolerance.mean,
    )


def _photos(photos: ReferencePhotos, network: Network, folder: Path) -> NDArray[np.float32]:
    """Pictures of the input's size as a batch, (N, 3, H, W)."""
    batch = []
    for file in photos.files:
        photo = read_photo((folder / file).absolute())
        if photo.pixels.shape[:2] != network.input_shape[1:]:
            raise ImageError(
                f"{photo.source}: expected {network.input_shape[1:]} pixels, which is what {network.name} takes, found "
                f"{photo.pixels.shape[:2]}; fetch the published file itself"
            )
        swap = (2, 1, 0) if photos.channel_order == "BGR" else None
        batch.append(transform(photo.pixels, channel_swap=swap, raw_scale=photos.raw_scale))
    return np.stack(batch)


def _tensor(case: ReferenceCase, network: Network, folder: Path) -> NDArray[np.float32]:
    path = folder / str(case.tensor)
    x = read_array(path)
    if x.shape[1:] != network.input_shape:
        raise ConversionError(
            f"{printable(str(path))}: expected photos of shape {network.input_shape}, found {x.shape}; fetch the file "
            f"again"
        )
    return x.astype(np.float32)


def read_array(path: Path) -> NDArray[np.float64]:
    """Read a published array.

    Parameters
    ----------
    path : Path
        ``.npy``, or ``.pb`` for ONNX's TensorProto of single-precision numbers.

    Raises
    ------
    ConversionError
        If the file cannot be read, is damaged, too large or of another kind, or holds anything but finite numbers.
        Nothing is unpickled, and sizes are checked before anything is allocated.
    """
    values = _read_tensor(path) if path.suffix == ".pb" else _read_npy(path)
    if not np.isfinite(values).all():
        raise ConversionError(f"{printable(str(path))}: expected finite numbers, found NaN or infinity; fetch it again")
    return values


def _read_npy(path: Path) -> NDArray[np.float64]:
    with open_arrays(path, _EXPECTED) as arrays:
        if not arrays.single:
            raise ConversionError(
                f"{printable(str(path))}: expected one array (.npy), found several (.npz); fetch the published file"
            )
        shape = arrays.headers[""].shape
        _expect_bounded(path, shape)
        return arrays.read("", shape)


def _read_tensor(path: Path) -> NDArray[np.float64]:
    # Twice the numbers' own bytes: ONNX has room for a name and for what describes them.
    with open_file(path, _EXPECTED, at_most=8 * _NUMBERS_AT_MOST) as file:
        content = file.stream.read()
    tensor = onnx.TensorProto()
    try:
        tensor.ParseFromString(content)
        if tensor.data_type != onnx.TensorProto.FLOAT or tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise ValueError("its numbers are not float32, or lie elsewhere")
        shape = tuple(tensor.dims)
        if min(shape, default=1) < 1:
            raise ValueError(f"shape {shape}")
        _expect_bounded(path, shape)
        return np.asarray(numpy_helper.to_array(tensor), np.float64)
    except ConversionError:
        raise
    except Exception as problem:  # protobuf's DecodeError, and what numpy_helper makes of numbers that do not fit
        reason = " ".join(str(problem).split())[:100]
        raise ConversionError(
            f"{printable(str(path))}: expected ONNX's TensorProto of float32, found something else or a damaged one "
            f"({reason}); fetch it again"
        ) from problem


def _expect_bounded(path: Path, shape: tuple[int, ...]) -> None:
    if prod(shape) > _NUMBERS_AT_MOST:
        raise ConversionError(
            f"{printable(str(path))}: expected at most {_NUMBERS_AT_MOST:,} numbers, found shape {shape}; fetch the "
            f"published file"
        )

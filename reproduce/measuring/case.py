"""A network to be measured: with which settings, from which files, on what photo."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from predict_diff.caffe import converter
from predict_diff.caffe.preprocess import Preprocessing
from predict_diff.caffe.reader import Description, read_description, read_weights
from predict_diff.errors import NetworkError
from predict_diff.network.model_file import write_model
from predict_diff.samplers import GaussianSampler, GaussianStatistics, MarginalSampler, Sampler
from predict_diff.storage import whole_file

from .. import networks
from ..photos import read_photo
from ..pools import pool
from ..random_weights import write_random_weights

_PHOTO = "chelsea"
#: Crops of each photo of the pool, and patches of the Gaussian: what is drawn from it does not change what it costs.
_CROPS, _PATCHES = 2, 2000


@dataclass(frozen=True)
class Case:
    """What is measured. Without more said, the paper's settings.

    Attributes
    ----------
    network : str
    provider : {"cpu", "cuda"}
    precision : {"full", "tf32"}
    threads : int or None
        On the CPU; all cores by default.
    vary, value : str and int, or None
        Which of k, samples, targets and input is another than usual, and what it is.
    """

    network: str
    provider: Literal["cpu", "cuda"] = "cpu"
    precision: Literal["full", "tf32"] = "full"
    threads: int | None = None
    vary: str | None = None
    value: int | None = None

    @property
    def k(self) -> int:
        return self._varied("k", 10)

    @property
    def samples(self) -> int:
        return self._varied("samples", 20)

    @property
    def targets(self) -> int:
        return self._varied("targets", 1)

    @property
    def input_size(self) -> int:
        """Pixels along a side of the network's input."""
        return self._varied("input", networks.card(self.network).input_size)

    @property
    def title(self) -> str:
        """What the log calls it."""
        varied = f", {self.vary} = {self.value}" if self.vary else ""
        return f"{self.network}, {self.provider}, {self.precision} precision{varied}"

    def _varied(self, setting: str, usual: int) -> int:
        return usual if self.vary != setting or self.value is None else self.value


@dataclass(frozen=True)
class Files:
    """A network's files, ready to be measured.

    Attributes
    ----------
    model : Path
        The converted network.
    weights : Path
        The .caffemodel that it was converted from.
    kind : {"real", "random"}
        What the weights are.
    """

    model: Path
    weights: Path
    kind: Literal["real", "random"]


def prepare(case: Case, folder: Path) -> Files:
    """The files of a case; what does not lie in models/ is written into a folder.

    Weights that cannot be had without downloading are replaced by random ones of the same shapes, which cost the same.

    Raises
    ------
    NetworkError
        If an embedded network's package is not installed.
    """
    card = networks.card(case.network)
    real = networks.available(case.network)
    if not real and card.weights.package is not None:
        raise NetworkError(str(networks.missing(case.network)))
    if real and case.vary != "input":
        return Files(networks.onnx_path(case.network), networks.obtain_weights(case.network), "real")
    if real:
        weights = networks.obtain_weights(case.network)
    else:
        weights = write_random_weights(card.description, folder / "random.caffemodel", seed=0)
    description = resized(read_description(card.description), case.input_size)
    model, arrays = converter.convert_apart(description, read_weights(weights), card.licence)
    path = folder / f"{case.network}.onnx"
    with whole_file(path, NetworkError) as file:
        write_model(model, file, arrays)
    return Files(path, weights, "real" if real else "random")


def resized(description: Description, size: int) -> Description:
    """The same network for photos of another size; it has to take any."""
    net = type(description.net)()
    net.CopyFrom(description.net)
    for layer in net.layer:
        if layer.type == "Input":
            layer.input_param.shape[0].dim[2:] = [size, size]
    return replace(description, net=net)


def photo_and_sampler(case: Case) -> tuple[NDArray[np.float32], Sampler]:
    """A photo as the network sees it, (3, H, W), and what draws samples: the conditional sampler.

    Where it is seen how the cost of an evaluation grows, the sampler should not cost anything: see `shifted_photo`.
    """
    preprocess = _preprocessing(case)
    photo = read_photo(_PHOTO)
    x = preprocess(photo.pixels)
    if case.vary:
        return x, shifted_photo(x, case.k, case.samples)
    others = pool(leave_out=photo, crops=_CROPS).arrays(preprocess)
    l = case.k + 4  # Paper: 14 for k = 10
    return x, GaussianSampler(GaussianStatistics.fit(others, l, _PATCHES), case.k)


def shifted_photo(x: NDArray[np.float32], k: int, samples: int) -> Sampler:
    """Draws what the photo itself shows elsewhere: samples that are quickly made, and change something everywhere."""
    shifts = [(7 * number, 13 * number) for number in range(1, samples + 1)]
    return MarginalSampler(np.stack([np.roll(x, shift, (1, 2)) for shift in shifts]), k)


def _preprocessing(case: Case) -> Preprocessing:
    """As the card says, but without the mean image, which may be missing: its means will do."""
    settings = networks.card(case.network).preprocessing
    mean = settings.mean or (settings.mean_image.channel_means if settings.mean_image else None)
    fields = settings.model_dump(exclude={"mean", "mean_image"})
    return Preprocessing(input_size=case.input_size, mean=np.asarray(mean, np.float32), **fields)

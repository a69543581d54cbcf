"""A network with all that is needed to explain its decisions: how photos enter it, and what its classes are called."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from predict_diff.caffe.preprocess import Preprocessing
from predict_diff.errors import ConfigurationError, NetworkError, closest
from predict_diff.network.network import Network
from predict_diff.network.runtime import Precision, Provider
from predict_diff.targets import Target

from . import networks
from .card import CARD, Card
from .labels import Label, labels
from .photos import printable

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Classifier:
    """A network, its card, its preprocessing and the names of its classes.

    Attributes
    ----------
    origin : tuple
        The first arguments of `open_classifier` to open it again: name or absolute path, engine, and card.
    """

    card: Card
    network: Network
    preprocessing: Preprocessing
    classes: list[Label]
    origin: tuple[str, Engine, str | None]

    @property
    def name(self) -> str:
        return self.card.name

    def best(self, x: NDArray[np.float32], count: int = 3) -> list[tuple[int, float]]:
        """The classes with the highest probability for a photo x (3, H, W), and these probabilities."""
        blob = self.card.blobs.output
        probabilities = self.network.run(x, blob)[blob][0].ravel()
        order = np.argsort(-probabilities, kind="stable")[:count]
        return [(int(index), float(probabilities[index])) for index in order]

    def top(self, x: NDArray[np.float32]) -> Target:
        """The class with the highest probability, as a target of the output blob."""
        return self.class_target(self.best(x, 1)[0][0])

    def class_target(self, index: int, blob: str | None = None) -> Target:
        """The unit of a class, in the output blob or another; exported networks may keep axes of size 1 behind it."""
        blob = self.network.resolve(blob or self.card.blobs.output)
        return Target(blob, (index, *[0] * (len(self.network.blobs[blob]) - 1)))

    def best_targets(self, x: NDArray[np.float32], count: int) -> tuple[Target, ...]:
        """The highest classes' units in the penultimate blob, and then those in the output blob.

        Raises
        ------
        ConfigurationError
            If the network has fewer classes.
        """
        if count > len(self.classes):
            raise ConfigurationError(
                f"classes: expected at most {len(self.classes)}, as many as {self.card.title} has, found {count}"
            )
        best = [index for index, _ in self.best(x, count)]
        blobs = (self.card.blobs.penultimate, self.card.blobs.output)
        return tuple(self.class_target(index, blob) for blob in blobs for index in best)

    def spatial_blob(self, which: str) -> str:
        """A blob of feature maps, by its name or by its role in the card: early, middle or last.

        Raises
        ------
        ConfigurationError
            If the blob has no feature maps.
        NetworkError
            If there is no such blob; the message has the closest roles and blobs of feature maps.
        """
        roles = self.card.blobs.convolutional.model_dump()
        name = roles.get(which, which)
        try:
            blob = self.network.resolve(name)
        except NetworkError as reason:
            raise NetworkError(
                f"{self.network.name}: expected {', '.join(roles)}, or the name of a blob of feature maps, found "
                f"'{name}'{closest(name, [*roles, *self._spatial_blobs])}"
            ) from reason
        shape = self.network.blobs[blob]
        if len(shape) != 3:
            raise ConfigurationError(
                f"blob: expected one of {self.card.title}'s with feature maps, (maps, height, width), such as "
                f"{', '.join([*roles, *self._spatial_blobs[-3:]])}, found '{blob}' with shape {shape}"
                f"{closest(which, [*roles, *self._spatial_blobs])}"
            )
        return blob

    @property
    def _spatial_blobs(self) -> list[str]:
        """Blobs that have feature maps; without those that in-place layers make anew, and without the photo."""
        shapes = self.network.blobs.items()
        return [
            name for name, shape in shapes if len(shape) == 3 and "@" not in name and name != self.network.input_name
        ]

    def feature_maps(self, which: str) -> tuple[Target, ...]:
        """The mean of each feature map of a blob; errors are those of `spatial_blob`."""
        blob = self.spatial_blob(which)
        return tuple(Target(blob, (number,)) for number in range(self.network.blobs[blob][0]))

    def describe_target(self, target: Target) -> str:
        """A target in words: the class's name where it is one."""
        if target.blob in (self.card.blobs.output, self.card.blobs.penultimate) and target.index[0] < len(self.classes):
            return self.classes[target.index[0]].short
        return str(target)

    def unit_for_sensitivity(self, target: Target) -> Target:
        """Paper: a class's sensitivity map starts from its unit in the penultimate layer."""
        return Target(self.network.penultimate(target.blob), target.index)


@dataclass(frozen=True)
class Engine:
    """What runs the networks.

    Attributes
    ----------
    provider : {"auto", "cpu", "cuda"}
    threads : int or None
        On the CPU; None takes all cores.
    precision : {"full", "tf32", "fp16"}
    device : int
        Number of the GPU.
    """

    provider: Provider = "auto"
    threads: int | None = None
    precision: Precision = "full"
    device: int = 0

    def network(self, source: str | Path) -> Network:
        """Open an ONNX file."""
        return Network(source, self.provider, self.threads, self.precision, self.device)


def open_classifier(
    which: str, engine: Engine | None = None, card: str | None = None, crop: str = "network"
) -> Classifier:
    """Open a network by its name, or an ONNX file.

    Parameters
    ----------
    which : str
        A name in models/, or the path of an ONNX file.
    engine : Engine, optional
        By default a GPU where there is one, all cores otherwise.
    card : str, optional
        For an ONNX file: the name of the network in models/ whose preprocessing, blobs and classes it shares.
        Not needed for a file that was converted from a network in models/.
    crop : {"network", "unresized"}
        Authors' code: the centre of the unresized photo, and a mean image cropped at its bottom right.

    Raises
    ------
    PredictDiffError
        If there is no such network, its weights are missing, or it cannot run.
    """
    engine = engine or Engine()
    if which.endswith(".onnx"):
        network = engine.network(which)
        described = networks.card(card) if card else _card_of(network, Path(which))
    else:
        if card is not None:
            raise ConfigurationError(f"card: '{which}' has a card of its own; a card goes with an ONNX file only")
        described = networks.card(which)
        network = engine.network(networks.onnx_path(which))
    _check_fit(described, network)
    preprocessing = networks.preprocessing(described)
    if crop == "unresized":
        preprocessing = dataclasses.replace(preprocessing, resize="none", resize_to=None, mean_fit="crop_bottom_right")
    origin = str(Path(which).absolute()) if which.endswith(".onnx") else which, engine, card
    classes = labels(described.labels_path, network.blobs[network.resolve(described.blobs.output)][0])
    if card is not None:
        # It shares the card, not the name.
        title = printable(Path(which).stem)
        described = described.model_copy(update={"name": title, "title": title, "stands_in_for": None})
    return Classifier(described, network, preprocessing, classes, origin)


def _check_fit(described: Card, network: Network) -> None:
    """Raise ConfigurationError unless a card is about this network, as far as that shows."""
    card, expected = described.folder / CARD, (3, described.input_size, described.input_size)
    if network.input_shape != expected:
        raise ConfigurationError(
            f"{card}: input_size: expected that of {network.name}, which takes {network.input_shape}, found "
            f"{described.input_size}"
        )
    for blob in (described.blobs.output, described.blobs.penultimate):
        try:
            shape = network.blobs[network.resolve(blob)]
        except NetworkError as reason:
            raise ConfigurationError(f"{card}: blobs: {reason}") from reason
        if not shape:
            raise ConfigurationError(f"{card}: blobs: expected one with units, found '{blob}', a single number")


def choose_networks(names: list[str]) -> list[str]:
    """The networks themselves where all are there, else their embedded stand-ins, saying so.

    A mixture would invite comparing what cannot be compared.

    Raises
    ------
    NetworkError
        If a file that the user has put there is the wrong one, or something is missing and nothing stands in.
    """
    missing = [what for name in names if (what := networks.missing(name)) is not None]
    if not missing:
        return names
    stand_ins = [networks.stand_in(name) for name in names]
    chosen = [name for name in stand_ins if name is not None]
    if len(chosen) < len(names):
        raise NetworkError(missing[0])
    for what in missing:
        logger.info("%s.", what)
    pairs = ", ".join(
        f"{networks.card(own).title} for {networks.card(name).title}" for name, own in zip(names, chosen, strict=True)
    )
    logger.info("Embedded networks stand in for the paper's: %s.", pairs)
    return chosen


def _card_of(network: Network, path: Path) -> Card:
    """The card of the network in models/ that a file was converted from."""
    weights = network.metadata.get("weights_sha256")
    for name in networks.names():
        if weights is not None and networks.card(name).weights.sha256 == weights:
            return networks.card(name)
    raise ConfigurationError(
        f"{path}: expected to know how photos enter this network, and its classes; name the network in models/ that it "
        f"is like with --card ({', '.join(networks.names())}), or add a folder with a model.yaml of its own there"
    )

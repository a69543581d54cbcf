"""The cards of the networks: models/<network>/model.yaml, every fact about a network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveInt, StringConstraints
from pydantic import model_validator as validator

from predict_diff.errors import ConfigurationError

from . import home
from .inside import inside, name_problem
from .validation import read_yaml

CARD = "model.yaml"
DESCRIPTION = "deploy.prototxt"

Sha256 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
Sha1 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{40}$")]
Url = Annotated[str, StringConstraints(pattern="^https?://")]
Line = Annotated[str, StringConstraints(min_length=1, pattern=r"^[^\n]*$")]


def _plain(name: str) -> str:
    if "/" in name or (problem := name_problem(name)) is not None:
        found = "a folder" if "/" in name else problem
        raise ValueError(f"expected the name of a file, without a folder, found {found} ({name[:80]!r})")
    return name


def _relative(name: str) -> str:
    if (problem := name_problem(name)) is not None:
        raise ValueError(f"expected the name of a file and the folders it is in, found {problem} ({name[:80]!r})")
    return name


FileName = Annotated[str, StringConstraints(min_length=1), AfterValidator(_plain)]
RelativeName = Annotated[str, StringConstraints(min_length=1), AfterValidator(_relative)]
Channels = tuple[float, float, float]


class _Strict(BaseModel):
    # Not strict about types: YAML has lists where these have tuples.
    model_config = ConfigDict(extra="forbid", frozen=True)


class Package(_Strict):
    """An installed package that holds the trained weights as a .pth file."""

    name: Line
    file: RelativeName
    bytes: PositiveInt
    sha256: Sha256


class Weights(_Strict):
    """The .caffemodel: downloaded from one of `urls`, or packed from the file of a `package`."""

    file: FileName
    bytes: PositiveInt
    sha256: Sha256
    sha1: Sha1 | None = None
    urls: tuple[Url, ...] = ()
    package: Package | None = None

    @validator(mode="after")
    def _one_origin(self) -> Self:
        if bool(self.urls) == (self.package is not None):
            raise ValueError("expected either urls or a package")
        return self


class Archive(_Strict):
    """A .tar.gz of which one member is wanted. Its hash is not published, hence a bound on its size."""

    file: FileName
    member: FileName
    at_most_bytes: PositiveInt
    urls: tuple[Url, ...]


class MeanImage(_Strict):
    """A mean image; any one of `files` will do. Its channel means (BGR, 0-255) are published, its hash is not."""

    files: Annotated[tuple[FileName, ...], Field(min_length=1)]
    size: PositiveInt
    channel_means: Channels
    archive: Archive


class PhotoToInput(_Strict):
    """How a photo becomes the input; the fields of `predict_diff.caffe.preprocess.Preprocessing`."""

    resize: Literal["warp", "square", "none"]
    resize_to: PositiveInt | None = None
    antialias: bool = False
    mean: Channels | None = None
    mean_image: MeanImage | None = None
    mean_fit: Literal["crop", "resize", "crop_bottom_right"] = "crop"
    raw_scale: float
    input_scale: float = 1.0
    channel_order: Literal["BGR", "RGB"]

    @validator(mode="after")
    def _one_mean(self) -> Self:
        if (self.mean is None) == (self.mean_image is None):
            raise ValueError("expected either mean or mean_image")
        return self


class Convolutional(_Strict):
    """Blobs of feature maps, from the input on."""

    early: Line
    middle: Line
    last: Line


class Blobs(_Strict):
    """Names of the blobs that the figures need."""

    output: Line
    penultimate: Line
    convolutional: Convolutional


class Accuracy(_Strict):
    """Published accuracy on the validation set of ILSVRC-2012, one centre crop, in percent."""

    top1: float
    top5: float | None = None
    source: Line


class Card(_Strict):
    """A network: everything about it that code would otherwise have to know."""

    name: Line
    title: Line
    kind: Literal["paper", "embedded"]
    stands_in_for: Line | None = None
    licence: Line
    input_size: PositiveInt
    preprocessing: PhotoToInput
    blobs: Blobs
    labels: RelativeName
    accuracy: Accuracy
    weights: Weights

    @validator(mode="after")
    def _origin_fits_kind(self) -> Self:
        if (self.kind == "embedded") != (self.weights.package is not None):
            raise ValueError("expected weights from a package for an embedded network, from urls for one of the paper")
        return self

    @property
    def folder(self) -> Path:
        """Where the card, the description and the weights lie."""
        return home.root() / "models" / self.name

    @property
    def description(self) -> Path:
        """The deploy.prototxt."""
        return self.folder / DESCRIPTION

    @property
    def weights_path(self) -> Path:
        """Where the .caffemodel lies, once it is there."""
        return inside(self.folder, self.weights.file, f"{self.folder / CARD}: weights.file", links=True)

    @property
    def labels_path(self) -> Path:
        """The file with the names of the classes."""
        return inside(home.root(), self.labels, f"{self.folder / CARD}: labels")


def read_card(path: Path) -> Card:
    """Read and check a card.

    Raises
    ------
    ConfigurationError
        If it cannot be read, has an unknown field or lacks one, or a value is impossible.
    """
    card = read_yaml(path, Card)
    if card.name != path.parent.name:
        raise ConfigurationError(
            f"{path}: name: expected {path.parent.name!r}, the name of the folder, found {card.name!r}"
        )
    return card

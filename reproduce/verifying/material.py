"""What claims are measured on: networks, photos, seeds, and the maps that are computed from them."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from predict_diff.errors import PredictDiffError
from predict_diff.targets import Target

from ..classifier import Classifier, choose_networks, open_classifier
from ..config import SamplerName, Settings, with_side
from ..explanation import Explanation
from ..imagenet import LabelledPhoto, validation_set
from ..photos import Photo, printable, read_photo
from ..request import Request
from ..subject import Subject
from .measurement import NotMeasurableError
from .trained import untrained

logger = logging.getLogger(__name__)

#: The networks of the paper, in its order.
ROLES = ("alexnet", "googlenet", "vgg16")

#: Explanations that are kept, since several claims are about the same: five photos, three networks and two seeds. At
#: every window each takes 14 MB.
_REMEMBERED = 30


@dataclass
class Used:
    """What a check has asked for, by name and in that order: `dict` keeps the order and no name twice."""

    networks: dict[str, Classifier] = field(default_factory=dict)
    photos: dict[str, Photo] = field(default_factory=dict)
    seeds: dict[int, None] = field(default_factory=dict)


@dataclass
class _Shared:
    """What is opened once for all claims."""

    names: list[str] | None = None
    distinct_names: list[str] | None = None
    distinct_photos: list[str] | None = None
    classifiers: dict[str, Classifier] = field(default_factory=dict)
    photos: dict[str, Photo] = field(default_factory=dict)
    labelled: list[LabelledPhoto] | None = None
    explanations: dict[tuple[object, ...], Explanation] = field(default_factory=dict)
    untrained: dict[str, str | None] = field(default_factory=dict)


class Material:
    """Networks, photos and maps for the checks of claims.

    Parameters
    ----------
    request : Request
        What the user chose; its seed is not looked at.
    photos : sequence of str
        Names of photos, or paths. Photos, networks and seeds count once, however often they are named: they are
        independent units, and a copy tells nothing new.
    seeds : sequence of int
    recognised : mapping
        Names of photos whose class is known -> the synset ids that are right for it.
    imagenet : Path, optional
        The folder with ILSVRC-2012's validation photos.
    references : Path, optional
        The folder with published outputs of the paper's networks.

    Attributes
    ----------
    seeds : list of int
    used : Used
        What has been asked for, for the record.
    """

    def __init__(
        self,
        request: Request,
        photos: Sequence[str],
        seeds: Sequence[int],
        recognised: Mapping[str, Sequence[str]],
        imagenet: Path | None = None,
        references: Path | None = None,
    ) -> None:
        # Each subject has a seed of the claims': see `settings`.
        self.request = dataclasses.replace(request, seed=None)
        self.seeds = list(dict.fromkeys(seeds))
        self.recognised = recognised
        self.imagenet, self.references = imagenet, references
        self.used = Used()
        self._photo_names = list(photos)
        self._trained_only = False
        self._shared = _Shared()

    def for_claim(self, trained: bool) -> Material:
        """The same for one claim, with an empty record; if it needs trained networks, no others are given out."""
        other = Material(self.request, self._photo_names, self.seeds, self.recognised, self.imagenet, self.references)
        other._trained_only, other._shared = trained, self._shared
        return other

    def networks(self) -> list[Classifier]:
        """AlexNet, GoogLeNet and VGG16 where all are there, or what stands in for them; or those the user named, once.

        Raises
        ------
        NotMeasurableError
            If one cannot be opened, or its weights are not trained and the claim needs them to be.
        """
        if self._shared.distinct_names is None:
            names = self._names()
            contents = [self._opened(name).network.sha256 for name in names]
            self._shared.distinct_names = _distinct("networks", names, contents)
        return [self.classifier(name) for name in self._shared.distinct_names]

    def network(self, role: str) -> Classifier:
        """The network that is, or stands in for, one of the paper's.

        Parameters
        ----------
        role : {"alexnet", "googlenet", "vgg16"}

        Raises
        ------
        NotMeasurableError
            As `networks`; also if none of those the user named has this role.
        """
        for name in self._names():
            card = self._opened(name).card
            if role in (card.name, card.stands_in_for):
                return self.classifier(name)
        raise NotMeasurableError(f"none of the networks named with --networks is {role} or stands in for it")

    def classifier(self, name: str) -> Classifier:
        """A network by its name in models/, or an ONNX file; errors are those of `networks`."""
        found = self._opened(name)
        if self._trained_only and (reason := self.trained(found)) is not None:
            raise NotMeasurableError(reason)
        self.used.networks[name] = found
        return found

    @property
    def photos(self) -> list[Photo]:
        """The photos that maps are made of, each picture once. ImageError if one cannot be read."""
        if self._shared.distinct_photos is None:
            contents = [self._read(name).sha256 for name in self._photo_names]
            self._shared.distinct_photos = _distinct("photos", self._photo_names, contents)
        return [self.photo(name) for name in self._shared.distinct_photos]

    def photo(self, name: str) -> Photo:
        """One photo; as `reproduce.photos.read_photo`."""
        found = self._read(name)
        self.used.photos[found.name] = found
        return found

    @property
    def labelled_photos(self) -> list[LabelledPhoto]:
        """ILSVRC-2012's validation photos, as many as the user has.

        Raises
        ------
        NotMeasurableError
            If no folder was named.
        ImageError, ConfigurationError
            If something is wrong with it.
        """
        if self.imagenet is None:
            raise NotMeasurableError("no folder with ILSVRC-2012's validation photos was named with --imagenet")
        if self._shared.labelled is None:
            self._shared.labelled = validation_set(self.imagenet)
        return self._shared.labelled

    def trained(self, classifier: Classifier) -> str | None:
        """None if a network is trained; else why it is taken for untrained."""
        known = self._shared.untrained
        if classifier.network.sha256 not in known:
            known[classifier.network.sha256] = untrained(classifier, self.recognised, self._read)
        return known[classifier.network.sha256]

    def best_three(self, photo: Photo, classifier: Classifier) -> tuple[Target, ...]:
        """The units of the three highest classes in the penultimate blob, and then in the output blob."""
        return classifier.best_targets(classifier.preprocessing(photo.pixels), 3)

    def subject(
        self,
        photo: Photo,
        classifier: Classifier,
        samplers: tuple[SamplerName, ...],
        targets: tuple[Target, ...] | None = None,
        *,
        k: int | None = None,
        samples: int | None = None,
        seed: int | None = None,
        sensitivity: bool = False,
    ) -> Subject:
        """One photo before one network, for its input, samplers and evaluator.

        Parameters
        ----------
        samplers : tuple of str
        targets : tuple of Target, optional
            Default: the class with the highest probability.
        k, samples : int, optional
            Side of the windows (l keeps its margin, the step its share) and S. Default: those of the user's settings.
        seed : int, optional
            Default: the first.
        sensitivity : bool
            Whether `explanation` has sensitivity maps, too.
        """
        seed = self.seeds[0] if seed is None else seed
        self.used.seeds[seed] = None
        settings = self.settings(seed, k, samples)
        return Subject(photo, classifier, settings, self.request.choices, samplers, targets, sensitivity)

    def explanation(
        self,
        photo: Photo,
        classifier: Classifier,
        samplers: tuple[SamplerName, ...],
        targets: tuple[Target, ...] | None = None,
        *,
        k: int | None = None,
        samples: int | None = None,
        seed: int | None = None,
        sensitivity: bool = False,
    ) -> Explanation:
        """The maps of one photo before one network; parameters as `subject` has them.

        Maps lie where those of the figures lie: what one has computed, the other reads.
        """
        subject = self.subject(
            photo, classifier, samplers, targets, k=k, samples=samples, seed=seed, sensitivity=sensitivity
        )
        known = self._shared.explanations
        key = photo.sha256, classifier.network.sha256, samplers, targets, k, samples, subject.settings.seed, sensitivity
        if key not in known:
            subject.check()
            while len(known) >= _REMEMBERED:
                del known[next(iter(known))]
            try:
                known[key] = subject.explain()
            finally:
                subject.release()
        return known[key]

    def settings(self, seed: int, k: int | None = None, samples: int | None = None) -> Settings:
        """The user's settings with another seed, side or number of samples."""
        settings = self.request.settings(seed)
        if k is not None:
            settings = with_side(settings, k)
        return settings if samples is None else settings.model_copy(update={"samples": samples})

    def _names(self) -> list[str]:
        if self._shared.names is None:
            try:
                self._shared.names = self.request.networks or choose_networks(list(ROLES))
            except PredictDiffError as reason:
                raise NotMeasurableError(str(reason)) from reason
        return self._shared.names

    def _opened(self, name: str) -> Classifier:
        opened = self._shared.classifiers
        if name not in opened:
            try:
                crop = self.request.settings(0).crop
                opened[name] = open_classifier(name, self.request.engine, crop=crop)
            except PredictDiffError as reason:
                raise NotMeasurableError(str(reason)) from reason
        return opened[name]

    def _read(self, name: str) -> Photo:
        photos = self._shared.photos
        if name not in photos:
            photos[name] = read_photo(name)
        return photos[name]


def _distinct(what: str, names: Sequence[str], contents: Sequence[str]) -> list[str]:
    """The names whose contents no earlier one has; the others are logged."""
    first: dict[str, str] = {}
    repeated = []
    for name, content in zip(names, contents, strict=True):
        if content in first:
            repeated.append(name)
        else:
            first[content] = name
    if repeated:
        logger.info("%s: each counts once; left out as repeated: %s.", what, printable(", ".join(repeated)))
    return list(first.values())

"""What a figure is made from: photos, networks, and the settings that the user chose."""

from __future__ import annotations

from dataclasses import dataclass

from predict_diff.errors import ConfigurationError
from predict_diff.targets import Target

from ..classifier import Classifier
from ..config import SamplerName, Settings, with_side
from ..photos import Photo
from ..request import Request
from ..subject import Subject


@dataclass(frozen=True, eq=False)
class Scene:
    """Photos and networks, opened, and what the user asked for.

    Attributes
    ----------
    settings : Settings
        Those that hold where a figure does not say otherwise.
    """

    photos: list[Photo]
    classifiers: list[Classifier]
    settings: Settings
    request: Request

    def subject(
        self,
        photo: Photo,
        classifier: Classifier,
        samplers: tuple[SamplerName, ...],
        targets: tuple[Target, ...] | None = None,
        settings: Settings | None = None,
        sensitivity: bool = False,
    ) -> Subject:
        """One photo before one network.

        Parameters
        ----------
        samplers : tuple of str
            Those whose maps the figure shows.
        targets : tuple of Target, optional
            All of them are explained in one pass. Default: the class with the highest probability.
        settings : Settings, optional
            Default: the scene's.
        sensitivity : bool
            Whether the figure shows sensitivity maps of the targets.
        """
        chosen = settings or self.settings
        return Subject(photo, classifier, chosen, self.request.choices, samplers, targets, sensitivity)

    def with_side(self, k: int) -> Settings:
        """The settings for windows of a side that the figure sets itself.

        Raises
        ------
        ConfigurationError
            If the user has set k or l too, or the surround does not fit into the input of a network.
        """
        for name in ("k", "l"):
            if self.request.changes.get(name) is not None:
                raise ConfigurationError(
                    f"{name}: expected none, for this figure sets the sides of its windows itself, found "
                    f"{self.request.changes[name]}; change them with --set"
                )
        chosen = with_side(self.settings, k)
        margin = chosen.l - k
        for classifier in self.classifiers:
            size = classifier.card.input_size
            if chosen.l > size:
                raise ConfigurationError(
                    f"k: expected at most {size - margin} pixels, so that the surround of l = k + {margin} fits into "
                    f"the {size} x {size} that {classifier.card.title} sees, found {k}; set a smaller one with --set"
                )
        return chosen

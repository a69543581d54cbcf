"""From a figure's YAML to its picture: choose networks, compute what is missing, draw, save."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol, cast

from predict_diff.errors import ConfigurationError, closest
from predict_diff.plot import Palette
from predict_diff.targets import Target

from ..classifier import choose_networks, open_classifier
from ..config import Figure, Panel, SamplerName, samplers_of
from ..elsewhere import compute_missing, compute_shards, is_shard
from ..explanation import Explanation
from ..forecast import check_folder, estimate
from ..jobs import chosen_targets
from ..photos import Photo, read_photo
from ..progress import duration
from ..request import Request
from ..subject import Subject
from ..validation import read_yaml, with_fields
from . import explain
from .drawing import Drawing
from .saving import refuse_damaged, save
from .scene import Scene

logger = logging.getLogger(__name__)

#: What the pictures and arrays of one photo before one network take, about.
_PICTURE_BYTES = 1 << 20


class FigureModule(Protocol):
    """What a module `reproduce.figures.<name>`, beside `<name>.yaml`, has to offer."""

    #: The fields of the YAML.
    Configuration: type[Figure]

    def subjects(self, configuration: Any, scene: Scene) -> list[Subject]:
        """What the figure shows, in the order in which it is computed."""
        ...

    def draw(self, configuration: Any, explanations: list[Explanation], palette: Palette) -> Drawing:
        """Draw it, given the explanation of each subject."""
        ...


def figure_names() -> list[str]:
    """The names of all figures: those of the paper first."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.yaml"))


def make_figure(name: str, request: Request) -> list[Path]:
    """Compute, draw and save one figure.

    Returns
    -------
    list of Path
        The PNG, the PDF and the HDF5 file with each panel's array; or, of a shard, the parts of the maps.

    Raises
    ------
    PredictDiffError
        For whatever the user can mend.
    """
    configuration, stem = read_figure(name, request), request.choices.out / name
    refuse_damaged(stem, request.choices.force)
    subjects = figure_subjects(name, request)
    _prepare(subjects, f"make {name} PROFILE=paper")
    if is_shard(request):
        return compute_shards(subjects, request)
    compute_missing(partial(figure_subjects, name), subjects, request)
    drawing = _module(name).draw(configuration, _explain(subjects), request.palette)
    return save(drawing, stem)


def figure_subjects(name: str, request: Request) -> list[Subject]:
    """What a figure shows."""
    configuration = read_figure(name, request)
    return _module(name).subjects(configuration, open_scene(configuration, request))


def open_scene(configuration: Figure, request: Request) -> Scene:
    """Read the photos and open the networks of a figure."""
    chosen = request.settings(configuration.seed)
    photos = [_read(name) for name in configuration.photos]
    names = configuration.networks if request.networks else choose_networks(configuration.networks)
    classifiers = [open_classifier(name, request.engine, crop=chosen.crop) for name in names]
    return Scene(photos, classifiers, chosen, request)


def read_figure(name: str, request: Request | None = None) -> Figure:
    """The configuration of a figure, with what the user set otherwise. ConfigurationError if something is wrong."""
    known = figure_names()
    if name not in known:
        raise ConfigurationError(f"figure: expected one of {', '.join(known)}, found '{name}'{closest(name, known)}")
    configuration = read_yaml(Path(__file__).with_name(f"{name}.yaml"), _module(name).Configuration)
    if request is None:
        return configuration
    chosen = {"networks": request.networks, "photos": request.photos}
    changed = configuration.model_copy(update={field: value for field, value in chosen.items() if value is not None})
    return with_fields(changed, request.fields)


def _module(name: str) -> FigureModule:
    return cast(FigureModule, importlib.import_module(f"reproduce.figures.{name}"))


def explain_photo(
    photo: str,
    network: str,
    card: str | None,
    targets: list[str],
    panels: list[Panel],
    request: Request,
    preview: bool = False,
) -> list[Path]:
    """Explain one photo, and draw it; with `preview`, first from few windows, then from ever more.

    Returns
    -------
    list of Path
        The PNG, the PDF and the HDF5 file; or, of a shard, the parts of the maps.
    """
    if preview and is_shard(request):
        raise ConfigurationError("preview: expected none with --shard, which draws nothing; leave one of the two out")
    build = partial(photo_subjects, photo, network, card, targets, samplers_of(panels))
    (subject,) = build(request)
    stem = request.choices.out / "explain" / subject.stem
    refuse_damaged(stem, request.choices.force)
    stride = subject.settings.stride
    steps = subject.grid.coarser() if preview and subject.missing() else []
    seconds = _prepare(
        [subject], "reproduce explain ... --profile paper", [subject.with_stride(step) for step in steps]
    )
    if steps:
        first = seconds * subject.with_stride(steps[0]).evaluations() / subject.evaluations()
        logger.info("Previews before the exact map: %d, the first in about %s.", len(steps), duration(first))
    elif preview and subject.missing():
        logger.info("No preview: with every second window of this stride, pixels would be left out.")
    if is_shard(request):
        return compute_shards([subject], request)
    for step in (*steps, stride):
        subject = subject.with_stride(step)
        compute_missing(build, [subject], request.with_stride(step))
        explanation = subject.explain()
        paths = save(explain.draw(explanation, panels, request.palette), stem)
        if step != stride:
            logger.info("Preview, windows at every %d pixels: %s", step, paths[0])
    return paths


def photo_subjects(
    photo: str,
    network: str,
    card: str | None,
    targets: list[str],
    samplers: tuple[SamplerName, ...],
    request: Request,
) -> list[Subject]:
    """One photo before one network, explained for some targets."""
    chosen = request.settings(0)
    for text in targets:
        if text != "top":
            Target.parse(text)  # what is wrong with one shows before a network is opened
    read = _read(photo)
    classifier = open_classifier(network, request.engine, card, chosen.crop)
    wanted = chosen_targets(tuple(targets), classifier, classifier.preprocessing(read.pixels))
    return [Subject(read, classifier, chosen, request.choices, samplers, wanted)]


def _read(name: str) -> Photo:
    photo = read_photo(name)
    for note in photo.notes:
        logger.info("%s: %s.", photo.name, note)
    return photo


def _prepare(subjects: Sequence[Subject], full_command: str, coarser: Sequence[Subject] = ()) -> float:
    """Check all that can be checked, and say how long it will take, and how the paper's profile is had.

    Returns
    -------
    float
        Seconds, about, to compute what is missing.
    """
    for subject in subjects:
        subject.check()
    room = sum(subject.bytes_to_write() for subject in (*subjects, *coarser)) + len(subjects) * _PICTURE_BYTES
    check_folder(subjects[0].choices.out, room)
    for folder in {subject.path(name).parent for subject in subjects for name in subject.missing()}:
        check_folder(folder)
    times = estimate(subjects, "paper")
    profile = subjects[0].settings.profile
    if profile != "paper" and times.other:
        logger.info("Profile %s. The paper's takes about %s here: %s", profile, duration(times.other), full_command)
    return times.missing


def _explain(subjects: Sequence[Subject]) -> list[Explanation]:
    """Compute what is missing, or read it."""
    explanations = []
    for subject in subjects:
        explanations.append(subject.explain())
        subject.release()
    return explanations

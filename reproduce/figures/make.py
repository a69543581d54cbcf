"""From a figure's YAML to its picture: choose networks, compute what is missing, draw, save."""

from __future__ import annotations

import importlib
import json
import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

import h5py
import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure as Picture
from numpy.typing import NDArray

from predict_diff.errors import ConfigurationError, ResultError
from predict_diff.network.runtime import Provider, cuda_problem
from predict_diff.plot import Palette
from predict_diff.sealed import write_sealed
from predict_diff.storage import whole_file
from predict_diff.targets import Target

from ..classifier import choose_networks, open_classifier
from ..config import Figure, Panel, SamplerName, Settings, check_batch_size, check_threads, settings
from ..forecast import check_folder, estimate
from ..photos import Photo, read_photo
from ..progress import duration
from ..runner import Choices, Explanation, Subject
from ..validation import read_yaml
from . import explain

logger = logging.getLogger(__name__)

#: Dots per inch of the PNG.
_RESOLUTION = 200

#: What the pictures and arrays of one photo before one network take, about.
_PICTURE_BYTES = 1 << 20


@dataclass(frozen=True)
class Request:
    """What the user chose on the command line; None leaves a choice to the figure's YAML or the machine.

    Attributes
    ----------
    profile : str or None
        By default ``paper`` on a GPU, ``quick`` on a CPU.
    changes : dict
        Single settings to change (k, l, samples, stride, faults).
    """

    choices: Choices
    networks: list[str] | None = None
    photos: list[str] | None = None
    variant: str = "paper"
    profile: str | None = None
    seed: int | None = None
    provider: Provider = "auto"
    palette: Palette = "paper"
    threads: int | None = None
    changes: dict[str, object] | None = None


def make_figure(number: int, request: Request) -> list[Path]:
    """Compute, draw and save one figure.

    Returns
    -------
    list of Path
        The PNG, the PDF and the HDF5 file with each panel's array.

    Raises
    ------
    PredictDiffError
        For whatever the user can mend.
    """
    configuration = read_figure(number)
    configuration = configuration.model_copy(
        update={
            name: value
            for name, value in (("networks", request.networks), ("photos", request.photos))
            if value is not None
        }
    )
    chosen = _settings(configuration.seed, request)
    photos = [_read(name) for name in configuration.photos]
    names = configuration.networks if request.networks else choose_networks(configuration.networks)
    classifiers = [open_classifier(name, request.provider, crop=chosen.crop, threads=request.threads) for name in names]
    samplers = samplers_of(configuration.panels)
    subjects = [
        Subject(photo, classifier, chosen, request.choices, samplers) for classifier in classifiers for photo in photos
    ]
    explanations = _explain(subjects, f"make figure{number} PROFILE=paper")
    module = importlib.import_module(f"reproduce.figures.figure{number}")
    picture: Picture = module.draw(configuration, explanations, request.palette)
    return save(picture, explanations, request.choices.out / f"figure{number}")


def explain_photo(
    photo: str, network: str, card: str | None, targets: list[str], panels: list[Panel], request: Request
) -> list[Path]:
    """Explain one photo, and draw it. Returns the PNG, the PDF and the HDF5 file."""
    chosen = _settings(0, request)
    named = {text: Target.parse(text) for text in targets if text != "top"}
    read = _read(photo)
    classifier = open_classifier(network, request.provider, card, chosen.crop, request.threads)
    x = classifier.preprocessing(read.pixels)
    wanted = tuple(dict.fromkeys(named[text] if text in named else classifier.top(x) for text in targets))
    subject = Subject(read, classifier, chosen, request.choices, samplers_of(panels), wanted)
    explanation = _explain([subject], "reproduce explain ... --profile paper")[0]
    picture = explain.draw(explanation, panels, request.palette)
    return save(picture, [explanation], request.choices.out / "explain" / subject.stem)


def request(
    networks: list[str] | None,
    photos: list[str] | None,
    *,
    variant: str,
    profile: str | None,
    seed: int | None,
    pool: str,
    provider: str,
    batch_size: int | None,
    threads: int | None,
    palette: Palette,
    out: Path,
    faults: list[str] | None,
    **changes: int | None,
) -> Request:
    """A request from the command line's options."""
    if provider not in get_args(Provider):
        raise ConfigurationError(f"provider: expected one of {', '.join(get_args(Provider))}, found '{provider}'")
    check_threads(threads)
    check_batch_size(batch_size)
    switched = [] if faults == ["none"] else faults
    return Request(
        choices=Choices(out, pool, batch_size),
        networks=networks,
        photos=photos,
        variant=variant,
        profile=profile,
        seed=seed,
        provider=cast(Provider, provider),
        palette=palette,
        threads=threads,
        changes={**changes, "faults": switched},
    )


def read_figure(number: int) -> Figure:
    """The configuration of a figure of the paper. ConfigurationError if there is none."""
    path = Path(__file__).with_name(f"figure{number}.yaml")
    if not path.exists():
        known = sorted(path.stem for path in Path(__file__).parent.glob("figure*.yaml"))
        raise ConfigurationError(f"figure: expected one of {', '.join(known)}, found figure{number}")
    return read_yaml(path, Figure)


def samplers_of(panels: Sequence[Panel]) -> tuple[SamplerName, ...]:
    """The samplers that some panels need."""
    names = {panel.removesuffix("_overlay") for panel in panels}
    return tuple(name for name in get_args(SamplerName) if name in names)


def save(picture: Picture, explanations: list[Explanation], stem: Path) -> list[Path]:
    """Write the picture as PNG and PDF, and the arrays of its panels."""
    paths = [stem.with_suffix(suffix) for suffix in (".png", ".pdf", ".h5")]
    for path in paths[:2]:
        with whole_file(path, ResultError) as file, warnings.catch_warnings():
            # Names of photos may hold letters that the font lacks; they become boxes.
            warnings.filterwarnings("ignore", "Glyph")
            # No dates: the same arrays give the same bytes.
            metadata = {"CreationDate": None} if path.suffix == ".pdf" else {"Software": None}
            picture.savefig(file, format=path.suffix[1:], dpi=_RESOLUTION, metadata=metadata)

    def fill(stored: h5py.File) -> None:
        for number, explanation in enumerate(explanations):
            _store(stored.create_group(f"{number}"), explanation)

    write_sealed(paths[2], "prediction-difference figure 1", fill, ResultError)
    return paths


def _store(group: h5py.Group, explanation: Explanation) -> None:
    group.attrs["photo"] = explanation.photo.name
    group.attrs["network"] = explanation.classifier.name
    group.attrs["settings"] = explanation.settings.model_dump_json()
    group.attrs["best"] = json.dumps(explanation.best)
    group.attrs["targets"] = [str(target) for target in explanation.targets]
    arrays: dict[str, NDArray[np.floating]] = {
        "photo": explanation.view,
        "sensitivity": np.stack(explanation.sensitivity),
    }
    for name, found in explanation.relevance.items():
        arrays |= {name: found.maps, f"{name}_standard_error": found.map_errors}
    for label, array in arrays.items():
        group.create_dataset(label, data=array.astype(np.float32), compression="gzip", shuffle=True)
    for name, found in explanation.relevance.items():
        group[name].attrs["measures"] = list(found.measures)
        group[name].attrs["provenance"] = json.dumps(found.provenance, sort_keys=True)


def _read(name: str) -> Photo:
    photo = read_photo(name)
    for note in photo.notes:
        logger.info("%s: %s.", photo.name, note)
    return photo


def _explain(subjects: Sequence[Subject], full_command: str) -> list[Explanation]:
    """Compute what is missing, having said how long it takes, and how the paper's profile is had."""
    for subject in subjects:
        subject.check()
    room = sum(subject.bytes_to_write() for subject in subjects) + len(subjects) * _PICTURE_BYTES
    check_folder(subjects[0].choices.out, room)
    for folder in {subject.path(name).parent for subject in subjects for name in subject.missing()}:
        check_folder(folder)
    times = estimate(subjects, "paper")
    profile = subjects[0].settings.profile
    if profile != "paper":
        logger.info("Profile %s. The paper's takes about %s here: %s", profile, duration(times.other), full_command)
    explanations = []
    for subject in subjects:
        explanations.append(subject.explain())
        subject.release()
    return explanations


def _settings(seed: int, request: Request) -> Settings:
    profile = request.profile
    if profile is None:
        on_gpu = request.provider == "cuda" or (request.provider == "auto" and cuda_problem() is None)
        profile = "paper" if on_gpu else "quick"
    seed = seed if request.seed is None else request.seed
    return settings(request.variant, profile, seed, **(request.changes or {}))


mpl.rcParams["pdf.fonttype"] = 42  # fonts as text, not as outlines

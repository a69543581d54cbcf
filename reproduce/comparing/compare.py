"""A comparison from its YAML to its results: what is there is read, what is missing is computed."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from predict_diff.errors import ConfigurationError, closest

from ..classifier import Classifier, choose_networks, open_classifier
from ..figures.saving import refuse_damaged
from ..forecast import check_folder
from ..photos import Photo, read_photo
from ..progress import counted, duration
from .case import Case
from .configuration import Comparison
from .estimate import Cost, costs
from .measuring import Bench
from .objects import region_seen
from .results import Outcome, Results
from .storing import Store
from .writing import figure_stems, write

logger = logging.getLogger(__name__)

#: Folders below that for results: maps of methods that are not Algorithm 1, and what networks said of all maps.
METHOD_MAPS, NUMBERS = "methods", "measures"

#: What a run takes on the disk beside the maps of Algorithm 1, for each map, in bytes, about.
_BYTES_A_MAP = 1 << 20

#: Pixels along a side of a picture are limited, and a page of more rows is of no use.
_MOST_PHOTOS = 200

#: Say what a run will take if it is longer than this, in seconds.
_LONG = 10.0


def compare(comparison: Comparison) -> list[Path]:
    """Compute what is missing of a comparison, and write its results.

    Returns
    -------
    list of Path
        The page, the tables and the figures.

    Raises
    ------
    PredictDiffError
        For whatever the user can mend; what is wrong with settings, photos or what is stored shows before anything is
        computed.
    """
    benches = open_benches(comparison)
    maps = sum(map(len, benches.values())) * len(comparison.approaches)
    check_folder(comparison.request.choices.out, maps * _BYTES_A_MAP)
    check_folder(comparison.out)
    _check(comparison, benches)
    left = sum(cost.seconds for cost in _all_costs(comparison, benches))
    if left > _LONG:
        provider = next(iter(benches.values()))[0].case.network.provider
        logger.info("About %s to compute on the %s, profile %s.", duration(left), provider.upper(), comparison.profile)
    outcomes: dict[str, list[Outcome]] = {name: [] for name in benches}
    started, done, total = time.monotonic(), 0, sum(map(len, benches.values()))
    for name, each in benches.items():
        for bench in each:
            outcomes[name].append(_outcome(comparison, bench))
            bench.release()
            done += 1
            took = duration(time.monotonic() - started)
            logger.info("%s: done, %d of %d after %s.", bench.case.name, done, total, took)
    return write(Results(comparison, outcomes))


def forecast(comparison: Comparison) -> list[str]:
    """What is there of a comparison and what the rest will take, in lines; nothing is computed or written."""
    benches = open_benches(comparison)
    if not comparison.request.choices.force:  # which deletes what is damaged
        _check(comparison, benches)
    found = _all_costs(comparison, benches)
    networks, photos = len(benches), len(next(iter(benches.values())))
    lines = [
        f"{comparison.title}: {counted(photos, 'photo')}, {counted(networks, 'network')}, "
        f"{counted(len(comparison.approaches), 'method')}, profile {comparison.profile}."
    ]
    for cost in found:
        if cost.missing:
            passes = f"{cost.passes.forward:,} forward" + (
                f" and {cost.passes.backward:,} backward" if cost.passes.backward else ""
            )
            lines.append(
                f"{cost.network}, {cost.name}: {cost.missing:.3g} of {cost.total} to do, {passes} passes each, "
                f"{duration(cost.seconds)}."
            )
    seconds = sum(cost.seconds for cost in found)
    lines.append(f"All of them: about {duration(seconds)} on this machine." if seconds else "All is there.")
    return lines


def open_benches(comparison: Comparison) -> dict[str, list[Bench]]:
    """The photos before each network, by the network's name."""
    out, force = comparison.request.choices.out, comparison.request.choices.force
    maps, numbers = Store(out / METHOD_MAPS, force), Store(out / NUMBERS, force)
    if len(comparison.photos) > _MOST_PHOTOS:
        raise ConfigurationError(
            f"photos: expected at most {_MOST_PHOTOS}, for each has a row in the figures, found "
            f"{len(comparison.photos)}; choose some, or make several comparisons"
        )
    classifiers: dict[str, Classifier] = {}
    for classifier in _classifiers(comparison):
        if classifier.name in classifiers:
            raise ConfigurationError(
                f"networks: expected a name of its own for each, found '{classifier.name}' twice; name each once, and "
                f"give ONNX files names of their own"
            )
        classifiers[classifier.name] = classifier
    cases = _cases(comparison, list(classifiers.values()))
    return {
        name: [Bench(row[column], place, maps, numbers, comparison.seed) for place, row in enumerate(cases)]
        for column, name in enumerate(classifiers)
    }


def _classifiers(comparison: Comparison) -> Iterator[Classifier]:
    request, names = comparison.request, [network.name for network in comparison.networks]
    chosen = choose_networks(names) if comparison.stand_ins else names
    crop = request.settings(comparison.seed).crop
    cards = {network.name: network.card for network in comparison.networks}
    for name in dict.fromkeys(chosen):
        yield open_classifier(name, request.engine, cards.get(name), crop)


def _cases(comparison: Comparison, classifiers: Sequence[Classifier]) -> list[list[Case]]:
    """Each photo, one after another, before each network; a picture that comes twice counts once.

    ConfigurationError if the YAML has the object of a photo that it does not have, or of one of several.
    """
    found: dict[str, str] = {}
    cases = []
    for name in comparison.photos:
        photo = read_photo(name)
        for note in photo.notes:
            logger.info("%s: %s.", photo.name, note)
        if photo.sha256 in found:  # a copy is no further evidence
            logger.info("%s: the same picture as %s; it counts once.", photo.name, found[photo.sha256])
            continue
        found[photo.sha256] = photo.name
        cases.append([_case(comparison, photo, classifier) for classifier in classifiers])
    names, where = list(found.values()), f"{comparison.source}: objects"
    for name in comparison.objects:
        if name not in names and comparison.request.photos is None:
            raise ConfigurationError(f"{where}: expected names of its photos, found '{name}'{closest(name, names)}")
        if names.count(name) > 1:
            raise ConfigurationError(
                f"{where}: expected the name of one photo, found '{name}', as several are called; rename their files"
            )
    return cases


def _case(comparison: Comparison, photo: Photo, classifier: Classifier) -> Case:
    region, preprocessing = comparison.objects.get(photo.name), classifier.preprocessing
    return Case(
        photo=replace(photo, pixels=np.empty((0, 0, 3), np.float32)),
        classifier=classifier,
        request=replace(comparison.request, seed=comparison.seed),
        x=preprocessing(photo.pixels),
        view=preprocessing.view(photo.pixels),
        region=None if region is None else region_seen(region, photo, classifier, comparison.source),
    )


def _check(comparison: Comparison, benches: dict[str, list[Bench]]) -> None:
    """Raise whatever can be found out before anything is computed."""
    for stem in figure_stems(comparison, list(benches)):
        refuse_damaged(stem, comparison.request.choices.force)
    for each in benches.values():
        for bench in each:
            bench.check(comparison.measures, comparison.approaches)


def _all_costs(comparison: Comparison, benches: dict[str, list[Bench]]) -> list[Cost]:
    return [cost for each in benches.values() for cost in costs(each, comparison.approaches, comparison.measures)]


def _outcome(comparison: Comparison, bench: Bench) -> Outcome:
    """Everything about one photo before one network."""
    case, approaches = bench.case, comparison.approaches
    maps = {approach.name: approach.find(case, bench.maps, bench.seed) for approach in approaches}
    measured = {
        (approach.name, measure.name): found
        for approach in approaches
        for measure in comparison.measures
        if (found := bench.measured(measure, approach, maps[approach.name].values)) is not None
    }
    return Outcome(
        case=case,
        maps=maps,
        passes={approach.name: approach.passes(case) for approach in approaches},
        measured=measured,
        agreement=bench.agreement(approaches, [maps[approach.name].values for approach in approaches]),
    )

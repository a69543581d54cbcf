"""A study from its YAML to its results: what is there is skipped, what is missing is computed, all is written down."""

from __future__ import annotations

import logging
import os
import platform
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from predict_diff import __version__
from predict_diff.errors import PredictDiffError, ResultError
from predict_diff.result import RelevanceMap

from ..classifier import Classifier, open_classifier
from ..command_lines import command_line
from ..forecast import check_folder
from ..jobs import chosen_targets
from ..photos import Photo, fingerprint
from ..photos_and_networks import NetworkAsked
from ..runner import MAPS, WHOLE
from ..sources import photo_names
from ..subject import Subject
from ..workers import Workers, open_workers
from .appearance import AppearanceOfMaps, Described
from .configuration import Study
from .estimate import estimate
from .expand import items, job_of
from .index import Counts, Index, copy_of, open_index
from .log import START, open_log, process
from .names import Files
from .page import write_pages
from .run import Outcome, run_jobs
from .table import write_csv, write_parquet

logger = logging.getLogger(__name__)


def make_study(study: Study) -> list[Path]:
    """Compute what is missing of a study, or of its shard, and write its results.

    Returns
    -------
    list of Path
        The tables and the page.

    Raises
    ------
    PredictDiffError
        For whatever concerns all maps, before any is computed; and at the end, if some could not be computed.
    """
    photos = photo_names(study.photos, study.folder)
    files = Files(study.out, study.request.choices.shard)
    start = _start(study)
    with open_log(files.log), _start_and_stop(start):
        check_folder(study.out)
        with open_index(files.index, study.request.choices.force) as index:
            counts = _register(study, photos, index, files)
            if study.request.choices.force and _clear_damaged(index, study.out / MAPS):
                counts = _register(study, photos, index, files)
            logger.info(
                "%d maps: %d done, %d failed before, %d to compute.",
                counts.total,
                counts.done,
                counts.failed,
                counts.left,
            )
            outcome = _compute(study, index, files) if counts.left else Outcome()
            paths = _publish(study, index, files)
            logger.info("end: %d maps done in this run, %d failed.", outcome.done, outcome.failed)
    if outcome.failed:
        raise ResultError(
            f"{study.source}: expected {counts.left} maps, found {outcome.failed} that cannot be computed; read why in "
            f"{files.page} or {files.log}: the same command tries them again"
        )
    return paths


def forecast_study(study: Study) -> list[str]:
    """How far a study is and what the rest will take, in lines; nothing is written."""
    photos = photo_names(study.photos, study.folder)
    files = Files(study.out, study.request.choices.shard)
    with copy_of(files.index) as index:
        index.register(study.title, items(study, photos, index.sha256))
        _adopt(index, files)
        return estimate(study, index)


def _register(study: Study, photos: Sequence[str], index: Index, files: Files) -> Counts:
    """Take down which maps there are to be, and what is known of them here and in the indices of others."""
    index.register(study.title, items(study, photos, index.sha256))
    _adopt(index, files)
    return index.counts()


def _clear_damaged(index: Index, folder: Path) -> int:
    """Delete maps that are done and cannot be read, saying so; how many. They are missing then."""
    damaged = 0
    for item in index.standings("done"):
        path = folder / str(item.map)
        try:
            RelevanceMap.load(path)
        except ResultError as damage:
            logger.warning("%s; it is computed again.", str(damage).split(";")[0])
            path.unlink(missing_ok=True)
            damaged += 1
    return damaged


def _adopt(index: Index, files: Files) -> None:
    """Take over what other shards, or the whole, know of these maps."""
    for other in files.other_indices():
        try:
            index.adopt(other)
        except ResultError as damage:
            logger.warning("%s; it is passed over.", str(damage).split(";")[0])


def _compute(study: Study, index: Index, files: Files) -> Outcome:
    described = {network.name: _checked(study, network) for network in study.networks}
    work = ((number, job_of(study, item)) for number, item in index.waiting())
    with _workers(study) as workers:
        return run_jobs(
            work,
            index,
            study.out.absolute(),
            workers,
            AppearanceOfMaps(described, study.request.palette),
            study.request.choices.force,
            partial(_publish, study, index, files),
        )


@contextmanager
def _workers(study: Study) -> Iterator[Workers | None]:
    """The workers that the user asked for; None for this process."""
    if study.workers is None:
        yield None
        return
    with open_workers(study.workers, study.request.gpus, study.request.engine.threads) as workers:
        yield workers


def _checked(study: Study, network: NetworkAsked) -> Described:
    """Open a network, and raise whatever would be wrong with each of its maps."""
    request, chosen = study.request, study.request.settings(study.seeds[0])
    classifier = open_classifier(network.name, request.engine, network.card, chosen.crop)
    photo = _blank(classifier)
    targets = chosen_targets(study.targets, classifier, classifier.preprocessing(photo.pixels))
    choices = replace(request.choices, shard=WHOLE)
    Subject(photo, classifier, chosen, choices, study.samplers, targets, sensitivity=False).check()
    return Described.of(classifier)


def _blank(classifier: Classifier) -> Photo:
    """A photo of nothing, which any network takes."""
    side = max(classifier.network.input_shape[1:])
    pixels = np.zeros((side, side, 3), np.float32)
    return Photo("blank", pixels, fingerprint(pixels), "blank", "blank")


def _publish(study: Study, index: Index, files: Files) -> list[Path]:
    """Write the results so far."""
    write_csv(files.csv, index.rows())
    tables = [files.csv, files.parquet] if write_parquet(files.parquet, index.rows()) else [files.csv]
    write_pages(files, index, settings_in_words(study))
    return [*tables, files.page]


def settings_in_words(study: Study) -> list[tuple[str, str]]:
    """What all maps of a study share."""
    chosen, request = study.request.settings(study.seeds[0]), study.request
    return [
        ("Study", str(study.source)),
        ("Networks", ", ".join(network.name for network in study.networks)),
        ("Samplers", ", ".join(study.samplers)),
        ("Seeds", ", ".join(map(str, study.seeds))),
        ("Targets", ", ".join(study.targets)),
        ("Variant", f"{chosen.variant} ({chosen.source})"),
        ("Profile", chosen.profile),
        ("Settings", f"k = {chosen.k}, l = {chosen.l}, S = {chosen.samples}, stride {chosen.stride}"),
        ("Pool", request.choices.pool),
        ("Provider", f"{request.engine.provider}, precision {request.engine.precision}"),
    ]


def _start(study: Study) -> str:
    """As what, by whom and where a study starts."""
    words = command_line(
        f"study {shlex.quote(str(study.source))}",
        study.request,
        dask=study.request.dask,
        shard="/".join(map(str, study.request.choices.shard)) if study.request.choices.shard[1] > 1 else None,
    )
    machine = f"Python {platform.python_version()}, {platform.platform()}, {os.cpu_count() or 1} cores"
    settings = "; ".join(f"{name}: {value}" for name, value in settings_in_words(study)[1:])
    return f"{START}{process()}, prediction-difference {__version__}, {machine}: {words}; {settings}."


@contextmanager
def _start_and_stop(start: str) -> Iterator[None]:
    """Log that a study starts, first of all so that others see who has it, and what stopped it if something did."""
    logger.info("%s", start)
    try:
        yield
    except PredictDiffError as error:
        logger.info("stopped by an error: %s", error)
        raise
    except Exception as fault:
        logger.info("stopped by a fault of the program: %s: %s", type(fault).__name__, fault)
        raise
    except BaseException as reason:
        logger.info("stopped, interrupted by %s.", str(reason) or "Ctrl-C or a signal")
        raise

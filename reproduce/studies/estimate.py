"""What a study will take: maps that are missing, hours on this machine, room on the disk. Nothing is written."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from predict_diff.errors import ImageError

from ..classifier import open_classifier
from ..forecast import seconds_per_evaluation
from ..jobs import MapJob, chosen_targets
from ..photos import Photo, read_photo
from ..progress import counted
from ..subject import Subject
from ..workers import local_workers
from .configuration import Study
from .expand import Item, job_of
from .index import Index

#: Of how many photos one has to be fit for a trial.
_PHOTOS_TRIED = 20

#: What a map takes in the index, the table, the page and its thumbnail, in bytes, about.
_BESIDE_A_MAP = 20_000


@dataclass(frozen=True)
class Cost:
    """What one map of a network takes: seconds, the time of all workers together counted once, and bytes, at most."""

    seconds: float
    bytes: int


def estimate(study: Study, index: Index) -> list[str]:
    """What a study has, and what the rest will take, from a short trial of each network; lines for people.

    Raises
    ------
    PredictDiffError
        For whatever would stop the study.
    """
    counts = index.counts()
    lines = [
        f"{study.title}: {counted(counts.total, 'map')}, {counts.done} done, {counts.failed} failed before, "
        f"{counts.left} to do."
    ]
    workers, threads = _workers(study)
    maps = Counter(item.network for _, item in index.waiting())
    seconds = room = 0.0
    for network in study.networks:
        if not maps[network.name]:
            continue
        cost = _cost(study, (item for _, item in index.waiting() if item.network == network.name), threads)
        if cost is None:
            lines.append(f"{network.name}: {counted(maps[network.name], 'map')}; no photo can be read for a trial.")
            continue
        own = maps[network.name] * cost.seconds / workers
        lines.append(f"{network.name}: {counted(maps[network.name], 'map')}, {cost.seconds:.3g} s each, {_hours(own)}.")
        seconds += own
        room += maps[network.name] * (cost.bytes + _BESIDE_A_MAP)
    if counts.left:
        by = "" if workers == 1 else f" with {workers} workers"
        lines.append(f"All of them: about {_hours(seconds)} on this machine{by}.")
    lines.append(f"Room on the disk: at most {_bytes(room)} needed, {_bytes(_free(study.out))} free.")
    return lines


def _workers(study: Study) -> tuple[int, int | None]:
    """How many workers there will be, and how many threads of this machine each has."""
    kind, _, count = (study.workers or "").partition(":")
    if kind != "local":
        return 1, study.request.engine.threads
    number = local_workers(count)
    return number, study.request.engine.threads or max(1, (os.cpu_count() or 1) // number)


def _cost(study: Study, items: Iterable[Item], threads: int | None) -> Cost | None:
    """What a map of a network takes, from a trial with the first photo that can be read."""
    for item in islice(items, _PHOTOS_TRIED):
        try:
            photo = read_photo(item.photo)
        except ImageError:
            continue
        return _trial(job_of(study, item).placed(None, threads), photo)
    return None


def _trial(job: MapJob, photo: Photo) -> Cost:
    classifier = open_classifier(job.network, job.engine, job.card, job.settings.crop)
    x = classifier.preprocessing(photo.pixels)
    targets = chosen_targets(job.targets, classifier, x)
    # Nothing is there: a map that is would be read for its time, which may be another machine's.
    choices = replace(job.choices, out=Path(os.devnull))
    subject = Subject(photo, classifier, job.settings, choices, ("marginal",), targets, sensitivity=False)
    return Cost(seconds_per_evaluation(subject) * subject.evaluations(), subject.bytes_to_write())


def _free(folder: Path) -> int:
    """Bytes free where a folder is, or will be."""
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.is_dir())
    return shutil.disk_usage(there).free


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.2g} h" if seconds < 360_000 else f"{seconds / 3600:,.0f} h"


def _bytes(number: float) -> str:
    return f"{number / 1e6:,.1f} MB" if number < 1e9 else f"{number / 1e9:,.1f} GB"

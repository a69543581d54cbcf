"""What a run will take, in time and in room on the disk, before it starts."""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from predict_diff.errors import ResultError

from .config import in_profile
from .progress import duration
from .runner import share_missing
from .subject import Subject

logger = logging.getLogger(__name__)

#: Say what a run will take if it is longer than this.
_LONG_SECONDS = 10.0

#: Samples of each window in a trial of a network's speed.
_TRIAL_SAMPLES = 20


@dataclass(frozen=True)
class Estimate:
    """How long it will take to compute what is missing, and how long it would take in another profile, in seconds."""

    missing: float
    other: float


def estimate(subjects: Sequence[Subject], profile: str) -> Estimate:
    """Estimate from a short trial of each network, and say so if it will take a while."""
    speed: dict[tuple[object, ...], float] = {}
    missing = elsewhere = 0.0
    for subject in subjects:
        if not subject.samplers:
            continue
        kind = (subject.classifier.network.sha256, subject.settings.k, frozenset(t.blob for t in subject.targets))
        if kind not in speed:
            speed[kind] = seconds_per_evaluation(subject)
            subject.release()
        other = in_profile(subject.settings, profile)
        left = sum(share_missing(subject, name) for name in subject.samplers)
        missing += left * speed[kind] * subject.evaluations()
        elsewhere += len(subject.samplers) * speed[kind] * subject.evaluations(other)
    if missing > _LONG_SECONDS:
        logger.info(
            "About %s to compute on the %s.", duration(missing), subjects[0].classifier.network.provider.upper()
        )
    return Estimate(missing, elsewhere)


def seconds_per_evaluation(subject: Subject) -> float:
    """What one perturbed photo takes: nearly all the time is spent in the network.

    From a short trial with windows all over the photo; where no map is missing, from the time that a stored one took.
    """
    if not subject.missing() and (found := next(map(subject.stored, subject.samplers), None)) is not None:
        return float(found.provenance["seconds"]) / subject.evaluations()
    x, k, windows = subject.x, subject.settings.k, subject.grid.scattered()
    patches = np.stack([x[:, row : row + k, column : column + k] for row, column in windows])
    patches = np.repeat(patches[:, None], _TRIAL_SAMPLES, axis=1)
    trials = []
    for _ in range(2):  # the first time, a network is slower
        started = time.perf_counter()
        subject.evaluator.evaluate(x, windows, patches)
        trials.append(time.perf_counter() - started)
        if trials[0] > _LONG_SECONDS:
            break
    return min(trials) / (len(windows) * _TRIAL_SAMPLES)


def check_folder(folder: Path, needed: int = 0) -> None:
    """Raise ResultError unless so many bytes can be written into a folder, which is made if it is not there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0")
        free = shutil.disk_usage(folder).free
    except OSError as reason:
        raise ResultError(
            f"{folder}: expected a folder that results can be written to, found another ({reason.strerror}); free some "
            f"space or choose another folder with --out"
        ) from reason
    if free < needed:
        raise ResultError(
            f"{folder}: expected {needed:,} bytes free for the results, found {free:,}; free some space or choose "
            f"another folder with --out"
        )

"""Jobs -> relevance maps on disk. What has been computed before with the same configuration is read, not repeated."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predict_diff.algorithm import check_settings, prediction_difference
from predict_diff.errors import ResultError
from predict_diff.network.minibatch import MiniBatchEvaluator
from predict_diff.result import RelevanceMap
from predict_diff.samplers import GaussianSampler, GaussianStatistics, MarginalSampler, Sampler, pool_limits
from predict_diff.sensitivity import sensitivity_map
from predict_diff.targets import Target
from predict_diff.windows import WindowGrid, surround_positions

from .classifier import Classifier
from .config import SamplerName, Settings
from .photos import Photo
from .pools import Pool, pool
from .progress import Progress, duration

logger = logging.getLogger(__name__)

#: Changes whenever the same configuration would give other numbers, so that stored maps are not taken for new ones.
NUMBERS_VERSION = 1

#: Say what a run will take if it is longer than this.
_LONG_SECONDS = 10.0


@dataclass(frozen=True, eq=False)
class Explanation:
    """All that a figure shows of one photo and one network.

    Attributes
    ----------
    view : ndarray, shape (H, W, 3), float32
        The photo as the network sees it, RGB in [0, 1].
    best : list of (str, float)
        The classes with the highest probability, by name, and these probabilities.
    targets : tuple of Target
    sensitivity : list of ndarray, shape (H, W), float32
        One for each target.
    relevance : dict
        The relevance map of each sampler; it holds all targets.
    """

    photo: Photo
    classifier: Classifier
    settings: Settings
    view: NDArray[np.float32]
    best: list[tuple[str, float]]
    targets: tuple[Target, ...]
    sensitivity: list[NDArray[np.float32]]
    relevance: dict[SamplerName, RelevanceMap]


@dataclass(frozen=True)
class Choices:
    """What the user chose beside the settings.

    Attributes
    ----------
    out : Path
        Folder for results.
    pool : str
        ``default`` or a folder of photos.
    batch_size : int or None
        Photos in a batch; None lets the evaluator choose.
    """

    out: Path
    pool: str = "default"
    batch_size: int | None = None


@dataclass(frozen=True, eq=False)
class Subject:
    """One photo before one network."""

    photo: Photo
    classifier: Classifier
    settings: Settings
    choices: Choices
    wanted: tuple[Target, ...] | None = None

    @cached_property
    def x(self) -> NDArray[np.float32]:
        return self.classifier.preprocessing(self.photo.pixels)

    @cached_property
    def targets(self) -> tuple[Target, ...]:
        """Those asked for, or the class with the highest probability."""
        targets = self.wanted or (self.classifier.top(self.x),)
        network = self.classifier.network
        resolved = tuple(Target(network.resolve(target.blob), target.index) for target in targets)
        for target in resolved:
            target.check(network.blobs)
        return resolved

    @cached_property
    def grid(self) -> WindowGrid:
        grid = _grid(self.x, self.settings)
        # Refuses an outer patch that does not fit, before anything is computed.
        surround_positions(grid.positions[:1], self.settings.k, self.settings.l, grid.height, grid.width)
        check_settings(self.settings.samples, self.settings.laplace_instances)
        return grid

    @cached_property
    def pool(self) -> Pool:
        kept = self.settings.pool_keeps_photo
        return pool(self.choices.pool, leave_out=None if kept else self.photo, needed=self.settings.samples)

    @cached_property
    def pool_arrays(self) -> NDArray[np.float32]:
        return self.pool.arrays(self.classifier.preprocessing)

    @cached_property
    def evaluator(self) -> MiniBatchEvaluator:
        return MiniBatchEvaluator(self.classifier.network, self.targets, self.choices.batch_size)

    def sampler(self, name: SamplerName) -> Sampler:
        """Build a sampler; the Gaussian is fitted, or read if it was fitted before."""
        settings = self.settings
        if name == "marginal":
            return MarginalSampler(self.pool_arrays, settings.k, first=settings.marginal == "first")
        statistics = GaussianStatistics.load_or_fit(
            self.choices.out / "statistics",
            self.pool_arrays,
            settings.l,
            settings.patches,
            settings.gaussian == "joint",
            settings.seed,
            settings.placement,
        )
        limits = pool_limits(self.pool_arrays) if settings.clip_samples else None
        return GaussianSampler(statistics, settings.k, limits, settings.fault_switches.first_channel_for_all)

    def identity(self, sampler: SamplerName) -> dict[str, Any]:
        """Everything that the numbers of one map depend on, JSON-able."""
        network = self.classifier.network
        settings = self.settings.model_dump(exclude={"source", "variant", "profile", "store_float16"})
        return {
            "numbers_version": NUMBERS_VERSION,
            "network": network.sha256,
            "provider": network.describe()["provider"],
            "tf32": network.describe()["tf32"],
            "photo": self.photo.sha256,
            "preprocessing": self.classifier.preprocessing.describe(),
            "targets": [str(target) for target in self.targets],
            "sampler": sampler,
            "pool": self.pool.digest,
            "settings": settings,
        }

    def path(self, sampler: SamplerName) -> Path:
        """Where the map lies; its name says what it is, and holds a hash of all that it depends on."""
        key = hashlib.sha256(json.dumps(self.identity(sampler), sort_keys=True).encode()).hexdigest()[:12]
        return self.choices.out / "maps" / f"{self.stem}-{sampler}-{key}.h5"

    @property
    def stem(self) -> str:
        """Photo and network, fit for the name of a file."""
        return re.sub(r"[^\w.-]+", "_", f"{self.photo.name}-{self.classifier.name}")

    def stored(self, sampler: SamplerName) -> RelevanceMap | None:
        """The map, if it has been computed before with this very configuration."""
        path = self.path(sampler)
        if not path.exists():
            return None
        found = RelevanceMap.load(path)
        if found.provenance.get("identity") != self.identity(sampler):
            raise ResultError(f"{path}: expected the map of this configuration, found another; delete the file")
        return found

    def seconds_per_evaluation(self) -> float:
        """What one photo in a batch takes, from a short trial: nearly all the time is spent in the network."""
        self.evaluator.values(self.x)
        trials = []
        for _ in range(3):
            started = time.perf_counter()
            self.evaluator.values(self.x)
            trials.append(time.perf_counter() - started)
        return min(trials) / self.evaluator.batch_size

    def evaluations(self, settings: Settings | None = None) -> int:
        """How many photos the network sees for one map, n S; with other settings if given."""
        settings = settings or self.settings
        return len(_grid(self.x, settings)) * settings.samples

    def release(self) -> None:
        """Let go of what takes memory; it is made again when it is needed."""
        for name in ("evaluator", "pool_arrays"):
            self.__dict__.pop(name, None)

    def compute(self, sampler: SamplerName) -> RelevanceMap:
        """Run Algorithm 1, and store the map."""
        name = f"{self.photo.name}, {self.classifier.card.title}, {sampler}"
        drawn = self.sampler(sampler)
        with Progress(name, len(self.grid), "windows") as progress:
            found = prediction_difference(
                self.x,
                self.evaluator,
                drawn,
                samples=self.settings.samples,
                stride=self.settings.stride,
                seed=self.settings.seed,
                instances=self.settings.laplace_instances,
                faults=self.settings.fault_switches,
                progress=lambda done, total: progress.to(done),
            )
        provenance = {
            **found.provenance,
            "identity": self.identity(sampler),
            "settings": self.settings.model_dump(),
            "photo": {"name": self.photo.name, "source": self.photo.source, "notes": list(self.photo.notes)},
            "pool": self.pool.describe(),
        }
        found = replace(found, provenance=provenance, map_dtype="float16" if self.settings.store_float16 else "float64")
        found.save(self.path(sampler))
        seconds = found.provenance["seconds"]
        logger.info("%s: %d windows in %s.", name, len(self.grid), duration(seconds))
        return found

    def explain(self, samplers: Sequence[SamplerName]) -> Explanation:
        """Everything that a figure shows of this photo and network."""
        classes = self.classifier.classes
        relevance = {name: self.stored(name) or self.compute(name) for name in samplers}
        from_activation = self.settings.sensitivity_from_activation
        return Explanation(
            photo=self.photo,
            classifier=self.classifier,
            settings=self.settings,
            view=self.classifier.preprocessing.view(self.photo.pixels),
            best=[(classes[index].short, p) for index, p in self.classifier.best(self.x)],
            targets=self.targets,
            sensitivity=[
                sensitivity_map(
                    self.classifier.network,
                    self.x,
                    self.classifier.unit_for_sensitivity(target),
                    from_activation,
                )
                for target in self.targets
            ],
            relevance=relevance,
        )


def _grid(x: NDArray[np.float32], settings: Settings) -> WindowGrid:
    return WindowGrid(x.shape[1], x.shape[2], settings.k, settings.stride)


@dataclass(frozen=True)
class Estimate:
    """How long it will take to compute what is missing, and how long it would take in another profile, in seconds."""

    missing: float
    other: float


def estimate(subjects: Sequence[Subject], samplers: Sequence[SamplerName], other: Settings) -> Estimate:
    """Estimate from a short trial of each network, and say so if it will take a while."""
    speed: dict[str, float] = {}
    missing = elsewhere = 0.0
    for subject in subjects:
        network = subject.classifier.network
        if network.sha256 not in speed:
            speed[network.sha256] = subject.seconds_per_evaluation()
            subject.release()
        absent = sum(not subject.path(name).exists() for name in samplers)
        missing += absent * speed[network.sha256] * subject.evaluations()
        elsewhere += len(samplers) * speed[network.sha256] * subject.evaluations(other)
    if missing > _LONG_SECONDS:
        logger.info(
            "About %s to compute on the %s.", duration(missing), subjects[0].classifier.network.provider.upper()
        )
    return Estimate(missing, elsewhere)

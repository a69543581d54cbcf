"""One photo before one network: what is explained, what its maps depend on, and where they lie."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predict_diff.algorithm import check_settings
from predict_diff.errors import ResultError
from predict_diff.network.choosing import EvaluatorName, choose_evaluator
from predict_diff.network.incremental import IncrementalEvaluator
from predict_diff.network.minibatch import MiniBatchEvaluator
from predict_diff.result import RelevanceMap, stores_maps
from predict_diff.samplers import GaussianSampler, GaussianStatistics, MarginalSampler, Sampler, pool_limits
from predict_diff.sensitivity import sensitivity_map
from predict_diff.targets import Target
from predict_diff.windows import WindowGrid, surround_positions

from .classifier import Classifier
from .config import SamplerName, Settings
from .explanation import Explanation
from .faults import refuse_impossible
from .photos import Photo
from .pools import Pool, pool
from .runner import MAPS, WHOLE, Shard, check_begun, compute_map

logger = logging.getLogger(__name__)

#: Changes whenever the same configuration would give other numbers, so that stored maps are not taken for new ones.
NUMBERS_VERSION = 2


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
    evaluator : {"auto", "incremental", "minibatch"}
        How perturbed photos are evaluated; "auto" takes the faster way.
    force : bool
        Maps in damaged files are computed again, and so are runs that other libraries or batches began.
    shard : tuple of int
        Which shard of how many is computed of each map; all of it by default.
    """

    out: Path
    pool: str = "default"
    batch_size: int | None = None
    evaluator: EvaluatorName = "auto"
    force: bool = False
    shard: Shard = WHOLE


@dataclass(frozen=True, eq=False)
class Subject:
    """One photo before one network, and the samplers that explain it; with sensitivity maps, or without."""

    photo: Photo
    classifier: Classifier
    settings: Settings
    choices: Choices
    samplers: tuple[SamplerName, ...]
    wanted: tuple[Target, ...] | None = None
    sensitivity: bool = True

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
        # A different photo for each marginal sample; the Gaussian makes do with few.
        needed = self.settings.samples if "marginal" in self.samplers else 1
        return pool(self.choices.pool, leave_out=None if kept else self.photo, needed=needed)

    @cached_property
    def pool_arrays(self) -> NDArray[np.float32]:
        return self.pool.arrays(self.classifier.preprocessing)

    @cached_property
    def evaluator(self) -> IncrementalEvaluator | MiniBatchEvaluator:
        return self.evaluator_like(None)

    def evaluator_like(self, batching: Mapping[str, Any] | None) -> IncrementalEvaluator | MiniBatchEvaluator:
        """An evaluator with the batches of another one, if given; otherwise as the user chose."""
        choices, network = self.choices, self.classifier.network
        k = self.settings.k
        return choose_evaluator(network, self.targets, k, choices.batch_size, choices.evaluator, batching)

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
            self.choices.force,
        )
        limits = pool_limits(self.pool_arrays) if settings.clip_samples else None
        return GaussianSampler(statistics, settings.k, limits, settings.fault_switches.first_channel_for_all)

    def identity(self, sampler: SamplerName) -> dict[str, Any]:
        """Everything that the numbers of one map depend on, JSON-able."""
        network = self.classifier.network
        settings = self.settings.model_dump(exclude={"source", "variant", "profile"})
        return {
            "numbers_version": NUMBERS_VERSION,
            "network": network.sha256,
            "provider": network.describe()["provider"],
            "precision": network.describe()["precision"],
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
        return self.choices.out / MAPS / f"{self.stem}-{sampler}-{key}.h5"

    @property
    def stem(self) -> str:
        """Photo and network, fit for the name of a file, and short enough to have something added."""
        names = (self.photo.name, 130), (self.classifier.name, 70)
        short = (name.encode()[:length].decode(errors="ignore") for name, length in names)
        return re.sub(r"[^\w.-]+", "_", "-".join(short))

    def stored(self, sampler: SamplerName) -> RelevanceMap | None:
        """The map, if it has been computed before with this very configuration."""
        path = self.path(sampler)
        if not path.exists():
            return None
        found = RelevanceMap.load(path)
        if found.provenance.get("identity") != self.identity(sampler):
            raise ResultError(f"{path}: expected the map of this configuration, found another; delete the file")
        return found

    def clear_damaged(self) -> None:
        """Delete stored maps that cannot be read, saying so; they are missing then."""
        for sampler in self.samplers:
            try:
                self.stored(sampler)
            except ResultError as damage:
                logger.warning("%s; it is computed again.", str(damage).split(";")[0])
                self.path(sampler).unlink(missing_ok=True)

    def missing(self) -> list[SamplerName]:
        """The samplers whose maps are still to be computed."""
        return [name for name in self.samplers if not self.path(name).exists()]

    def check(self) -> None:
        """Raise whatever is impossible about settings, targets and pool, or wrong with stored maps."""
        faults, windows = self.settings.fault_switches, len(self.grid)
        refuse_impossible(faults, self.classifier.network, self.targets, windows, self.settings.samples)
        if self.choices.force:
            self.clear_damaged()
        _ = self.pool, [self.stored(name) or self.coarser(name) for name in self.samplers]
        for name in self.missing():
            check_begun(self, name)

    def bytes_to_write(self) -> int:
        """What the files that are still missing take, at most, in bytes."""
        maps = 2 * self.grid.height * self.grid.width if stores_maps(self.grid, len(self.targets)) else 0
        numbers = len(self.targets) * (3 * len(self.grid) + maps) + 2 * len(self.grid)
        gaussian = (self.x.shape[0] * self.settings.l**2) ** 2
        missing = self.missing()
        # A journal holds each window's numbers until the map is stored.
        journal = 3 * len(self.targets) * len(self.grid) + 8 * len(self.grid)
        return 8 * (len(missing) * numbers + journal + (gaussian if "conditional" in missing else 0))

    def evaluations(self, settings: Settings | None = None) -> int:
        """How many photos the network sees for one map, n S; with other settings if given."""
        settings = settings or self.settings
        return len(_grid(self.x, settings)) * settings.samples

    def with_stride(self, stride: int) -> Subject:
        """The same with another step between windows; what has been made for it is shared."""
        other = replace(self, settings=self.settings.model_copy(update={"stride": stride}))
        shared = {"x", "targets", "pool", "pool_arrays", "evaluator"}
        other.__dict__.update({name: value for name, value in self.__dict__.items() if name in shared})
        return other

    def coarser(self, sampler: SamplerName) -> RelevanceMap | None:
        """The finest stored map of the same configuration with a larger step between windows."""
        for stride in reversed(self.grid.coarser()):
            if (found := self.with_stride(stride).stored(sampler)) is not None:
                return found
        return None

    def release(self) -> None:
        """Let go of what takes memory; it is made again when it is needed."""
        for name in ("evaluator", "pool_arrays"):
            self.__dict__.pop(name, None)

    def compute(self, sampler: SamplerName, drawn: Sampler) -> RelevanceMap:
        """Run Algorithm 1 with a sampler, or go on where it was stopped, and store the map."""
        return compute_map(self, sampler, drawn)

    def explain(self) -> Explanation:
        """Everything that a figure shows of this photo and network."""
        classes = self.classifier.classes
        # First what takes seconds, so that what is wrong with it shows before hours are spent.
        sensitivity = [self._sensitivity(target) for target in self.targets] if self.sensitivity else []
        drawn = {name: self.sampler(name) for name in self.missing()}
        return Explanation(
            photo=self.photo,
            classifier=self.classifier,
            settings=self.settings,
            view=self.classifier.preprocessing.view(self.photo.pixels),
            best=[(classes[index].short, p) for index, p in self.classifier.best(self.x)],
            targets=self.targets,
            sensitivity=sensitivity,
            relevance={name: self.stored(name) or self.compute(name, drawn[name]) for name in self.samplers},
        )

    def _sensitivity(self, target: Target) -> NDArray[np.float32]:
        unit = self.classifier.unit_for_sensitivity(target)
        return sensitivity_map(self.classifier.network, self.x, unit, self.settings.sensitivity_from_activation)


def _grid(x: NDArray[np.float32], settings: Settings) -> WindowGrid:
    return WindowGrid(x.shape[1], x.shape[2], settings.k, settings.stride)

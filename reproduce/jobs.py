"""A map as an order that any machine can carry out: plain values, of which a process makes what it needs."""

from __future__ import annotations

import json
import os
import platform
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from predict_diff.algorithm import relevances
from predict_diff.errors import ConfigurationError
from predict_diff.network.target_values import arrangement
from predict_diff.plan import Plan, differences
from predict_diff.result import RelevanceMap, versions
from predict_diff.samplers import Sampler
from predict_diff.targets import Target

from . import home
from .classifier import Classifier, Engine, open_classifier
from .config import SamplerName, Settings
from .photos import read_photo
from .photos_and_networks import NetworkAsked
from .pools import DEFAULT
from .runner import compute_map, plan_map
from .sources import network_state, pool_state
from .stamps import stamp
from .subject import Choices, Subject

#: How much of what it has opened a process keeps from one job to the next.
_KEPT = {"subjects": 2, "classifiers": 4, "pools": 4, "samplers": 8, "evaluators": 1}


class Job(Protocol):
    """What is known of a map before anything is opened; can be sent to another process."""

    @property
    def name(self) -> str:
        """For the log."""

    @property
    def kind(self) -> str:
        """Jobs of one kind take about as long for each window."""

    def plan(self) -> Plan:
        """What is to be computed. Its provenance has the ``file`` and the ``title`` of the map."""

    def compute(self, plan: Plan) -> Iterator[tuple[NDArray[np.float64], float]]:
        """Values, (rows, 3, U), of each part of a plan, one after the other, and the seconds they took."""

    def placed(self, gpu: int | None, threads: int | None) -> Job:
        """The same on a GPU, and on so many threads; None leaves it as it is."""


@dataclass(frozen=True)
class MapJob:
    """The map of one photo, before one network, by one sampler.

    Attributes
    ----------
    photo : str
        What `read_photo` takes.
    network, card : str, str or None
        What `open_classifier` takes.
    targets : tuple of str
        As BLOB:UNIT, or "top" for the class with the highest probability.
    sampler : {"marginal", "conditional"}
    settings : Settings
    choices : Choices
        Its folder is an absolute path that all machines see.
    engine : Engine
    home : str
        The folder that holds models/ and data/, which all machines see too.
    """

    photo: str
    network: str
    card: str | None
    targets: tuple[str, ...]
    sampler: SamplerName
    settings: Settings
    choices: Choices
    engine: Engine
    home: str

    @classmethod
    def of(cls, subject: Subject, sampler: SamplerName) -> MapJob:
        """The order for one of a subject's maps."""
        network, engine, card = subject.classifier.origin
        pool = subject.choices.pool
        return cls(
            photo=subject.photo.origin,
            network=network,
            card=card,
            targets=tuple(str(target) for target in subject.targets),
            sampler=sampler,
            settings=subject.settings,
            choices=replace(
                subject.choices,
                out=subject.choices.out.absolute(),
                pool=pool if pool == DEFAULT else str(Path(pool).expanduser().absolute()),
            ),
            engine=engine,
            home=str(home.root()),
        )

    @property
    def name(self) -> str:
        """See `Job.name`."""
        return f"{Path(self.photo).stem}, {self.network}, {self.sampler}"

    @property
    def kind(self) -> str:
        """See `Job.kind`."""
        blobs = sorted({target.rpartition(":")[0] for target in self.targets})
        return f"{self.network} {blobs} {self.settings.k} {self.settings.samples} {self.sampler}"

    def placed(self, gpu: int | None, threads: int | None) -> MapJob:
        """See `Job.placed`."""
        device = self.engine.device if gpu is None else gpu
        return replace(self, engine=replace(self.engine, device=device, threads=threads or self.engine.threads))

    def plan(self) -> Plan:
        """See `Job.plan`."""
        subject, drawn = self.open()
        return plan_map(subject, self.sampler, drawn)[1]

    def compute(self, plan: Plan) -> Iterator[tuple[NDArray[np.float64], float]]:
        """See `Job.compute`.

        Raises
        ------
        ConfigurationError
            If this machine would compute another map: another file lies under the same name here, or libraries differ.
        """
        subject, drawn = self.open()
        asked = {"map": plan.provenance["identity"], "versions": plan.terms["versions"]}
        installed = {name: number for name, number in versions().items() if name in asked["versions"]}
        if strange := differences(asked, {"map": subject.identity(self.sampler), "versions": installed}):
            raise ConfigurationError(
                f"{platform.node()}: expected the files and libraries of the machine that asks, found others "
                f"({strange[0]}); install the same versions, and let both see the same files"
            )
        if subject.evaluator.batching != plan.batching:
            subject.__dict__["evaluator"] = subject.evaluator_like(plan.batching)
        for _, values, seconds in relevances(subject.x, subject.evaluator, drawn, plan, range(len(plan))):
            yield values, seconds

    def run(self) -> RelevanceMap:
        """Compute the map here, or read it if it is there."""
        subject, drawn = self.open()
        return subject.stored(self.sampler) or compute_map(subject, self.sampler, drawn)

    def open(self) -> tuple[Subject, Sampler]:
        """Photo and network, and the sampler, opened; what was opened for the jobs before is used again."""
        return _workshop.open(self)


class _Workshop:
    """What a process keeps: networks in memory, samplers, and evaluators with the activations of their photo."""

    def __init__(self) -> None:
        self._kept: dict[str, OrderedDict[str, Any]] = {name: OrderedDict() for name in _KEPT}

    def open(self, job: MapJob) -> tuple[Subject, Sampler]:
        if os.environ.get(home.VARIABLE) != job.home and str(home.root()) != job.home:
            os.environ[home.VARIABLE] = job.home
        files = network_state(NetworkAsked(job.network, job.card), lambda path: str(stamp(path)))
        opened = _key(job.home, job.network, files, job.card, job.settings.crop, asdict(job.engine))
        classifier = self._recent("classifiers", opened, lambda: _open_classifier(job))
        found: tuple[Subject, Sampler] = self._recent(
            "subjects", _key(opened, _fields(job)), lambda: self._prepare(job, opened, classifier)
        )
        return found

    def _prepare(self, job: MapJob, opened: str, classifier: Classifier) -> tuple[Subject, Sampler]:
        photo = read_photo(job.photo)
        x = classifier.preprocessing(photo.pixels)
        targets = chosen_targets(job.targets, classifier, x)
        subject = Subject(photo, classifier, job.settings, job.choices, (job.sampler,), targets, sensitivity=False)
        subject.__dict__["x"] = x
        pool = _key(opened, subject.pool.digest)
        arrays = self._recent("pools", pool, lambda: subject.pool_arrays)
        subject.__dict__["pool_arrays"] = arrays
        drawn = self._recent(
            "samplers", _key(pool, job.sampler, job.settings.model_dump()), lambda: subject.sampler(job.sampler)
        )
        choices = job.choices
        key = _key(opened, job.settings.k, arrangement(subject.targets), choices.batch_size, choices.evaluator)
        evaluator = self._recent("evaluators", key, lambda: subject.evaluator)
        subject.__dict__["evaluator"] = evaluator.for_targets(subject.targets)
        return subject, drawn

    def _recent(self, what: str, key: str, make: Callable[[], Any]) -> Any:
        kept = self._kept[what]
        if key not in kept:
            # Room first: two at a time may be too large.
            while len(kept) >= _KEPT[what]:
                kept.popitem(last=False)
            kept[key] = make()
        kept.move_to_end(key)
        return kept[key]


_workshop = _Workshop()


def chosen_targets(texts: tuple[str, ...], classifier: Classifier, x: NDArray[np.float32]) -> tuple[Target, ...]:
    """What is explained, each once: targets as BLOB:UNIT, and ``top``, the class with the highest probability."""
    return tuple(dict.fromkeys(classifier.top(x) if text == "top" else Target.parse(text) for text in texts))


def _open_classifier(job: MapJob) -> Classifier:
    return open_classifier(job.network, job.engine, job.card, job.settings.crop)


def _fields(job: MapJob) -> dict[str, Any]:
    fields = {name: getattr(job, name) for name in ("photo", "targets", "sampler")}
    return {
        **fields,
        "changed": stamp(job.photo),
        "settings": job.settings.model_dump(),
        "choices": asdict(job.choices),
        "pool": pool_state(job.choices.pool),
    }


def _key(*parts: Any) -> str:
    return json.dumps(parts, sort_keys=True, default=str)

"""One photo before one network, as all methods of a comparison explain it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predict_diff.network.network import Network
from predict_diff.targets import Target

from ..classifier import Classifier
from ..config import SamplerName
from ..explanation import Explanation
from ..photos import Photo
from ..request import Request
from ..subject import Subject


@dataclass(frozen=True, eq=False)
class Case:
    """One photo before one network; what is explained is the class with the highest probability.

    Attributes
    ----------
    photo : Photo
        Its pixels are not looked at: ten large photos would fill the memory.
    classifier : Classifier
    request : Request
    x : ndarray, shape (C, H, W), float32
        The photo, as the network sees it.
    view : ndarray, shape (H, W, 3), float32
        The same in RGB, 0 to 1.
    region : ndarray, shape (H, W), bool, optional
        Where the object is, as the network sees the photo; None if nobody said.
    """

    photo: Photo
    classifier: Classifier
    request: Request
    x: NDArray[np.float32]
    view: NDArray[np.float32]
    region: NDArray[np.bool_] | None = None
    _subjects: dict[str, Subject] = field(default_factory=dict)
    _pools: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    @property
    def network(self) -> Network:
        return self.classifier.network

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.photo.name}, {self.classifier.card.title}"

    @property
    def stem(self) -> str:
        """For names of files."""
        return re.sub(r"[^\w.-]+", "_", f"{self.photo.name[:80]}-{self.classifier.name[:60]}")

    @cached_property
    def target(self) -> Target:
        target = self.classifier.top(self.x)
        return Target(self.network.resolve(target.blob), target.index)

    @property
    def identity(self) -> dict[str, Any]:
        """All that a method's map depends on beside the method, JSON-able."""
        described = self.network.describe()
        return {
            "network": self.network.sha256,
            "provider": described["provider"],
            "precision": described["precision"],
            "photo": self.photo.sha256,
            "preprocessing": self.classifier.preprocessing.describe(),
            "target": str(self.target),
        }

    def subject(self, sampler: SamplerName, changes: Mapping[str, Any], seed: int) -> Subject:
        """The prediction difference of this case, with some settings changed; its maps are those of figures, too."""
        key = json.dumps([sampler, changes, seed], sort_keys=True)
        if key not in self._subjects:  # each looks through its pool once
            asked = replace(self.request, changes={**self.request.changes, **changes}, seed=seed)
            settings = asked.settings(seed)
            made = Subject(
                self.photo, self.classifier, settings, asked.choices, (sampler,), (self.target,), sensitivity=False
            )
            made.__dict__["x"] = self.x
            self._subjects[key] = made
        return self._subjects[key]

    def share_pool(self, subject: Subject) -> None:
        """Have a subject take the pool's photos that another one has prepared, or keep its own for the next."""
        key = subject.pool.digest
        if key not in self._pools:
            self.release()
            self._pools[key] = subject.pool_arrays
        subject.__dict__["pool_arrays"] = self._pools[key]

    def release(self) -> None:
        """Let go of what takes memory; it is made again when it is needed."""
        self._pools.clear()
        for subject in self._subjects.values():
            subject.release()

    @cached_property
    def explanation(self) -> Explanation:
        """What figures show beside maps."""
        classes = self.classifier.classes
        return Explanation(
            photo=self.photo,
            classifier=self.classifier,
            settings=self.request.settings(0),
            view=self.view,
            best=[(classes[index].short, p) for index, p in self.classifier.best(self.x)],
            targets=(self.target,),
            sensitivity=[],
            relevance={},
        )

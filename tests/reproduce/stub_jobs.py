"""Jobs whose values follow from their numbers alone, for workers that open no network."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from predict_diff.errors import ImageError
from predict_diff.plan import Plan, in_order
from predict_diff.targets import Target
from predict_diff.windows import WindowGrid


@dataclass(frozen=True)
class StubJob:
    """A map of 36 windows in parts of 4, each of which takes `seconds` and is written down in `log`."""

    number: int
    log: Path | None = None
    seconds: float = 0.0
    #: The worker that computes this part kills itself, as long as there is no file of this name.
    deadly: tuple[int, Path] | None = None
    wrong: bool = False
    device: int | None = None
    #: Windows along a side.
    side: int = 6
    #: How many; 0 for parts of 4 windows.
    parts: int = 0

    @property
    def name(self) -> str:
        return f"stub {self.number}"

    @property
    def kind(self) -> str:
        return "stub"

    def placed(self, gpu: int | None, threads: int | None) -> StubJob:
        return replace(self, device=gpu)

    def plan(self) -> Plan:
        if self.wrong:
            raise ImageError(f"photo {self.number}: expected a photo, found none; take another")
        grid = WindowGrid(self.side + 2, self.side + 2, 3)
        order, bounds = in_order(np.array_split(np.arange(len(grid)), self.parts or max(1, len(grid) // 4)))
        return Plan(
            grid,
            (Target("prob", (self.number,)),),
            ("WE",),
            np.array([0.5]),
            order,
            bounds,
            {"evaluator": "stub", "batch_size": 1},
            {"title": self.name, "file": f"stub-{self.number}.h5", "identity": {"number": self.number}},
        )

    def compute(self, plan: Plan) -> Iterator[tuple[NDArray[np.float64], float]]:
        for part in range(len(plan)):
            windows = plan.windows(part)
            if self.deadly is not None and self.deadly[0] in windows and not self.deadly[1].exists():
                self.deadly[1].touch()
                os.kill(os.getpid(), signal.SIGKILL)
            if self.log is not None:
                with self.log.open("a") as log:
                    log.write("".join(f"{self.number} {window} {self.device}\n" for window in windows))
            time.sleep(self.seconds)
            yield stub_values(self.number, windows), self.seconds


def stub_values(number: int, windows: NDArray[np.int64]) -> NDArray[np.float64]:
    """(windows, 3, 1)."""
    return (windows[:, None, None] + np.array([0.1, 0.2, 0.3])[:, None]) * (number + 1)

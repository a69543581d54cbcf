"""What has been computed of a map so far, for as long as nothing stops the program."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

import numpy as np
from numpy.typing import NDArray

from .plan import Plan


class InMemory:
    """What has been computed of a plan, for as long as nothing stops the program: a `Journal` without a file."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.seconds = 0.0
        self._values: dict[int, NDArray[np.float64]] = {}
        self.missing = [part for part in range(len(plan)) if part > 0 or plan.given is None]
        self.windows_done = 0 if plan.given is None else len(plan.given)
        if plan.given is not None:
            self._values[0] = plan.given

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        pass

    def write(self, part: int, values: NDArray[np.float64], seconds: float) -> None:
        """See `Journal.write`."""
        self._values[part] = values
        self.seconds += seconds

    def values(self) -> Iterator[NDArray[np.float64]]:
        """See `Journal.values`; they are there once, for two copies may be too large."""
        for part in range(len(self.plan)):
            yield self._values.pop(part)

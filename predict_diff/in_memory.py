"""What has been computed of a map so far, for as long as nothing stops the program."""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import NDArray

from .plan import Plan


class InMemory:
    """What has been computed of a plan, for as long as nothing stops the program: a `Journal` without a file."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.seconds = 0.0
        self._values = np.empty(plan.shape)
        self.missing = [part for part in range(len(plan)) if part > 0 or plan.given is None]
        self.windows_done = 0 if plan.given is None else len(plan.given)
        if plan.given is not None:
            self._values[plan.rows(0)] = plan.given

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        pass

    def write(self, part: int, values: NDArray[np.float64], seconds: float) -> None:
        """See `Journal.write`."""
        self._values[self.plan.rows(part)] = values
        self.seconds += seconds

    def values(self) -> NDArray[np.float64]:
        """See `Journal.values`."""
        return self._values

"""What it costs to keep the windows of a map on the disk as they come."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from predict_diff.algorithm import measures_of
from predict_diff.evaluator import Evaluator
from predict_diff.journal import SYNC_EVERY, open_journal
from predict_diff.plan import Plan, in_order
from predict_diff.windows import WindowGrid


def journal_share(evaluator: Evaluator, grid: WindowGrid, samples: int, windows_per_second: float) -> float:
    """Part of the time of a whole map that its journal takes.

    The journal is begun, written, put on the disk as often as in so long a run, and read again for the map: with
    made-up values, in the folder for temporary files.

    Parameters
    ----------
    evaluator : Evaluator
    grid : WindowGrid
        All windows of the map.
    samples : int
        S.
    windows_per_second : float
        By Algorithm 1 without a journal.
    """
    targets = evaluator.targets
    order, bounds = in_order(list(evaluator.batches(grid.positions, samples)))
    known = np.zeros(len(targets))
    plan = Plan(grid, targets, measures_of(evaluator.network, targets), known, order, bounds, evaluator.batching)
    values = np.random.default_rng(0).random(plan.shape)
    whole = len(grid) / windows_per_second
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        with open_journal(Path(folder) / "journal.h5", plan) as journal:
            every = max(1, round(len(plan) * SYNC_EVERY / whole))
            for part in journal.missing:
                journal.write(part, values[plan.rows(part)], 0.0)
                if part % every == 0:
                    journal.sync()
            journal.sync()
            plan.relevance_map(journal.values(), {})
            journal.discard()
        return (time.perf_counter() - started) / whole

"""A study of very many photos, whose maps take no time: what remains is handing out, writing down and memory."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("distributed")

from stub_jobs import StubJob

from predict_diff.result import RelevanceMap
from reproduce.studies.expand import Item
from reproduce.studies.index import open_index
from reproduce.studies.run import run_jobs
from reproduce.workers import open_workers

NETWORKS = ("alexnet", "googlenet", "vgg16")

#: Windows along a side, as the quick profile has, in so many parts; and seconds that a map takes.
SIDE, PARTS, SECONDS = 37, 7, 0.25

#: Bytes of memory that the process may take that asks, the scheduler included.
LIMIT = 1 << 30


def items(photos: int) -> Iterator[Item]:
    for number in range(photos * len(NETWORKS)):
        photo, network = divmod(number, len(NETWORKS))
        yield Item(number, f"/photos/{photo}.jpg", 1000, 1, NETWORKS[network], "conditional", 0, "simulated")


@pytest.mark.chaos
def test_memory_does_not_grow_with_the_study(tmp_path: Path) -> None:
    photos = int(os.environ.get("CHAOS_PHOTOS") or 300)
    with open_workers("local:8") as workers, open_index(tmp_path / "study.sqlite") as index:
        index.register("simulated", items(photos))
        work = (
            (number, StubJob(item.number, seconds=SECONDS / PARTS, side=SIDE, parts=PARTS))
            for number, item in index.waiting()
        )
        outcome = run_jobs(work, index, tmp_path, workers)
        counts = index.counts()
    assert (outcome.done, outcome.failed) == (photos * len(NETWORKS), 0)
    assert counts.left == 0
    assert len(list((tmp_path / "maps").iterdir())) == counts.total
    RelevanceMap.load(next((tmp_path / "maps").iterdir()))
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"{counts.total} maps, {most / 1e6:.0f} MB")
    assert most < LIMIT

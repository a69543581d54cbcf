"""Maps that are computed elsewhere than in this process, or only in part."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from predict_diff.errors import PredictDiffError

from .gpus import Build, compute_on_gpus
from .jobs import Job, MapJob
from .request import Request
from .runner import WHOLE, compute_shard
from .subject import Subject


def compute_missing(build: Build, subjects: Sequence[Subject], request: Request) -> None:
    """Compute and store the maps that are missing, if the request names a cluster or several GPUs.

    Parameters
    ----------
    build : callable
        Gives the subjects, given a request; has to be picklable.
    subjects : sequence of Subject
    request : Request
    """
    if request.dask is None:
        compute_on_gpus(build, request)
    else:
        _on_cluster(subjects, request)


def compute_shards(subjects: Sequence[Subject], request: Request) -> list[Path]:
    """Compute the shard that the request names of each map; where their windows lie. Maps that are there stay whole."""
    if request.dask is not None:
        return _on_cluster(subjects, request)
    paths = []
    for subject in subjects:
        paths += [compute_shard(subject, name, subject.sampler(name)) for name in subject.missing()]
        subject.release()
    return list(dict.fromkeys(paths))


def is_shard(request: Request) -> bool:
    """Whether the request is for a part of each map only."""
    return request.choices.shard != WHOLE


def _on_cluster(subjects: Sequence[Subject], request: Request) -> list[Path]:
    # Dask takes a second to import, and is not always installed.
    from .cluster import compute_on_cluster
    from .workers import open_workers

    jobs = [MapJob.of(subject, name) for subject in subjects for name in subject.missing()]
    paths: list[Path] = []

    def ended(job: Job, how: Path | PredictDiffError) -> None:
        if isinstance(how, PredictDiffError):
            raise how
        paths.append(how)

    if jobs and request.dask is not None:
        for subject in subjects:
            subject.release()
        with open_workers(request.dask, request.gpus, request.engine.threads) as workers:
            compute_on_cluster(workers, jobs, request.choices.out, ended, request.choices.force)
    return list(dict.fromkeys(paths))

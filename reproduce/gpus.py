"""Several GPUs on one machine: a process each, which computes its part of the maps."""

from __future__ import annotations

import logging
import multiprocessing
import signal
from collections.abc import Callable, Sequence

from .progress import Progress
from .request import Request
from .runner import Subject

logger = logging.getLogger(__name__)

Build = Callable[[Request], list[Subject]]


def compute_on_gpus(build: Build, request: Request) -> None:
    """Compute and store the maps that are missing, if the request names several GPUs.

    Parameters
    ----------
    build : callable
        What is explained, given a request; has to be picklable.
    request : Request
    """
    if len(request.gpus) > 1:
        compute_in_processes(build, [request.on_gpu(number) for number in request.gpus])


def compute_in_processes(build: Build, requests: Sequence[Request]) -> None:
    """Compute and store the maps that are missing, in a process for each request. Errors are those of the processes."""
    context = multiprocessing.get_context("spawn")
    logger.info("Each of %d processes computes a part of the maps.", len(requests))
    # Ctrl-C is for the one that waits.
    with (
        context.Pool(len(requests), signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool,
        Progress("maps", None, "maps") as progress,
    ):
        jobs = [(build, request, number, len(requests)) for number, request in enumerate(requests)]
        for computed in pool.imap_unordered(_compute_part, jobs, chunksize=1):
            progress.update(computed)


def _compute_part(job: tuple[Build, Request, int, int]) -> int:
    """Compute every so many-th map; returns how many were missing."""
    build, request, number, parts = job
    maps = [(subject, sampler) for subject in build(request) for sampler in subject.samplers]
    computed = 0
    for subject, sampler in maps[number::parts]:
        if sampler in subject.missing():
            subject.compute(sampler, subject.sampler(sampler))
            subject.release()
            computed += 1
    return computed

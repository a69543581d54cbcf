"""Several GPUs on one machine: a process each, which computes its part of the maps."""

from __future__ import annotations

import logging
import multiprocessing
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from predict_diff.errors import NetworkError

from .request import Request
from .subject import Subject

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
    ignored = (signal.SIGINT, signal.SIG_IGN)
    with ProcessPoolExecutor(len(requests), context, signal.signal, ignored) as pool:
        running = [
            pool.submit(_compute_part, build, request, number, len(requests)) for number, request in enumerate(requests)
        ]
        try:
            computed = sum(part.result() for part in running)
        except BrokenProcessPool:
            raise NetworkError(
                "gpus: expected each process to compute its maps, found that one was killed, perhaps for want of "
                "memory; maps that are complete are kept: run the same command again, or with a smaller --batch-size"
            ) from None
    logger.info("%d maps computed.", computed)


def _compute_part(build: Build, request: Request, number: int, parts: int) -> int:
    """Compute every so many-th map; returns how many were missing."""
    maps = [(subject, sampler) for subject in build(request) for sampler in subject.samplers]
    computed = 0
    for subject, sampler in maps[number::parts]:
        if sampler in subject.missing():
            subject.compute(sampler, subject.sampler(sampler))
            subject.release()
            computed += 1
    return computed

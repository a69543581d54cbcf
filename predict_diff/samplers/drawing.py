"""Samples for many windows, part by part: when they are needed, or while those before them are evaluated."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from ..errors import SamplerError
from .sampler import Sampler, checked_patches

Part = NDArray[np.int64]


def draw(
    sampler: Sampler,
    x: NDArray[np.float32],
    windows: NDArray[np.int64],
    parts: Iterable[Part],
    count: int,
    seed: int,
    ahead: bool = False,
) -> Iterator[tuple[Part, NDArray[np.float32]]]:
    """Draw samples for some windows, part by part.

    Parameters
    ----------
    sampler : Sampler
    x : ndarray, shape (C, H, W), float32
        The photo.
    windows : ndarray, shape (n, 2), int64
        Upper left pixels.
    parts : iterable of ndarray
        Numbers of windows that are drawn together.
    count : int
        S.
    seed : int
    ahead : bool, default False
        Draw the next part in a thread meanwhile: worth it where the network runs on another device than the sampler.

    Yields
    ------
    part : ndarray, int64
    patches : ndarray, shape (len(part), S, C, k, k), float32

    Raises
    ------
    SamplerError
        If the sampler gives something else, or changes the photo; and what else it raises.
    """
    photo = x.copy()

    def sample(part: Part) -> NDArray[np.float32]:
        shape = (len(part), count, len(x), sampler.k, sampler.k)
        who = f"{type(sampler).__name__}: expected the sampler"
        patches = checked_patches(sampler.sample(photo, windows[part], count, seed), shape, who)
        if not np.array_equal(photo, x):
            raise SamplerError(f"{who} to leave the photo as it was given, found it changed; let it work on a copy")
        return patches

    if not ahead:
        for part in parts:
            yield part, sample(part)
        return
    with ThreadPoolExecutor(1) as thread:
        waiting = deque[tuple[Part, Future[NDArray[np.float32]]]]()
        for part in parts:
            waiting.append((part, thread.submit(sample, part)))
            if len(waiting) > 1:
                ready, patches = waiting.popleft()
                yield ready, patches.result()
        for ready, patches in waiting:
            yield ready, patches.result()

"""What a sampler is, and the random numbers that samplers draw."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigurationError, SamplerError


class Sampler(Protocol):
    """Draws values for a window: Algorithm 1's p(x_w | surround), or p(x_w).

    The samples of a window depend only on the photo, the seed and the window's position; never on the
    other windows of the call, their order or number, or the machine's number of threads.
    """

    @property
    def k(self) -> int:
        """Side of a window, in pixels."""

    def sample(self, x: NDArray[np.float32], windows: NDArray[np.int64], count: int, seed: int) -> NDArray[np.float32]:
        """Draw values for windows.

        Parameters
        ----------
        x : ndarray, shape (C, H, W), float32
            The photo, as the network sees it.
        windows : ndarray, shape (n, 2), int64
            Upper left pixels of the windows, (row, column).
        count : int
            Samples of each window; S in the paper.
        seed : int
            0 to 2**64 - 1.

        Returns
        -------
        ndarray, shape (n, count, C, k, k), float32
            In the network's input space.

        Raises
        ------
        PredictDiffError
            If the photo does not fit the sampler, or a window the photo.
        """

    def describe(self) -> dict[str, Any]:
        """Everything that the samples depend on beside photo, windows and seed; fit for JSON.

        It is the same before and after sampling.
        """


def stream(seed: int, row: int, column: int, purpose: str) -> np.random.Generator:
    """The random numbers of one position.

    A counter-based generator: the streams of different positions are disjoint stretches, 2**128 blocks
    long, of one sequence, and seed and purpose choose the sequence. So no stream depends on what else was drawn.

    Parameters
    ----------
    seed : int
        0 to 2**64 - 1.
    row, column : int
        Position, non-negative.
    purpose : str
        What the numbers are for; other purposes have other numbers.

    Raises
    ------
    ConfigurationError
        If the seed is not such a number.
    """
    key = np.array([checked_seed(seed), _purpose_word(purpose)], np.uint64)
    # The first word counts the least: the generator counts through the first two.
    counter = np.array([0, 0, row, column], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


def checked_seed(seed: int) -> int:
    """A seed as Python's int. ConfigurationError unless it is a whole number from 0 to 2**64 - 1."""
    if not isinstance(seed, int | np.integer) or not 0 <= seed < 2**64:
        raise ConfigurationError(
            f"seed: expected a whole number from 0 to 2**64 - 1, found {seed!r}; choose another one"
        )
    return int(seed)


@cache
def _purpose_word(purpose: str) -> int:
    return int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:8], "little")


def check_request(x: NDArray[np.float32], windows: NDArray[np.int64], count: int, k: int) -> None:
    """Refuse what no sampler can sample.

    Parameters
    ----------
    x, windows, count
        As `Sampler.sample` takes them.
    k : int
        Side of a window, in pixels.

    Raises
    ------
    SamplerError
        If the photo is none or holds numbers that are not finite, a window does not lie in it, or no
        sample is asked for.
    """
    if x.ndim != 3:
        raise SamplerError(f"photo: expected one of shape (C, H, W), found {x.shape}; pass one photo at a time")
    if not np.isfinite(x).all():
        raise SamplerError("photo: expected finite numbers, found NaN or infinity; check the photo and its mean")
    if count < 1:
        raise SamplerError(f"S: expected at least one sample a window, found {count}; the paper uses 20")
    if windows.ndim != 2 or windows.shape[1] != 2 or not np.issubdtype(windows.dtype, np.integer):
        raise SamplerError(
            f"windows: expected whole numbers of shape (n, 2), found {windows.dtype} of shape {windows.shape}; "
            f"take them from a WindowGrid"
        )
    outside = ((windows < 0) | (windows > np.array(x.shape[1:]) - k)).any(axis=1)
    if outside.any():
        row, column = windows[outside][0]
        raise SamplerError(
            f"windows: expected windows of {k} x {k} pixels inside the photo ({x.shape[1]} x {x.shape[2]}), found one "
            f"at row {row}, column {column}; take them from a WindowGrid of this size"
        )


def checked_patches(given: object, shape: tuple[int, ...], who: str) -> NDArray[np.float32]:
    """What somebody's sampler gives, as float32.

    Parameters
    ----------
    given : object
    shape : tuple of int
        (n, S, C, k, k), as it has to be.
    who : str
        Start of messages: "...: expected the sampler".

    Raises
    ------
    SamplerError
        If it is something else than finite patches of that shape.
    """
    expected = f"{who} to give patches of shape (n, S, C, k, k) = {shape}"
    try:
        patches = np.asarray(given)
    except Exception as error:  # a tensor that needs gradients or lies on a GPU, a list of unequal lists
        raise SamplerError(f"{expected}, found {type(given).__name__}, of which NumPy can make no array") from error
    if patches.shape != shape:
        raise SamplerError(f"{expected}, found {type(given).__name__} of shape {patches.shape}")
    if patches.dtype.kind != "f":
        raise SamplerError(
            f"{expected} of floating point numbers, in the network's input space, found {patches.dtype}; convert "
            f"them as the photos are"
        )
    with np.errstate(over="ignore"):  # what does not fit is infinite then
        patches = patches.astype(np.float32, copy=False)
    if not np.isfinite(patches).all():
        raise SamplerError(f"{expected} of finite numbers, found NaN or infinity among them")
    return patches


def described(sampler: Sampler) -> dict[str, Any]:
    """What a sampler says of itself. SamplerError if a result could not be saved with it."""
    found = sampler.describe()
    try:
        json.dumps(found, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise SamplerError(
            f"{type(sampler).__name__}: expected describe to give what JSON can hold: texts, numbers, lists and "
            f"dictionaries of Python's own, found something else ({error})"
        ) from error
    return found

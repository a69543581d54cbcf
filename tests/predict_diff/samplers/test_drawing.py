"""Samples part by part: drawn ahead or not, they are the same."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from predict_diff.errors import SamplerError
from predict_diff.samplers.drawing import draw

X = np.zeros((3, 9, 9), np.float32)
WINDOWS = np.argwhere(np.ones((5, 5)))
PARTS = [np.array([3, 1]), np.array([24]), np.array([0, 2, 4]), np.array([9])]


class Stub:
    """A sampler whose samples say for which window, and which one, they are."""

    k = 5

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []
        self.calls = 0

    def sample(self, x: NDArray[np.float32], windows: NDArray[np.int64], count: int, seed: int) -> NDArray[np.float32]:
        self.threads.append(threading.current_thread())
        self.calls += 1
        first = (windows @ [10, 1])[:, None] + 100.0 * np.arange(count) + seed / 10
        return np.broadcast_to(first[:, :, None, None, None], (*first.shape, 3, 5, 5)).astype(np.float32)

    def describe(self) -> dict[str, Any]:
        return {}


@pytest.mark.parametrize("ahead", [False, True])
def test_each_part_comes_in_turn_with_its_samples(ahead: bool) -> None:
    stub = Stub()
    found = list(draw(stub, X, WINDOWS, PARTS, 4, 7, ahead))
    assert [part.tolist() for part, _ in found] == [part.tolist() for part in PARTS]
    for part, patches in found:
        np.testing.assert_array_equal(patches, Stub().sample(X, WINDOWS[part], 4, 7))
    in_this_thread = {thread is threading.current_thread() for thread in stub.threads}
    assert in_this_thread == {not ahead}


def test_no_more_than_one_part_is_drawn_ahead() -> None:
    stub = Stub()
    for number, _ in enumerate(draw(stub, X, WINDOWS, PARTS, 4, 7, ahead=True)):
        assert stub.calls <= number + 2


@pytest.mark.parametrize("ahead", [False, True])
def test_no_part_gives_nothing(ahead: bool) -> None:
    assert list(draw(Stub(), X, WINDOWS, [], 4, 7, ahead)) == []


@pytest.mark.parametrize("ahead", [False, True])
def test_what_the_sampler_raises_is_raised(ahead: bool) -> None:
    stub = Stub()
    stub.sample = lambda *arguments: 1 / 0  # type: ignore[method-assign, assignment]
    with pytest.raises(ZeroDivisionError):
        list(draw(stub, X, WINDOWS, PARTS, 4, 7, ahead))


class Giving(Stub):
    """Gives what a function makes of the right samples."""

    def __init__(self, change: Callable[[Any], Any]) -> None:
        super().__init__()
        self.change = change

    def sample(self, x: NDArray[np.float32], windows: NDArray[np.int64], count: int, seed: int) -> Any:
        return self.change(super().sample(x, windows, count, seed))


@pytest.mark.parametrize("ahead", [False, True])
def test_samples_of_any_precision_become_single(ahead: bool) -> None:
    for given in (np.float64, np.float16, lambda patches: patches.astype(float).tolist()):
        for (_, patches), (_, expected) in zip(
            draw(Giving(given), X, WINDOWS, PARTS, 4, 7, ahead), draw(Stub(), X, WINDOWS, PARTS, 4, 7), strict=True
        ):
            assert patches.dtype == np.float32
            np.testing.assert_allclose(patches, expected, rtol=1e-3)


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda patches: patches[:, :1], r"\(2, 4, 3, 5, 5\), found ndarray of shape \(2, 1, 3, 5, 5\)"),
        (lambda patches: patches[:1], "found ndarray of shape"),
        (lambda patches: patches.swapaxes(0, 1), "found ndarray of shape"),
        (lambda patches: patches[:, :, 0], "found ndarray of shape"),
        (lambda patches: patches[..., :4], "found ndarray of shape"),
        (lambda patches: None, "found NoneType of shape"),
        (lambda patches: patches.astype(np.uint8), "floating point numbers.*found uint8"),
        (lambda patches: patches.astype(complex), "floating point numbers.*found complex"),
        (lambda patches: patches * np.nan, "finite numbers, found NaN"),
        (lambda patches: patches.astype(float) + 1e300, "finite numbers, found NaN"),
    ],
)
def test_what_is_no_sample_is_refused(change: Callable[[Any], Any], message: str, ahead: bool) -> None:
    with pytest.raises(SamplerError, match=f"^Giving: expected the sampler to give patches.*{message}"):
        list(draw(Giving(change), X, WINDOWS, PARTS, 4, 7, ahead))


@pytest.mark.parametrize("ahead", [False, True])
def test_a_sampler_that_changes_the_photo_is_refused_and_the_photo_stays(ahead: bool) -> None:
    class Painter(Stub):
        def sample(self, x: NDArray[np.float32], windows: NDArray[np.int64], count: int, seed: int) -> Any:
            x[:, :5, :5] = 1
            return super().sample(x, windows, count, seed)

    photo = X.copy()
    with pytest.raises(SamplerError, match="Painter: expected the sampler to leave the photo as it was given"):
        list(draw(Painter(), photo, WINDOWS, PARTS, 4, 7, ahead))
    np.testing.assert_array_equal(photo, X)

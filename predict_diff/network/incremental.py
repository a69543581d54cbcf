"""Evaluates perturbed photos by recomputing, layer by layer, only what a window can change: exactly."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from threading import Lock
from typing import Any, Self

import numpy as np
import onnx
from numpy.typing import NDArray

from ..errors import ConfigurationError
from ..targets import Target
from .binding import BoundSession, Buffer
from .frontier import find_frontier, frontier_blobs
from .graphs import Shape, blob_shapes, prune
from .grouping import shape_groups, widened
from .minibatch import checked_targets, in_parts, photos_that_fit
from .network import Network
from .runtime import run_session
from .target_values import check_arrangement, chosen_units, with_targets
from .tiles import channels_last, rest_graph, tile_graph

#: Groups of places along each axis whose squares get the same shape. CUDA tunes its convolutions anew for each.
_GROUPS = {"cpu": 8, "cuda": 1}
#: Samples that go through the tile graph at once, at most.
_TILE_BATCH = {"cpu": 20, "cuda": 400}
#: Photos that go through the rest of the network at once: the more, the more its weights weigh beside them.
_REST_BATCH = {"cpu": (5, 80), "cuda": (400, 400)}
#: Tile batches whose results wait for the rest of the network, at most, beyond what fills one of its batches.
_WAITING = 4

#: Sizes of batches: in the tile graph, in the rest of the network, and before the rest.
_BATCHING = ("tile_batch", "batch_size", "room")


class IncrementalEvaluator:
    """The values of some targets for photos in which a window has been replaced: those of `MiniBatchEvaluator`.

    Early layers are evaluated only on the square that the window can change, pasted into what the photo itself gives.
    From where recomputing everything is as cheap, the network goes on as usual. Nothing is approximated; the last
    bits depend, as ever, on the shapes of batches.

    Parameters
    ----------
    network : Network
        One that takes images, (C, H, W).
    targets : sequence of Target
        All of them are computed in the same pass.
    k : int
        Side of a window, in pixels.
    batch_size : int, optional
        Photos in a batch; chosen from memory, provider and network by default.
    batching : mapping, optional
        The `batching` of another evaluator for the same, whose batches are to be made here too, whatever the memory.

    Attributes
    ----------
    frontier : Frontier
        What is evaluated on squares.
    batch_size : int
        Photos that go through the rest of the network at once.

    Raises
    ------
    ConfigurationError
        If the network has no such target, k does not fit into its input, or the batch size is not positive.
    """

    def __init__(
        self,
        network: Network,
        targets: Sequence[Target],
        k: int,
        batch_size: int | None = None,
        batching: Mapping[str, Any] | None = None,
    ) -> None:
        self.network, self.k = network, k
        self.targets = checked_targets(network, targets, batch_size)
        image, shape = network.input_name, network.input_shape
        if len(shape) != 3 or not 1 <= k <= min(shape[1:]):
            raise ConfigurationError(f"k: expected a window that fits into the network's input {shape}, found {k}")
        original = network.load()
        shapes = blob_shapes(original)
        model = with_targets(original, self.targets, network.blobs)
        del original  # each copy of the weights goes as soon as it can
        self.frontier = find_frontier(model, shapes, image, k)
        blobs = frontier_blobs(model, self.frontier.steps, image)
        groups = shape_groups(self.frontier, _GROUPS[network.provider])
        #: Number of the shape that the squares of a window at each place have.
        self._shape_of = groups[0][:, None] * (groups[1].max() + 1) + groups[1]
        squares = widened(self.frontier.squares, groups, shapes)
        self._tiles = tile_graph(model, self.frontier.steps, squares, blobs, shapes, image)
        rest = rest_graph(model, blobs, shapes)
        kept = list(dict.fromkeys(cut.blob for cut in self._tiles.cuts if cut.blob != image))
        #: Gives the blobs of which a photo's are kept.
        self._kept_model = prune(model, kept, {image: shape}) if kept else None
        del model

        most = min(network.largest_batch, batch_size or _TILE_BATCH[network.provider])
        self._tile_batch = photos_that_fit(network.provider, self._tiles.numbers(), most)
        self.batch_size = batch_size or _rest_batch(rest, blobs, shapes, network, self._tile_batch)
        #: Whole blobs wait in buffers of so many rows until there are enough of them.
        self._room = self.batch_size * -(-self._tile_batch // self.batch_size)
        if batching is not None:
            self._tile_batch, self.batch_size, self._room = (int(batching[name]) for name in _BATCHING)
        elif network.provider == "cpu":
            # The more wait, the fewer are filled up. On CUDA, batches are full anyway.
            numbers = sum(prod(shapes[blob]) for blob in blobs)
            waiting = photos_that_fit(network.provider, numbers, _WAITING * self._tile_batch)
            self._room = max(self._room, waiting // self.batch_size * self.batch_size)
        self._buffers = {
            blob: Buffer((self._room, *shapes[blob][1:], shapes[blob][0]), network.provider, network.device)
            for blob in blobs
        }
        self._results = Buffer((self._room, len(targets)), "cpu")
        self._output = rest.graph.output[0].name
        self._tile_session = BoundSession(network.extended(self._tiles.model), network.provider, network.device)
        self._rest_session = BoundSession(network.extended(rest), network.provider, network.device)
        self._units = chosen_units(self.targets, network.blobs)
        self._memory = _Memory()

    @property
    def batching(self) -> dict[str, Any]:
        """See `predict_diff.evaluator.Evaluator.batching`."""
        sizes = self._tile_batch, self.batch_size, self._room
        return {"evaluator": type(self).__name__, **dict(zip(_BATCHING, sizes, strict=True))}

    def for_targets(self, targets: Sequence[Target]) -> Self:
        """See `MiniBatchEvaluator.for_targets`."""
        other = copy.copy(self)  # sessions and buffers, and what they hold, are one and the same
        other.targets = checked_targets(self.network, targets, None)
        check_arrangement(self.targets, other.targets)
        other._units = chosen_units(other.targets, self.network.blobs)
        return other

    def values(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """See `predict_diff.evaluator.Evaluator.values`."""
        with self._memory.lock:
            return self._remember(x).copy()

    def batches(self, windows: NDArray[np.int64], samples: int) -> Iterator[NDArray[np.int64]]:
        """See `predict_diff.evaluator.Evaluator.batches`: those windows together whose squares have the same shape."""
        order = np.concatenate([np.empty(0, np.int64), *self._by_shape(windows)])
        for part in in_parts(len(order), samples, self.batch_size):
            yield order[part]

    def evaluate(
        self, x: NDArray[np.float32], windows: NDArray[np.int64], patches: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """See `predict_diff.evaluator.Evaluator.evaluate`."""
        if patches.shape[3:] != (self.k, self.k):
            raise ConfigurationError(
                f"k: expected samples of {self.k} x {self.k} pixels, found {' x '.join(map(str, patches.shape[3:]))}"
            )
        with self._memory.lock:
            self._remember(x)
            return self._evaluated(windows, patches)

    def _evaluated(self, windows: NDArray[np.int64], patches: NDArray[np.float32]) -> NDArray[np.float32]:
        """`evaluate`, for the photo that is remembered."""
        count, samples = patches.shape[:2]
        values = np.empty((count * samples, len(self.targets)), np.float32)
        waiting: list[tuple[NDArray[np.int64], int]] = []
        taken = 0

        def finish() -> None:
            found = self._rest(taken)
            for places, start in waiting:
                values[places] = found[start : start + len(places)]
            waiting.clear()

        for job in self._jobs(windows, samples):
            rows = self._rows(job)
            if taken + rows > self._room:
                finish()
                taken = 0
            self._tile(windows[job.windows], patches[job.windows, job.samples], taken, rows)
            places = job.windows[:, None] * samples + np.arange(samples)[job.samples]
            waiting.append((places.ravel(), taken))
            taken += rows
        finish()
        return values.reshape(count, samples, len(self.targets))

    def _jobs(self, windows: NDArray[np.int64], samples: int) -> Iterator[_Job]:
        """Divide the samples of some windows into batches of equal shapes."""
        at_once = min(samples, self._tile_batch)
        for group in self._by_shape(windows):
            for first in range(0, len(group), self._tile_batch // at_once):
                some = group[first : first + self._tile_batch // at_once]
                for start in range(0, samples, at_once):
                    yield _Job(some, slice(start, min(start + at_once, samples)))

    def _by_shape(self, windows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Numbers of the windows whose squares have the same shape, for each shape that occurs."""
        if len(windows) and (windows.min() < 0 or (windows.max(axis=0) >= self._shape_of.shape).any()):
            raise ConfigurationError(
                f"k: expected windows of {self.k} pixels, which the evaluator is for, inside the photo, found others"
            )
        shape = self._shape_of[windows[:, 0], windows[:, 1]]
        order = np.argsort(shape, kind="stable")
        return np.split(order, np.flatnonzero(np.diff(shape[order])) + 1)

    def _rows(self, job: _Job) -> int:
        """Rows of the buffers that a batch takes: on CUDA, which tunes each new shape, as many as a full one."""
        if self.network.provider == "cpu":
            return job.size
        samples = job.size // len(job.windows)
        return self._tile_batch // samples * samples

    def _tile(self, windows: NDArray[np.int64], patches: NDArray[np.float32], start: int, rows: int) -> None:
        """Make whole blobs of some samples, into so many of the buffers' rows, filled up with the last window's."""
        samples, *sizes = patches.shape[1:]
        count = rows // samples
        if count > len(windows):
            filled = np.minimum(np.arange(count), len(windows) - 1)
            windows, patches = windows[filled], patches[filled]
        feeds = self._tiles.feeds(windows[:, 0], windows[:, 1], samples)
        feeds[self.network.input_name] = np.ascontiguousarray(patches).reshape(count * samples, *sizes)
        for blob, name in self._tiles.outputs.items():
            self._tile_session.write_into(name, self._buffers[blob], start, count * samples)
        self._tile_session.run(feeds)

    def _rest(self, count: int) -> NDArray[np.float32]:
        """The targets, (count, U), of the buffers' first rows. The last batch is filled up with what is there."""
        for start in range(0, count, self.batch_size):
            for blob, buffer in self._buffers.items():
                self._rest_session.read_from(channels_last(blob), buffer, start, self.batch_size)
            self._rest_session.write_into(self._output, self._results, start, self.batch_size)
            self._rest_session.run(self._units)
        return self._results.numpy()[:count]

    def _remember(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Keep what the photo gives, unless it is the latest one anyway; returns its targets."""
        memory = self._memory
        if memory.x is None or memory.targets != self.targets or not np.array_equal(x, memory.x):
            memory.x = None
            image, batch = self.network.input_name, self.network.batch(x[None])
            values = {image: batch[0]}
            if self._kept_model is not None:
                # Used once a photo: not worth a session that stays.
                found = run_session(self.network.extended(self._kept_model), {image: batch})
                blobs = [info.name for info in self._kept_model.graph.output]
                values |= {blob: value[0] for blob, value in zip(blobs, found, strict=True)}
            self._tile_session.keep(self._tiles.memory(values))
            for blob, buffer in self._buffers.items():
                buffer.fill(np.moveaxis(values[blob], 0, -1))
            memory.known = self._rest(1)[0].astype(np.float64)
            memory.x, memory.targets = x.copy(), self.targets
        return memory.known


@dataclass(eq=False)
class _Memory:
    """Of which photo a session keeps what it gives, and the targets of it that were computed."""

    x: NDArray[np.float32] | None = None
    targets: tuple[Target, ...] = ()
    known: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    #: Whose photo and samples are in the buffers: one thread at a time.
    lock: Lock = field(default_factory=Lock)


@dataclass(frozen=True, eq=False)
class _Job:
    """Samples that go through the tile graph at once: of which windows, and which of theirs."""

    windows: NDArray[np.int64]
    samples: slice

    @property
    def size(self) -> int:
        return len(self.windows) * int(self.samples.stop - self.samples.start)


def _rest_batch(
    rest: onnx.ModelProto, blobs: Sequence[str], shapes: Mapping[str, Shape], network: Network, tile_batch: int
) -> int:
    """As many photos as it takes for them to weigh as much as the weights, which are read anew for each batch.

    So many that whole tile batches fill a batch of the rest, or the other way round.
    """
    weights = sum(prod(tensor.dims) for tensor in rest.graph.initializer)
    made = {name for node in rest.graph.node for name in node.output} | set(blobs)
    numbers = sum(prod(shapes[name]) for name in made if name in shapes)
    least, most = _REST_BATCH[network.provider]
    most = min(most, network.largest_batch)
    wanted = photos_that_fit(network.provider, numbers, max(min(least, most), min(most, weights // numbers)))
    if wanted >= tile_batch:
        return wanted // tile_batch * tile_batch
    return -(-tile_batch // -(-tile_batch // wanted))

"""A measurement's results, and how they read as a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Row:
    """What was measured of one network with one set of settings. What was not measured is None.

    Attributes
    ----------
    network : str
    vary, value : str and int, or None
        Of the rows that show how cost grows: which setting is another than in the main rows, and what it is. Their
        samples are not drawn by the conditional sampler but cut from the photo, which costs next to nothing.
    weights : {"real", "random"}
    provider : {"cpu", "cuda"}
    precision : {"full", "tf32"}
    threads : int or None
        Threads asked for; all cores otherwise.
    cores : int or None
        Of the machine.
    onnxruntime : str
        Its version.
    k, samples, targets, input_size : int
        k, S, how many units are explained at once, pixels along a side of the network's input.
    batch_size, batch_size_full : int
        Photos in a batch: of the incremental evaluator, behind its squares; of the mini-batched one.
    rounds : int
        In each, both evaluators take their turns.
    windows_sampled, windows_total : int
        Windows that the incremental evaluator goes through in a round, and all there are at stride 1.
    ms_full, ms_incremental : float
        Milliseconds for one perturbed photo whose sample is there: mini-batched, which recomputes every layer, and
        incremental. Medians over rounds.
    ratio : float
        Of the two, median over rounds.
    bound : float
        What the ratio would be if only multiplications counted and every layer that can be was evaluated on squares.
    max_abs_diff_probability : float
        Largest difference between both evaluators for one perturbed photo, over all classes, all windows of the sample,
        and those in the corners and in the middle of the edges. With another precision than "full", the mini-batched
        one is of full precision.
    rounding_probability : float
        To compare with: by how much the mini-batched one's probabilities change, at most, if each pixel of the photo
        becomes the next larger or smaller number. Differences of that size are rounding.
    max_abs_diff_bits : float
        The same for the weight of evidence of a window, from two samples.
    overhead_share : float
        Part of Algorithm 1's time, with the incremental evaluator, that is spent outside of ONNX Runtime.
    sampler_share : float
        Part of it that the conditional sampler takes; on CUDA it works meanwhile, so it is none of the overhead.
    gpu_busy : float or None
        Part of that time in which the GPU had kernels running.
    windows_per_second : float
        By Algorithm 1 with the incremental evaluator, everything included.
    hours_paper_settings, hours_paper : float or None
        All windows at that rate, for stride 1 and S = 20, in hours; and what the paper says of its own GPU.
    warm_up_s : float
        Seconds of the first time through the sample, when ONNX Runtime sees each shape for the first time.
    peak_mb, beyond_weights_mb : float
        Peak memory of a process that runs Algorithm 1 with the incremental evaluator, and what of it is beyond the
        network's weights.
    ms_bare : float or None
        Milliseconds for one photo in a bare `session.run`, at the mini-batched evaluator's batch size.
    overhead_full : float or None
        By how much Algorithm 1 with that evaluator, sampler included, takes longer; median over rounds.
    to_handwritten, difference_to_handwritten : float or None
        See `reproduce.measuring.twins.Comparison`.
    journal_share : float or None
        Part of the time of a whole map that it takes to keep its windows on the disk as they come.
    both_layers : float or None
        Time of one pass over penultimate and output layer (figure 4) over that of one pass over the output layer.
    """

    network: str
    vary: str | None
    value: int | None
    weights: Literal["real", "random"]
    provider: str
    precision: str
    threads: int | None
    cores: int | None
    onnxruntime: str
    k: int
    samples: int
    targets: int
    input_size: int
    batch_size: int
    batch_size_full: int
    rounds: int
    windows_sampled: int
    windows_total: int
    ms_full: float
    ms_incremental: float
    ratio: float
    bound: float
    max_abs_diff_probability: float
    rounding_probability: float
    max_abs_diff_bits: float
    overhead_share: float
    sampler_share: float
    gpu_busy: float | None
    windows_per_second: float
    hours_paper_settings: float | None
    hours_paper: float | None
    warm_up_s: float
    peak_mb: float
    beyond_weights_mb: float
    ms_bare: float | None
    overhead_full: float | None
    to_handwritten: float | None
    difference_to_handwritten: float | None
    both_layers: float | None
    journal_share: float | None


@dataclass(frozen=True)
class _Column:
    heading: str
    width: int
    text: Callable[[Row], str]


def tables(rows: Sequence[Row]) -> str:
    """The measurements as tables to read: the evaluators, Algorithm 1 around them, how costs grow."""
    if not rows:
        return "Nothing was measured."
    main, growth = [row for row in rows if row.vary is None], [row for row in rows if row.vary is not None]
    parts = [_about(rows)]
    if main:
        parts += [
            "One perturbed photo: every layer recomputed (full), or only what a window can change (incremental).\n"
            "differences: largest between the two, of any class, windows in corners and on edges included;\n"
            "rounding: by how much full ones change if each pixel becomes the next float32",
            _table(_EVALUATORS, main),
            "Algorithm 1 with the incremental evaluator. outside: part of its time outside of ONNX Runtime; hours: for "
            "all windows,\nprojected from those sampled; paper: on its GPU. Bare to difference: Algorithm 1 "
            "mini-batched, beside the bare\nnetwork; the converted network's time over that of the same written by "
            "hand in ONNX. Layers: time of figure 4's pass\nover two layers over that of a pass over one. Journal: "
            "part of a whole map's time that keeping its windows takes; beyond: MB of memory beyond the weights",
            _table(_ALGORITHM, main),
        ]
    if growth:
        parts += [
            "How the cost of one perturbed photo grows; samples are cut from the photo itself",
            _table(_GROWTH, growth),
        ]
    return "\n\n".join(parts)


def _about(rows: Sequence[Row]) -> str:
    first = rows[0]
    threads = f"{first.threads} threads" if first.threads else "all"
    rounds = " or ".join(str(count) for count in sorted({row.rounds for row in rows}))
    return (
        f"ONNX Runtime {first.onnxruntime}; {first.cores} cores, {threads} used; k = {first.k}, l = k + 4, "
        f"S = {first.samples}, stride 1, conditional sampler.\n"
        f"Medians of {rounds} rounds in which the evaluators take turns, over windows that stand for the whole grid"
        f" (column windows:\nhow many were sampled, of how many). The first time through them is not counted."
    )


def _table(columns: Sequence[_Column], rows: Sequence[Row]) -> str:
    headings = "".join(f"{column.heading:>{column.width}}" for column in columns)
    lines = ["".join(f"{column.text(row):>{column.width}}" for column in columns) for row in rows]
    return "\n".join([headings, *lines])


def _number(field: str, form: str) -> Callable[[Row], str]:
    """A number as text; an en dash where it was not measured."""

    def text(row: Row) -> str:
        value: Any = getattr(row, field)
        return "–" if value is None else format(value, form)

    return text


def _provider(row: Row) -> str:
    return row.provider if row.precision == "full" else f"{row.provider} {row.precision}"


_NETWORK = _Column("network", 19, lambda row: row.network)
_WINDOWS = _Column("windows", 15, lambda row: f"{row.windows_sampled}/{row.windows_total}")
_RATIO = (
    _Column("ms full", 10, _number("ms_full", ".2f")),
    _Column("ms incremental", 16, _number("ms_incremental", ".2f")),
    _Column("ratio", 8, _number("ratio", ".2f")),
    _Column("bound", 8, _number("bound", ".2f")),
)
_DIFFERENCES = (
    _Column("in probability", 16, _number("max_abs_diff_probability", ".1e")),
    _Column("rounding", 10, _number("rounding_probability", ".1e")),
    _Column("in bits", 10, _number("max_abs_diff_bits", ".1e")),
)
_EVALUATORS = (
    _NETWORK,
    _Column("weights", 9, lambda row: row.weights),
    _Column("provider", 11, _provider),
    _Column("batches", 10, lambda row: f"{row.batch_size_full}, {row.batch_size}"),
    _WINDOWS,
    *_RATIO,
    *_DIFFERENCES,
    _Column("warm-up s", 11, _number("warm_up_s", ".1f")),
)
_ALGORITHM = (
    _NETWORK,
    _Column("provider", 11, _provider),
    _Column("windows/s", 11, _number("windows_per_second", ".2f")),
    _Column("hours", 8, _number("hours_paper_settings", ".3f")),
    _Column("paper", 7, _number("hours_paper", ".1f")),
    _Column("outside", 9, _number("overhead_share", ".1%")),
    _Column("sampler", 9, _number("sampler_share", ".1%")),
    _Column("GPU busy", 9, _number("gpu_busy", ".0%")),
    _Column("peak MB", 8, _number("peak_mb", ".0f")),
    _Column("beyond", 8, _number("beyond_weights_mb", ".0f")),
    _Column("ms bare", 9, _number("ms_bare", ".2f")),
    _Column("overhead", 9, _number("overhead_full", ".1%")),
    _Column("by hand", 9, _number("to_handwritten", ".2f")),
    _Column("difference", 11, _number("difference_to_handwritten", ".1e")),
    _Column("layers", 8, _number("both_layers", ".2f")),
    _Column("journal", 9, _number("journal_share", ".2%")),
)
_GROWTH = (
    _NETWORK,
    _Column("provider", 11, _provider),
    _Column("varied", 10, lambda row: str(row.vary)),
    _Column("value", 7, _number("value", "d")),
    _WINDOWS,
    *_RATIO,
    *_DIFFERENCES,
    _Column("windows/s", 11, _number("windows_per_second", ".2f")),
    _Column("peak MB", 9, _number("peak_mb", ".0f")),
)

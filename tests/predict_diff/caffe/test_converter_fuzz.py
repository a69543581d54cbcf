"""Damaged and absurd descriptions and weights: each converts to a valid model, or ends in the one-line error."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from predict_diff.caffe.converter import convert
from predict_diff.caffe.layers import INPUT_TYPES, LAYER_TYPES
from predict_diff.errors import PredictDiffError

GOLDENS = Path(__file__).parents[2] / "goldens"
# Small files of every family of layers.
SEEDS = sorted(path.parent for path in GOLDENS.rglob("weights.caffemodel") if path.stat().st_size < 40_000)
ABSURD = ["0", "-1", "-2", "1", "2", "3", "7", "33", "65536", "2147483647", "2147483648", "4294967295", "1e38", "nan"]
SETTINGS = [
    "axis: -1",
    "axis: 0",
    "num_axes: 0",
    "kernel_size: 3",
    "pad: 2",
    "stride: 5",
    "dilation: 2",
    "group: 2",
    "global_pooling: true",
    "pool: AVE",
    "dim: 0",
    "dim: -1",
    "slice_point: 1",
    "bias_term: false",
    "operation: MAX",
    "operation: ASUM",
    "coeff: 2",
    "top_k: 2",
    'bottom: "data"',
    'top: "data"',
]


def exchange(text: str, pattern: str, other: str, dice: random.Random) -> str:
    """One of the places where a pattern is found, filled with another text."""
    found = list(re.finditer(pattern, text))
    if not found:
        return text
    place = dice.choice(found)
    return text[: place.start()] + other + text[place.end() :]


def numbers(text: str, dice: random.Random) -> str:
    """One number for another."""
    return exchange(text, r"-?\d+(\.\d+)?", dice.choice(ABSURD), dice)


def words(text: str, dice: random.Random) -> str:
    """A name or type for another of the file."""
    return exchange(text, r'"[^"]*"', dice.choice(re.findall(r'"[^"]*"', text) or ['""']), dice)


def types(text: str, dice: random.Random) -> str:
    """Another layer type, with the settings of the old one."""
    return exchange(text, r'type: "\w+"', f'type: "{dice.choice([*LAYER_TYPES, *INPUT_TYPES])}"', dice)


def settings(text: str, dice: random.Random) -> str:
    """A setting more."""
    return exchange(text, r"\{", f"{{ {dice.choice(SETTINGS)} ", dice)


def lines(text: str, dice: random.Random) -> str:
    """A line lost, doubled or moved."""
    rows = text.splitlines(keepends=True) or [""]
    row, place = rows.pop(dice.randrange(len(rows))), dice.randrange(len(rows) + 1)
    return "".join(rows[:place] + [row] * dice.choice([0, 1, 2]) + rows[place:])


def characters(text: str, dice: random.Random) -> str:
    """A character for another, or the end lost."""
    place = dice.randrange(len(text) + 1)
    return text[:place] + dice.choice(["", text[place:] and chr(dice.randrange(1, 256)) + text[place + 1 :]])


MUTATIONS: list[Callable[[str, random.Random], str]] = [
    numbers,
    numbers,
    types,
    types,
    settings,
    words,
    lines,
    characters,
]


def damaged(content: bytes, dice: random.Random) -> bytes:
    """Some bytes for others, or the end lost."""
    changed = bytearray(content)
    for _ in range(dice.choice([1, 1, 2, 8])):
        changed[dice.randrange(len(changed))] = dice.randrange(256)
    return bytes(changed[: dice.randrange(len(changed))] if dice.random() < 0.2 else changed)


def attempt(folder: Path, dice: random.Random) -> str | None:
    """Convert one damaged pair; returns the error's message, None if it converted to a valid model."""
    seed = dice.choice(SEEDS)
    text = (seed / "deploy.prototxt").read_text()
    for _ in range(dice.choice([0, 1, 1, 2, 3])):
        text = dice.choice(MUTATIONS)(text, dice)
    content = (seed / "weights.caffemodel").read_bytes()
    (folder / "deploy.prototxt").write_bytes(text.encode("latin-1", "replace"))
    (folder / "weights.caffemodel").write_bytes(damaged(content, dice) if dice.random() < 0.3 else content)
    try:
        model = convert(folder / "deploy.prototxt", folder / "weights.caffemodel")
    except PredictDiffError as error:
        return str(error)
    # The sizes that the converter calculated are checked against those that ONNX infers.
    onnx.checker.check_model(model, full_check=True)
    return None


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("seed", range(4))
def test_whatever_the_files_hold_it_is_converted_or_refused_in_one_line(seed: int, tmp_path: Path) -> None:
    dice = random.Random(seed)
    messages = [attempt(tmp_path, dice) for _ in range(100)]
    refused = [message for message in messages if message is not None]
    assert 10 < len(refused) < 90
    assert all("\n" not in message and len(message) < 1500 for message in refused)

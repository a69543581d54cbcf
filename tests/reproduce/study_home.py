"""What the tests of studies share: a study of two photos before the tiny network, and the command that makes it.

PYTEST_DONT_REWRITE: it asserts nothing.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image
from tiny_home import Outcome, Reproduce, noise

from predict_diff.network.incremental import IncrementalEvaluator
from predict_diff.network.minibatch import MiniBatchEvaluator
from reproduce import cli, commands, config, jobs, networks
from reproduce.studies.command import study as command

if "study" not in commands.commands.commands:
    commands.commands.add_command(command)

#: Both samplers; studies have one, where it does not matter, to save time.
BOTH = ["marginal", "conditional"]

#: 36 windows of the tiny network's input.
CHEAP = {"k": 6, "l": 8, "stride": 6, "samples": 2}

MakeStudy = Callable[..., Outcome]


class ComputedError(Exception):
    """The evaluator was used."""


def new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what this process has opened, as a new one would."""
    monkeypatch.setattr(jobs, "_workshop", jobs._Workshop())
    networks._card.cache_clear()


def write_study(home: Path, **fields: Any) -> Path:
    """A study of two photos in the home, four maps; what is given goes before."""
    photos = home / "photos"
    photos.mkdir(exist_ok=True)
    for number, name in enumerate(("ant", "bee")):
        if not (photos / f"{name}.png").exists():
            Image.fromarray(noise(10 + number)).save(photos / f"{name}.png")
    path = home / "insects.yaml"
    described: dict[str, Any] = {
        "title": "Insects",
        "photos": "photos",
        "networks": ["tiny"],
        "samplers": ["marginal"],
        "seeds": [0, 1],
        "settings": CHEAP,
        "pool": "pool",
    }
    path.write_text(yaml.safe_dump({**described, **fields}))
    return path


@pytest.fixture
def make(reproduce: Reproduce, home: Path, monkeypatch: pytest.MonkeyPatch) -> MakeStudy:
    """Make the study of the home, as a new process would, with options of the command and fields of the YAML."""

    def run(*arguments: str | Path, **fields: Any) -> Outcome:
        new_process(monkeypatch)
        return reproduce("study", write_study(home, **fields), "--provider", "cpu", *arguments)

    return run


@pytest.fixture
def nothing_computed(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Once called, using the evaluator is an error."""

    def fail(*arguments: object) -> None:
        raise ComputedError

    def switch() -> None:
        for evaluator in (MiniBatchEvaluator, IncrementalEvaluator):
            monkeypatch.setattr(evaluator, "evaluate", fail)

    return switch


def rows(out: str | Path = "results/insects", name: str = "results.csv") -> list[dict[str, str]]:
    """The table."""
    with (Path(out) / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def log_lines(out: str | Path = "results/insects", name: str = "log.txt") -> list[str]:
    return (Path(out) / name).read_text(encoding="utf-8").splitlines()


def last_counts(out: str | Path = "results/insects") -> str:
    """What the log says was there when the study was last started."""
    return [line for line in log_lines(out) if " to compute." in line][-1].split(" ", 2)[2]


def main_with_few_patches() -> None:
    """The command line in a process of its own, with the settings that `reproduce` has."""
    known = config.named_settings()
    variants = {name: variant.model_copy(update={"patches": 1000}) for name, variant in known.variants.items()}
    config.named_settings = lambda: known.model_copy(update={"variants": variants})
    cli.main()

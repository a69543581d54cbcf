"""What `make` passes on to the command line."""

from __future__ import annotations

import shlex
import shutil
import subprocess

import pytest
from tiny_home import PROJECT

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def command(*arguments: str) -> list[str]:
    """The words of the command that a target would run, once what it needs were installed."""
    made = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", "READY=nowhere", *arguments],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    return shlex.split(made.stdout.splitlines()[-1])[1:]


@pytest.mark.parametrize(
    "field",
    ["maps={rule: strongest, count: 4}", "maps=[1, 3]", "window=[9,13]", "title=Tom's maps", 'title="a  b"; echo'],
)
def test_a_field_reaches_the_command_line_as_it_was_written(field: str) -> None:
    assert command("figure6", f"SET={field}") == ["figure6", "--set", field]


def test_what_is_not_given_is_not_passed_on() -> None:
    assert command("figure1") == ["figure1"]


def test_what_spreads_and_replaces_is_passed_on() -> None:
    given = ["SHARD=3/16", "DASK=tcp://host:8786", "OUT=my results", "FORCE=1"]
    passed = ["--force", "--out", "my results", "--shard", "3/16", "--dask", "tcp://host:8786"]
    assert command("figure1", *given) == ["figure1", *passed]


@pytest.mark.parametrize("value", ["0", "no"])
def test_nothing_is_replaced_by_who_says_no(value: str) -> None:
    assert command("figure1", f"FORCE={value}") == ["figure1"]


def test_the_help_names_what_spreads_a_figure() -> None:
    said = subprocess.run(["make", "help"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    assert "SHARD, DASK" in said


def test_the_help_says_how_a_field_is_set() -> None:
    said = subprocess.run(["make", "help"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    assert "SET='maps={rule: strongest, count: 4}'" in said

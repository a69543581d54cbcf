"""Settings from YAML and command line, and what is said where they are wrong."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from predict_diff.authors_code import Faults
from predict_diff.errors import ConfigurationError
from reproduce.config import NamedSettings, in_profile, named_settings, settings
from reproduce.figures.figure1 import Configuration
from reproduce.validation import read_yaml

PACKAGE = Path(__file__).parents[2] / "reproduce"

FIGURE = """\
seed: 1
title: Three networks
shows: Three networks.
networks: [alexnet]
photos:
  - chelsea
  - coffee
panels: [sensitivity, marginal]
"""


# What the three sources say: the paper, its ICLR version, the authors' code.
@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        ("paper", {"k": 10, "l": 14, "samples": 20, "gaussian": "joint", "laplace_instances": 1_281_167}),
        ("paper", {"clip_samples": False, "store_float16": False, "faults": [], "patches": 25_000}),
        ("iclr2017", {"k": 10, "l": 14, "samples": 10, "gaussian": "joint", "laplace_instances": 1_281_167}),
        ("authors_code", {"k": 10, "l": 14, "samples": 10, "gaussian": "per_channel", "laplace_instances": 100_000}),
        ("authors_code", {"patches": 20_000, "placement": "shared", "clip_samples": True, "marginal": "first"}),
        ("authors_code", {"crop": "unresized", "store_float16": True, "sensitivity_from_activation": True}),
    ],
)
def test_a_variant_in_profile_paper_is_what_its_source_says(variant: str, expected: dict[str, Any]) -> None:
    chosen = settings(variant, "paper").model_dump()
    assert {name: chosen[name] for name in expected} == expected
    assert chosen["stride"] == 1


def test_authors_code_has_all_its_faults_on_and_no_other_variant_has_any() -> None:
    assert set(settings("authors_code", "paper").faults) == set(Faults().describe())
    assert not settings("paper", "paper").faults
    assert not settings("iclr2017", "paper").faults


def test_the_command_line_goes_before_the_profile_and_the_profile_before_the_variant() -> None:
    assert settings("iclr2017", "paper").samples == 10
    quick = settings("iclr2017", "quick")
    assert (quick.samples, quick.stride) == (2, 6)
    chosen = settings("iclr2017", "quick", samples=7, stride=3, k=8, l=9)
    assert (chosen.samples, chosen.stride, chosen.k, chosen.l) == (7, 3, 8, 9)
    assert (chosen.variant, chosen.profile) == ("iclr2017", "quick")
    assert settings("paper", "quick", samples=None) == settings("paper", "quick")


@pytest.mark.parametrize(("changes", "l"), [({"k": 6}, 10), ({"k": 6, "l": 7}, 7), ({"l": 20}, 20)])
def test_the_outer_patch_keeps_its_margin_if_only_k_is_changed(changes: dict[str, int], l: int) -> None:
    assert settings("paper", "paper", **changes).l == l


def test_another_profile_changes_the_cost_and_nothing_else() -> None:
    chosen = settings("iclr2017", "quick", seed=3, k=6, samples=4)
    dear = in_profile(chosen, "paper")
    assert (dear.samples, dear.stride, dear.profile) == (10, 1, "paper")
    cost = {"samples", "stride", "profile"}
    assert dear.model_dump(exclude=cost) == chosen.model_dump(exclude=cost)


def test_faults_are_switched_on_one_by_one() -> None:
    chosen = settings("authors_code", "quick", faults=["stale_window"])
    assert chosen.fault_switches == Faults(stale_window=True)
    assert settings("authors_code", "quick", faults=[]).fault_switches == Faults()


@pytest.mark.parametrize(
    ("arguments", "changes", "message"),
    [
        (("papr", "quick"), {}, "variant: expected one of paper, iclr2017, authors_code, found 'papr'.*'paper'"),
        (("paper", "quik"), {}, "profile: expected one of paper, quick, found 'quik' .did you mean 'quick'"),
        (("paper", "quick"), {"k": 0}, "k: expected a number greater than 0, found 0"),
        (("paper", "quick"), {"k": 14, "l": 14}, "l: expected an outer patch larger than the window .* found l = 14"),
        (("paper", "quick"), {"l": 5}, "l: expected an outer patch larger"),
        (("paper", "quick"), {"samples": 0}, "samples: expected a number greater than 0, found 0"),
        (("paper", "quick"), {"stride": -1}, "stride: expected a number greater than 0, found -1"),
        (("paper", "quick", -1), {}, "seed: expected a number greater than or equal to 0, found -1"),
        (("paper", "quick", 2**64), {}, "seed: expected a number less than"),
        (("authors_code", "quick"), {"faults": ["stale"]}, r"found 'stale' \(did you mean 'stale_window'"),
        (("paper", "quick"), {"faults": ["stale_window"]}, "none of stale_window in variant paper.*authors_code"),
    ],
)
def test_impossible_settings_are_named(arguments: tuple[Any, ...], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        settings(*arguments, **changes)


def test_the_files_of_the_package_are_right() -> None:
    assert read_yaml(PACKAGE / "settings.yaml", NamedSettings) == named_settings()
    figure = read_yaml(PACKAGE / "figures" / "figure1.yaml", Configuration)
    assert figure.networks == ["alexnet", "googlenet", "vgg16"]
    # Paper: figure 1, panels (a) to (e).
    assert figure.panels == ["sensitivity", "marginal", "marginal_overlay", "conditional", "conditional_overlay"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("title:", "titel:", r":2: titel: unknown field \(did you mean 'title'\?\)"),
        ("seed: 1", "seed: one", ":1: seed: expected a valid integer, found 'one'"),
        ("seed: 1", "seed: '1'", ":1: seed: expected a valid integer, found '1'"),
        ("seed: 1", "seed: -1", ":1: seed: expected a number greater than or equal to 0, found -1"),
        ("  - coffee", "  - 3", r":7: photos\.1: expected a valid string, found 3"),
        ("[alexnet]", "[]", r":4: networks: expected at least 1 of them, found \[\]"),
        (", marginal]", ", marginl]", r":8: panels\.1: expected 'sens.*found 'marginl' \(did you mean 'marginal'"),
        ("title: Three networks\n", "", ":1: title: missing"),
        ("title: Three networks", "seed: 2", ":2: expected YAML; found 'seed' twice"),
        ("[alexnet]", "[alexnet", ":5: expected YAML; expected ',' or ']'"),
        ("title:", "\ttitle:", ":2: expected YAML; found character"),
        ("title: Three", "title: !!python/name:os.system Three", ":2: expected YAML; could not determine"),
        ("seed: 1", "seed: " + "9" * 5000, "expected YAML, found a value that cannot be read"),
        ("seed: 1", "seed: !!int ''", "expected YAML, found a value that cannot be read"),
        ("seed: 1", "seed: 2001-99-99", "expected YAML, found a value that cannot be read"),
        ("Three", "\0", "expected YAML, found a value that cannot be read"),
        (FIGURE, "- 1\n", ":1: expected fields, as in 'name: value', found .1."),
        (FIGURE, "", "found None"),
        (FIGURE, "a: 1\n---\nb: 2\n", ":2: expected YAML; but found another document"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in FIGURE
    path = tmp_path / "figure.yaml"
    path.write_text(FIGURE.replace(old, new))
    with pytest.raises(ConfigurationError, match=message) as error:
        read_yaml(path, Configuration)
    assert str(error.value).startswith(f"{path}:")
    assert len(str(error.value).splitlines()) == 1
    assert len(str(error.value)) < len(str(path)) + 500


LETTERS = "abcdefghijklm"
BILLION = "a: &a [x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n" for before, name in pairwise(LETTERS)
)
MERGES = "a: &a {x: 1}\n" + "".join(
    f"{name}: &{name} {{<<: [{','.join([f'*{before}'] * 9)}]}}\n" for before, name in pairwise(LETTERS)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BILLION, ":2: expected YAML; found an alias"),
        (MERGES, ":2: expected YAML; found an alias"),
        ("a: &a [*a]", ":1: expected YAML; found an alias"),
        ("[" * 100_000, ":1: expected YAML; found more than 20 levels"),
        ("? " * 50_000, ":1: expected YAML; found more than 20 levels"),
        ("- " * 50_000, ":1: expected YAML; found more than 20 levels"),
        ("a: b\n" * 100_000, "expected a configuration of at most 262144 bytes"),
    ],
    ids=["aliases", "merges", "itself", "lists", "keys", "dashes", "long"],
)
def test_a_file_made_to_exhaust_the_machine_is_refused_at_once(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bomb.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        read_yaml(path, Configuration)


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="found no such file"):
        read_yaml(tmp_path / "none.yaml", Configuration)
    with pytest.raises(ConfigurationError, match="found a folder or a device"):
        read_yaml(tmp_path, Configuration)
    (tmp_path / "bytes.yaml").write_bytes(b"title: \xff")
    with pytest.raises(ConfigurationError, match="expected YAML in UTF-8"):
        read_yaml(tmp_path / "bytes.yaml", Configuration)

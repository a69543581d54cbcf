"""`reproduce verify`: what it prints and writes, what it keeps, and what it refuses."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_home import CHEAP, Outcome, Reproduce, add_network, tiny_weights

from reproduce.claims import read_claims
from reproduce.verifying.record import Finding, read_verdicts

#: Of files full of noise in the place of the paper's weights: one claim is borne out, the other is not measurable.
TWO = "equation-6,sharper"
#: None of these is, and nothing is computed.
NONE = "top-class-paper,sharper"

FILE = Path("results/verify.json")


@pytest.fixture
def verify(home: Path, reproduce: Reproduce) -> Reproduce:
    """Run `reproduce verify` on one photo at little cost, with networks made of noise; what is given goes first."""
    for seed, name in enumerate(("alexnet", "googlenet", "vgg16")):
        add_network(home, name, tiny_weights(seed))

    def run(*arguments: str | Path) -> Outcome:
        return reproduce("verify", *CHEAP, "--pool", home / "pool", "--photos", "cat", *arguments)

    return run


def written(path: Path = FILE) -> dict[str, Any]:
    return json.loads(path.read_text())


def verdicts(path: Path = FILE) -> dict[str, str]:
    return {claim["id"]: claim["verdict"] for claim in written(path)["claims"]}


def test_verdicts_are_printed_and_written_whatever_they_are(verify: Reproduce) -> None:
    outcome = verify("--claims", TWO)
    assert outcome.code == 0, outcome.err
    assert verdicts() == {"equation-6": "reproduced", "sharper": "not measurable here"}
    lines = outcome.out.splitlines()
    assert lines[-1] == "1 reproduced, 0 deviate, 1 not measurable here"
    assert max(map(len, lines)) <= 110
    rows = [line for line in lines if line.startswith(("equation-6", "sharper"))]
    assert [re.search(r"(reproduced|not measurable here)$", row)[1] for row in rows] == list(verdicts().values())
    assert "at most 1e-06" in rows[0]
    assert "as if its weights were random" in outcome.out
    assert "Claim 2 of 2, sharper: Conditional sampling gives sharper maps" in outcome.err


def test_the_file_says_all_that_is_needed_to_judge_and_to_do_it_again(verify: Reproduce, home: Path) -> None:
    verify("--claims", TWO)
    found = written()
    claim = found["claims"][0]
    assert set(claim) == set(Finding.model_fields) > {"id", "statement", "measured", "expected", "verdict"}
    assert claim["expected"] == {"relation": "at_most", "threshold": 1e-6, "tolerance": None}
    assert 0 <= claim["measured"]["value"] <= 1e-6
    assert claim["measured"]["low"] is None
    assert found["claims"][1]["measured"] is None
    assert found["header"]["provider"] == "cpu"
    assert found["header"]["settings"]["samples"] == 2
    assert [network["name"] for network in found["header"]["networks"]] == ["alexnet", "googlenet", "vgg16"]
    assert {len(network["sha256"]) for network in found["header"]["networks"]} == {64}
    assert found["header"]["versions"]["numpy"] == np.__version__


def test_the_command_in_the_file_does_it_again(verify: Reproduce, reproduce: Reproduce) -> None:
    verify("--claims", TWO, "--seed", "3", "--out", "else where", "--threads", "1")
    path = Path("else where/verify.json")
    before = written(path)
    program, *arguments = shlex.split(before["claims"][0]["rerun"])
    assert program == "reproduce"
    assert reproduce(*arguments).code == 0
    assert written(path) == before
    assert before["header"]["seeds"] == [3, 4]


def test_the_same_verification_gives_the_same_file(verify: Reproduce) -> None:
    verify("--claims", TWO)
    before = FILE.read_bytes()
    verify("--claims", TWO)
    assert FILE.read_bytes() == before


def test_other_claims_keep_their_verdicts_in_the_order_of_the_list(verify: Reproduce) -> None:
    verify("--claims", "sharper,top-class-paper")
    before = {claim["id"]: claim for claim in written()["claims"]}
    verify("--claims", "equation-6 sharper")
    after = {claim["id"]: claim for claim in written()["claims"]}
    assert list(after) == ["top-class-paper", "equation-6", "sharper"]
    assert {name: after[name] for name in before} == before


def test_verdicts_with_other_settings_do_not_stand_side_by_side(verify: Reproduce) -> None:
    verify("--claims", "sharper")
    before = FILE.read_bytes()
    error = verify("--claims", "top-class-paper", "--samples", "3").error
    assert error.startswith(f"{FILE}: expected verdicts on the same networks and photos with the same settings")
    assert FILE.read_bytes() == before
    assert verify("--claims", "top-class-paper", "--samples", "3", "--force").code == 0
    assert list(verdicts()) == ["top-class-paper"]


def contradictory(text: str) -> str:
    """Claims that could not be measured are called reproduced, by hand."""
    return text.replace("not measurable here", "reproduced")


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: re.sub('"threshold": [^,]*', '"threshold": NaN', text, count=1),
        lambda text: text.replace('"seeds"', '"seads"', 1),
        lambda text: text.replace("prediction-difference claims 2", "prediction-difference claims 9"),
        lambda text: "[" * 100_000,
        contradictory,
    ],
    ids=["torn", "empty", "not a number", "misspelt", "of another version", "deep", "contradictory"],
)
def test_a_damaged_file_is_named_and_replaced_only_if_the_user_says_so(
    verify: Reproduce, damage: Callable[[str], str]
) -> None:
    verify("--claims", NONE)
    intact = FILE.read_text()
    FILE.write_text(damage(intact))
    damaged = FILE.read_bytes()
    assert damaged != intact.encode()
    for claims in (("--claims", "sharper"), ()):
        error = verify(*claims).error
        assert error.startswith(f"{FILE}: expected verdicts of `reproduce verify`")
        assert "--force" in error
        assert FILE.read_bytes() == damaged
    outcome = verify("--claims", "sharper", "--force")
    assert outcome.code == 0
    assert "it is replaced" in outcome.err
    assert verdicts() == {"sharper": "not measurable here"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--claims", "sharpr"), "found 'sharpr' (did you mean 'sharper'"),
        (("--claims", ","), "expected at least one name"),
        (("--networks", "alexnett"), "did you mean 'alexnet'"),
        (("--networks", "nowhere.onnx"), "nowhere.onnx"),
        (("--photos", "chelsee"), "did you mean 'chelsea'"),
        (("--imagenet", "nowhere"), "nowhere"),
        (("--references", "nowhere"), "references: expected a folder of published outputs"),
        (("--k", "33"), "k"),
        (("--l", "5"), "l > k"),
        (("--pool", "nowhere"), "nowhere"),
        (("--precision", "tf32"), "TF32"),
        (("--seed", "-1"), "seed"),
        (("--seed", str(2**64 - 1)), "seed"),
    ],
)
def test_what_is_wrong_with_the_request_ends_in_one_line_before_anything_is_measured(
    verify: Reproduce, arguments: tuple[str, ...], message: str
) -> None:
    assert message in verify("--claims", "top-class-paper", *arguments).error
    assert not FILE.exists()


def test_all_claims_are_known_to_the_command(verify: Reproduce) -> None:
    ids = [claim.id for claim in read_claims().claims if claim.check not in ("time", "equation6")]
    outcome = verify("--claims", ",".join(ids))
    assert outcome.code == 0
    assert outcome.out.splitlines()[-1] == f"0 reproduced, 0 deviate, {len(ids)} not measurable here"
    assert max(map(len, outcome.out.splitlines())) <= 110
    assert [finding.id for finding in read_verdicts(FILE).claims] == ids

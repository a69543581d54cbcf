"""What the authors' code cannot compute is refused for every figure before anything is computed or fitted."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_home import CHEAP, Reproduce

from predict_diff.authors_code import Faults
from predict_diff.errors import ConfigurationError
from predict_diff.network.network import Network
from predict_diff.targets import Target
from reproduce import networks
from reproduce.faults import refuse_impossible

PROBABILITY, UNIT, MAP = Target("prob", (0,)), Target("fc", (0,)), Target("conv1", (2,))


@pytest.fixture
def network(home: Path) -> Network:
    return Network(networks.onnx_path("tiny"), "cpu")


@pytest.mark.parametrize("targets", [(UNIT,), (PROBABILITY, UNIT), (MAP,), (PROBABILITY, MAP)])
def test_weight_of_evidence_of_what_is_no_probability_is_refused(network: Network, targets: tuple[Target, ...]) -> None:
    words = f"target {targets[-1]}: weight of evidence needs a probability, .* fault evidence_by_position off"
    with pytest.raises(ConfigurationError, match=words):
        refuse_impossible(Faults(evidence_by_position=True), network, targets, 10, 2)
    refuse_impossible(Faults(), network, targets, 10, 2)


@pytest.mark.parametrize("targets", [(PROBABILITY,), (UNIT, PROBABILITY), (MAP, UNIT, PROBABILITY)])
def test_a_probability_that_stands_last_is_possible(network: Network, targets: tuple[Target, ...]) -> None:
    refuse_impossible(Faults(evidence_by_position=True), network, targets, 10, 2)


def test_each_of_the_other_faults_has_its_own_refusal(network: Network) -> None:
    with pytest.raises(ConfigurationError, match="target conv1:2: the authors' code cannot average over a feature map"):
        refuse_impossible(Faults(no_feature_maps=True), network, (PROBABILITY, MAP), 10, 2)
    with pytest.raises(ConfigurationError, match="expected at most 128, found 129"):
        refuse_impossible(Faults(stale_window=True), network, (PROBABILITY,), 10, 129)
    refuse_impossible(Faults(), network, (MAP,), 10, 129)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("figure3 --set k=4", "weight of evidence needs a probability"),
        ("figure5 --set maps=[0]", "cannot average over a feature map"),
        ("figure6 --set maps=[0]", "cannot average over a feature map"),
        ("figure6 --set maps=[0] --faults evidence_by_position", "weight of evidence needs a probability"),
        ("figure1 --samples 129", "expected at most 128, found 129"),
    ],
)
def test_no_figure_begins_what_the_authors_code_cannot_end(
    reproduce: Reproduce, home: Path, arguments: str, words: str
) -> None:
    name, *rest = arguments.split()
    cheap = CHEAP if not name.startswith("figure3") else ("--stride", "8", "--samples", "2", "--provider", "cpu")
    few = ("--networks", "tiny", "--photos", "cat", "--pool", home / "pool", *cheap)
    assert words in reproduce(name, *few, "--variant", "authors_code", *rest).error
    assert not Path("results").exists()


def test_nothing_is_deleted_before_it_is_refused(explain: Reproduce) -> None:
    targets = ("--variant", "authors_code", "--sampler", "marginal", "--target", "prob:0")
    assert explain(*targets).code == 0
    (stored,) = Path("results/maps").iterdir()
    stored.write_bytes(b"damaged")
    assert explain(*targets, "--samples", "129", "--force").error
    assert explain(*targets, "--target", "fc:0", "--force").error
    assert stored.read_bytes() == b"damaged"

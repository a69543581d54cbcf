"""Maps divided among processes: the same maps, each computed by one of them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from tiny_home import CHEAP, Reproduce, maps

from predict_diff.errors import ConfigurationError
from reproduce import gpus
from reproduce.classifier import Engine
from reproduce.config import check_gpus
from reproduce.figures.make import photo_subjects
from reproduce.request import Request
from reproduce.subject import Choices

pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.mark.slow
def test_two_processes_compute_the_maps_of_one(explain: Reproduce, home: Path) -> None:
    assert explain("--out", "one").code == 0
    changes = {"k": 6, "l": 8, "stride": 6, "samples": 2}
    requests = [
        Request(Choices(Path("two"), str(home / "pool")), profile="quick", engine=Engine("cpu", 1), changes=changes)
        for _ in range(2)
    ]
    build = partial(photo_subjects, "cat", "tiny", None, ["top"], ("marginal", "conditional"))
    gpus.compute_in_processes(build, requests)
    # The children fit the Gaussian on all patches, not on the few of this test: only the marginal maps are alike.
    np.testing.assert_allclose(maps("two")["marginal"].maps, maps("one")["marginal"].maps, rtol=0, atol=1e-5)
    assert set(maps("two")) == {"marginal", "conditional"}


def test_with_one_gpu_no_process_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "compute_in_processes", lambda *arguments: pytest.fail("started"))
    for numbers in ((), (1,)):
        gpus.compute_on_gpus(lambda request: [], Request(Choices(Path("out")), gpus=numbers))


def test_each_process_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Request] = []
    monkeypatch.setattr(gpus, "compute_in_processes", lambda build, requests: seen.extend(requests))
    gpus.compute_on_gpus(lambda request: [], Request(Choices(Path("out")), gpus=(0, 3)))
    assert [request.engine.device for request in seen] == [0, 3]
    assert [request.gpus for request in seen] == [(), ()]


@pytest.mark.parametrize("named", [["a"], ["0", "0"], ["-1"], ["1.5"], ["99999"]])
def test_what_is_no_list_of_gpus_is_refused(named: list[str]) -> None:
    with pytest.raises(ConfigurationError, match="gpus: expected different numbers such as 0,1, found"):
        check_gpus(named, "auto")


def test_gpus_and_the_cpu_contradict_each_other(reproduce: Reproduce, home: Path) -> None:
    outcome = reproduce("explain", "cat", "--network", "tiny", *CHEAP, "--pool", home / "pool", "--gpus", "0,1")
    assert outcome.error.startswith("gpus: expected none with --provider cpu")

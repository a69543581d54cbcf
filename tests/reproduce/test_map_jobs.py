"""Maps as orders: a process keeps what it has opened from one to the next, and the maps do not show it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_home import Reproduce, add_network, noise, tiny_weights

from predict_diff.network.choosing import choose_evaluator
from predict_diff.result import RelevanceMap
from reproduce import jobs, subject
from reproduce.classifier import Engine
from reproduce.config import settings
from reproduce.jobs import MapJob
from reproduce.subject import Choices


def test_one_evaluator_does_for_photos_of_different_classes(
    reproduce: Reproduce, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[object] = []

    def counted(*arguments: object) -> object:
        built.append(arguments)
        return choose_evaluator(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(subject, "choose_evaluator", counted)
    chosen = settings("paper", "quick").model_copy(update={"k": 5, "l": 9, "stride": 4, "samples": 2, "patches": 1000})

    def maps(out: str, fresh: bool) -> list[RelevanceMap]:
        monkeypatch.setattr(jobs, "_workshop", jobs._Workshop())
        found = []
        for number in range(8):
            photo = tmp_path / f"{number}.png"
            Image.fromarray(noise(number)).save(photo)
            if fresh:
                monkeypatch.setattr(jobs, "_workshop", jobs._Workshop())
            found.append(
                MapJob(
                    str(photo), "tiny", None, ("top",), "marginal", chosen,
                    Choices(tmp_path / out, str(home / "pool")), Engine("cpu", 1), str(home),
                ).run()
            )  # fmt: skip
        return found

    kept = maps("kept", fresh=False)
    assert len(built) == 1
    assert len({found.targets for found in kept}) > 1
    for one, other in zip(kept, maps("fresh", fresh=True), strict=True):
        assert one.targets == other.targets
        np.testing.assert_array_equal(one.maps, other.maps)
    assert len(built) == 1 + 8


def test_a_process_that_stays_does_not_take_an_edited_card_for_the_old_one(
    reproduce: Reproduce, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = tiny_job(home, tmp_path, monkeypatch)
    before = job.run()
    card = home / "models" / "tiny" / "model.yaml"
    card.write_text(card.read_text().replace("- 100.0", "- 90.25"))
    after = job.run()
    assert before.provenance["identity"]["preprocessing"]["mean"][0] == 100.0
    assert after.provenance["identity"]["preprocessing"]["mean"][0] == 90.25
    assert not np.array_equal(before.relevance, after.relevance)


def test_a_process_that_stays_notices_that_the_pool_has_changed(
    reproduce: Reproduce, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = tiny_job(home, tmp_path, monkeypatch)
    before = job.run()
    Image.fromarray(noise(500)).save(home / "pool" / "12.png")
    after = job.run()
    assert before.provenance["identity"]["pool"] != after.provenance["identity"]["pool"]


def test_networks_of_one_name_in_two_homes_are_two(
    reproduce: Reproduce, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = tiny_job(home, tmp_path, monkeypatch)
    other = tmp_path / "other_home"
    (other / "data").mkdir(parents=True)
    for name in ("photos.yaml", "tiny_labels.txt"):
        (other / "data" / name).write_bytes((home / "data" / name).read_bytes())
    add_network(other, "tiny", tiny_weights(5))
    one = job.run()
    two = dataclasses.replace(job, home=str(other)).run()
    assert one.provenance["network"]["sha256"] != two.provenance["network"]["sha256"]
    assert not np.array_equal(one.known, two.known)


def tiny_job(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MapJob:
    """An order for one map, in a process that has kept nothing yet."""
    monkeypatch.setattr(jobs, "_workshop", jobs._Workshop())
    chosen = settings("paper", "quick").model_copy(update={"k": 5, "l": 9, "stride": 5, "samples": 2})
    choices = Choices(tmp_path / "out", str(home / "pool"))
    return MapJob(
        str(home / "pool" / "00.png"), "tiny", None, ("prob:1",), "marginal", chosen, choices, Engine("cpu", 1),
        str(home),
    )  # fmt: skip

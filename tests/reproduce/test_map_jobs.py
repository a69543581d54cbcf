"""Maps as orders: a process keeps what it has opened from one to the next, and the maps do not show it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import Reproduce, noise
from PIL import Image

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

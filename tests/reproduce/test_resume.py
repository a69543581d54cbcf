"""Commands that are stopped, and started again: they go on where they were, or say what has changed."""

from __future__ import annotations

import os
import platform
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from interrupted_command import LOG, SAMPLES
from interruptions import COUNT, RAISED, SEED, Ending, Processes
from PIL import Image
from tiny_home import PROJECT, Outcome, Reproduce, add_network, maps, noise, tiny_weights

from predict_diff import result
from predict_diff.errors import ResultError
from predict_diff.journal_progress import look
from predict_diff.network import minibatch
from predict_diff.network.incremental import IncrementalEvaluator
from predict_diff.network.minibatch import MiniBatchEvaluator
from predict_diff.result import RelevanceMap
from reproduce import networks

#: What tests at any time do of what `make chaos` does `COUNT` times.
SAMPLE = 2

#: 36 windows, in nine parts; the settings of the fixture `explain`.
WINDOWS, PART, CHEAP = 36, 4, ("--k", "6", "--l", "8", "--samples", f"{SAMPLES}", "--provider", "cpu", "--threads", "1")
INTERRUPTED = (
    "reproduce: interrupted; what was complete is kept, nothing is half-written; the same command goes on from there"
)


def arrays(found: RelevanceMap) -> list[bytes]:
    names = ("known", "expected", "relevance", "standard_error", "counts", "maps", "map_errors")
    return [getattr(found, name).tobytes() for name in names]


def expect_the_same(found: dict[str, RelevanceMap], whole: dict[str, RelevanceMap]) -> None:
    """Bit-identical maps, which say the same of how they were made, but for times and processes."""
    assert found.keys() == whole.keys()
    for sampler, relevance in found.items():
        assert arrays(relevance) == arrays(whole[sampler])
        said, expected = (
            {name: entry for name, entry in each.provenance.items() if name not in ("seconds", "processes")}
            for each in (relevance, whole[sampler])
        )
        assert said == expected


# --- stopped in the middle, in this process -------------------------------------------------------------------------


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch, no_pictures: None) -> None:
    monkeypatch.setattr(minibatch, "_SAMPLES_AT_ONCE", PART * SAMPLES)


Stop = Callable[..., Outcome]


@pytest.fixture
def stop(explain: Reproduce, small_parts: None) -> Stop:
    """`explain`, with one sampler, stopped before a part is evaluated: by default the fourth."""

    def stopped(*arguments: str, parts: int = 3) -> Outcome:
        left = parts
        with pytest.MonkeyPatch.context() as patch:
            for kind in (MiniBatchEvaluator, IncrementalEvaluator):

                def evaluate(evaluator: Any, x: Any, windows: Any, patches: Any, whole: Any = kind.evaluate) -> Any:
                    nonlocal left
                    if patches.shape[1] == SAMPLES:
                        if left == 0:
                            raise KeyboardInterrupt
                        left -= 1
                    return whole(evaluator, x, windows, patches)

                patch.setattr(kind, "evaluate", evaluate)
            found = explain("--sampler", "marginal", "--batch-size", "4", *arguments)
        assert found.code == 2
        assert found.err.splitlines()[-1] == INTERRUPTED
        return found

    return stopped


@pytest.fixture
def again(explain: Reproduce) -> Reproduce:
    """The command that `stop` stops, to its end."""
    return lambda *arguments: explain("--sampler", "marginal", *arguments)


def journal(out: str = "results") -> Path:
    (found,) = Path(out, "parts").iterdir()
    return found


def test_the_same_command_goes_on_to_the_same_map(stop: Stop, again: Reproduce) -> None:
    assert again("--batch-size", "4", "--out", "whole").code == 0
    for parts in (3, 2, 0, 1):
        stop(parts=parts)
    assert look(journal()).done == 6 * PART
    outcome = again("--batch-size", "4")
    assert outcome.code == 0
    assert f"goes on from window {6 * PART} of {WINDOWS}." in outcome.err
    expect_the_same(maps(), maps("whole"))
    assert maps()["marginal"].provenance["processes"] == 4
    assert maps("whole")["marginal"].provenance["processes"] == 1
    assert not list(Path("results/parts").iterdir())


def test_with_a_preview_it_goes_on_too(stop: Stop, again: Reproduce) -> None:
    fine = ("--stride", "3", "--batch-size", "4", "--preview")
    assert again(*fine, "--out", "whole").code == 0
    # In the coarse map, and then in the fine one.
    stop(*fine)
    assert look(journal()).total == WINDOWS
    stop(*fine, parts=10)
    found = look(journal())
    assert found.total == 100
    assert WINDOWS < found.done < 100
    assert again(*fine).code == 0
    for path in Path("whole/maps").iterdir():
        assert arrays(RelevanceMap.load(path)) == arrays(RelevanceMap.load(Path("results/maps", path.name)))


def test_with_all_faults_of_the_authors_code_it_goes_on_before_the_second_draw(stop: Stop, again: Reproduce) -> None:
    # With as many samples as a batch holds photos, a window comes twice; here with two.
    fault = ("--variant", "authors_code", "--stride", "2", "--batch-size", "4")
    assert again(*fault, "--out", "whole").code == 0
    whole = maps("whole")["marginal"]
    assert whole.counts.max() == 2
    stop(*fault, parts=-(-len(whole.grid) // PART))
    assert look(journal()).done == len(whole.grid)
    assert again(*fault).code == 0
    expect_the_same(maps(), maps("whole"))


def test_many_targets_go_on(stop: Stop, again: Reproduce) -> None:
    several = ("--target", "conv1:2", "--target", "fc:1", "--target", "top", "--batch-size", "4")
    assert again(*several, "--out", "whole").code == 0
    stop(*several)
    assert again(*several).code == 0
    assert len(maps()["marginal"].targets) == 3
    expect_the_same(maps(), maps("whole"))


@pytest.mark.parametrize(
    ("arguments", "difference"),
    [
        ("--seed 1", "settings.seed: 1, there 0"),
        ("--stride 5", "settings.stride: 5, there 6"),
        ("--l 9", "settings.l: 9, there 8"),
        ("--target fc:1", r"targets: \['fc:1'\], there \['prob:\d'\]"),
    ],
)
def test_with_another_configuration_it_is_named_and_left_as_it_is(
    stop: Stop, again: Reproduce, arguments: str, difference: str
) -> None:
    stop()
    path = journal()
    before = path.read_bytes()
    outcome = again(*arguments.split())
    assert outcome.code == 0
    said = rf"{path}: a run of another configuration was stopped \({difference}\); it is left as it is\."
    assert [line for line in outcome.err.splitlines() if re.fullmatch(said, line)]
    assert path.read_bytes() == before
    outcome = again()
    assert outcome.code == 0
    assert f"goes on from window {3 * PART} of {WINDOWS}." in outcome.err
    assert len(list(Path("results/maps").iterdir())) == 2


def test_with_another_photo_under_the_same_name_it_is_named_and_left_as_it_is(
    stop: Stop, again: Reproduce, home: Path
) -> None:
    stop()
    before = journal().read_bytes()
    Image.fromarray(noise(3)).save(home / "data" / "photos" / "cat.png")
    outcome = again()
    assert outcome.code == 0
    assert re.search(r"a run of another configuration was stopped \(photo: \w+\.\.\., there \w+\.\.\.\)", outcome.err)
    assert journal().read_bytes() == before


def test_with_other_weights_under_the_same_name_it_is_named_and_left_as_it_is(
    stop: Stop, again: Reproduce, home: Path
) -> None:
    stop()
    before = journal().read_bytes()
    shutil.rmtree(home / "models" / "tiny")
    add_network(home, "tiny", tiny_weights(seed=1))
    networks._card.cache_clear()  # as in a new process
    outcome = again()
    assert outcome.code == 0, outcome.err
    assert re.search(r"a run of another configuration was stopped \(network: \w+\.\.\., there \w+\.\.\.\)", outcome.err)
    assert journal().read_bytes() == before


@pytest.mark.parametrize("library", ["numpy", "onnxruntime"])
def test_with_another_version_it_is_refused_and_by_force_begun_anew(
    stop: Stop, again: Reproduce, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    stop()
    path = journal()
    before, installed = path.read_bytes(), result.versions()
    library = next(name for name in (library, f"{library}-gpu") if name in installed)
    monkeypatch.setattr(result, "_versions", lambda: {**installed, library: "0.1"})
    error = again().error
    assert error.startswith(f"{path}: expected a run of the installed versions, found one of others")
    assert f"({library}: 0.1, there {installed[library]})" in error
    assert path.read_bytes() == before
    outcome = again("--force")
    assert outcome.code == 0
    assert "it is begun anew" in outcome.err
    assert "goes on" not in outcome.err
    found = maps()["marginal"].provenance
    assert (found["versions"][library], found["processes"]) == ("0.1", 1)


def test_other_versions_that_move_no_number_are_no_hindrance(
    stop: Stop, again: Reproduce, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop()
    installed = result.versions()
    monkeypatch.setattr(result, "_versions", lambda: {**installed, "onnx": "0.1"})
    assert f"goes on from window {3 * PART} of {WINDOWS}." in again().err


@pytest.mark.parametrize(
    ("option", "other", "had"),
    [("--batch-size", "3", "4"), ("--evaluator", "incremental", "MiniBatchEvaluator")],
)
def test_other_batches_are_refused_and_by_force_begun_anew(
    stop: Stop, again: Reproduce, option: str, other: str, had: str
) -> None:
    stop("--evaluator", "minibatch")
    path = journal()
    before = path.read_bytes()
    error = again(option, other).error
    assert error.startswith(f"{option}: expected {had}, with which {path} was begun, found ")
    assert path.read_bytes() == before
    outcome = again(option, other, "--force")
    assert outcome.code == 0
    assert "it is begun anew" in outcome.err
    assert maps()["marginal"].provenance["processes"] == 1


def test_without_a_word_of_batches_it_goes_on_with_those_it_was_begun_with(stop: Stop, again: Reproduce) -> None:
    assert again("--batch-size", "4", "--evaluator", "incremental", "--out", "whole").code == 0
    stop("--evaluator", "incremental")
    assert again().code == 0
    expect_the_same(maps(), maps("whole"))


# --- damaged, in the way, without a place ---------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_truncated_journal_costs_what_was_lost(stop: Stop, again: Reproduce, share: float) -> None:
    assert again("--batch-size", "4", "--out", "whole").code == 0
    stop(parts=6)
    content = journal().read_bytes()
    journal().write_bytes(content[: int(share * len(content))])
    outcome = again("--batch-size", "4")
    assert outcome.code == 0
    assert "Traceback" not in outcome.err
    expect_the_same(maps(), maps("whole"))


@pytest.mark.parametrize("content", [b"my notes\n", b"\x89HDF\r\n\x1a\n" + bytes(9000)])
def test_another_file_in_its_place_is_refused_and_left_as_it_is(stop: Stop, again: Reproduce, content: bytes) -> None:
    stop()
    path = journal()
    path.write_bytes(content)
    for arguments in ((), ("--force",)):
        assert again(*arguments).error == (f"{path}: expected a journal of a map, found another file; move it away")
        assert path.read_bytes() == content


def test_a_file_in_place_of_its_folder_is_named(again: Reproduce) -> None:
    Path("results").mkdir()
    Path("results/parts").write_text("a file")
    error = again().error
    assert error.startswith("results/parts")
    assert not list(Path("results").rglob("*.h5"))


# --- real processes -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    folder = tmp_path_factory.mktemp("processes")
    with Processes("interrupted_command:reproduce", [Path(__file__).parent, PROJECT], folder) as found:
        yield found


class Runs:
    """`reproduce explain` in processes of its own, each in a folder."""

    def __init__(self, processes: Processes, home: Path, folder: Path) -> None:
        self.processes, self.home, self.folder = processes, home, folder
        self.stopped = 0
        self.in_flight = 0
        self.where: Counter[str] = Counter()

    def keywords(self, place: Path, pause: float, *arguments: str) -> dict[str, Any]:
        command = ["explain", "cat", "--network", "tiny", *CHEAP, "--pool", str(self.home / "pool"), *arguments]
        return {"folder": str(place), "home": str(self.home), "arguments": command, "pause": pause}

    def whole(self, name: str, *arguments: str) -> Path:
        place = self.folder / name
        place.mkdir()
        ending = self.processes.run(**self.keywords(place, 0.0, *arguments))
        assert ending.code == 0, ending.err
        return place

    def stop_and_go_on(self, place: Path, number: int, chance: random.Random, longest: float, *arguments: str) -> None:
        """Stop it with a signal at random moments, and start it again, until it comes to its end."""
        place.mkdir()
        stopped: list[int] = []
        while True:
            process = self.processes.start(**self.keywords(place, 0.005, *arguments))
            if len(stopped) < 5:
                time.sleep(chance.uniform(0, longest))
                process.send(number)
            ending = process.wait()
            if ending.code == 0:
                break
            stopped.append(process.pid)
            self._look_at(place, ending, number)
        # Journal and temporary files are gone, and no window was computed twice that was not in flight.
        left = sorted(path.name for path in (place / "results").rglob("*") if path.suffix in (".part", ".h5"))
        assert [name for name in left if name.endswith(".part") and number != signal.SIGKILL] == []
        lines = [line.split() for line in (place / LOG).read_text().splitlines()]
        evaluated = Counter(window for _, *windows in lines for window in windows)
        in_flight = Counter(w for windows in {p: ws for p, *ws in lines if int(p) in stopped}.values() for w in windows)
        assert set((evaluated - in_flight).values()) <= {1}
        self.in_flight += sum(evaluated.values()) - len(evaluated)

    def _look_at(self, place: Path, ending: Ending, number: int) -> None:
        """One line, exit code 2, and nothing half-written; unless it was killed."""
        self.stopped += 1
        if number == signal.SIGKILL:
            assert ending.signal == signal.SIGKILL
        elif ending.signal == number or ending.code == RAISED:
            # Before the command line has looked to its signals, there is nothing that it could have written.
            assert not ending.out
            assert ending.signal or ending.err.rstrip().endswith("KeyboardInterrupt")
        else:
            assert ending.code == 2, ending
            assert ending.err.splitlines()[-1] == INTERRUPTED
            assert ending.err.count("reproduce: ") == 1
            assert "Traceback" not in ending.err
            assert not list(place.rglob("*.part"))
        for path in (place / "results").glob("maps/*.h5"):
            RelevanceMap.load(path)
        begun = list((place / "results").glob("parts/*.h5"))
        for path in begun:
            if path.stat().st_size == 0:
                continue  # it was just to be begun
            with suppress(ResultError) if number == signal.SIGKILL else nullcontext():  # then it is begun anew
                assert not look(path).running
        self.where["with a journal" if begun else "without a journal"] += 1

    def __str__(self) -> str:
        where = ", ".join(f"{count} {what}" for what, count in self.where.items())
        return f"{self.stopped} processes stopped ({where}), {self.in_flight} windows computed twice, all in flight"


@pytest.fixture
def runs(processes: Processes, home: Path, tmp_path: Path) -> Runs:
    return Runs(processes, home, tmp_path)


SAMPLER = ("--sampler", "marginal", "--batch-size", "4")
COMMANDS = {
    "plain": (*SAMPLER, "--stride", "6"),
    "preview": (*SAMPLER, "--stride", "3", "--preview"),
    "conditional": ("--sampler", "conditional", "--batch-size", "4", "--stride", "6"),
}


def stop_many(runs: Runs, number: int, count: int, seed: str) -> Runs:
    chance = random.Random(seed)
    takes, whole = {}, {}
    for name, arguments in COMMANDS.items():
        began = time.monotonic()
        whole[name] = maps_of(runs.whole(name, *arguments))
        takes[name] = time.monotonic() - began + 0.005 * (25 if name == "preview" else 9)
    complete = 0
    for _ in range(10 * count):
        if complete == count:
            break
        name = chance.choice(list(COMMANDS))
        place, before = runs.folder / "run", runs.stopped
        runs.stop_and_go_on(place, number, chance, takes[name], *COMMANDS[name])
        found = maps_of(place)
        assert found.keys() == whole[name].keys()
        assert all(arrays(found[file]) == arrays(whole[name][file]) for file in found)
        shutil.rmtree(place)
        complete += runs.stopped > before
    assert complete == count, "too few are stopped before they end by themselves"
    return runs


def maps_of(place: Path) -> dict[str, RelevanceMap]:
    return {path.name: RelevanceMap.load(path) for path in (place / "results" / "maps").glob("*.h5")}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_stopped_by_a_signal_at_random_moments_it_goes_on_to_the_same_maps(runs: Runs, number: signal.Signals) -> None:
    stop_many(runs, number, SAMPLE, number.name)


@pytest.mark.chaos
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_many_stopped_by_a_signal_go_on_to_the_same_maps(
    runs: Runs, number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    stop_many(runs, number, COUNT, f"{number.name} {SEED}")
    with capsys.disabled():
        print(f"\nseed {SEED}, {number.name} to the command line: {COUNT} maps, all bit-identical; {runs}")


def test_of_some_started_together_one_computes_and_the_others_say_which(runs: Runs) -> None:
    whole = maps_of(runs.whole("whole", *COMMANDS["plain"]))
    place = runs.folder / "together"
    place.mkdir()
    begun = [runs.processes.start(**runs.keywords(place, 0.2, *COMMANDS["plain"])) for _ in range(5)]
    endings = {process.pid: process.wait() for process in begun}
    (first,) = [pid for pid, ending in endings.items() if ending.code == 0]
    (path,) = whole
    said = (
        rf"reproduce: results/parts/{re.escape(path)}: expected to be the only one that computes this map, found "
        rf"process {first} on {re.escape(platform.node())} since [-0-9]+ [:0-9]+ at it; wait for its end, or stop it"
    )
    for pid, ending in endings.items():
        if pid != first:
            assert ending.code == 2
            assert re.fullmatch(said, ending.err.splitlines()[-1])
            assert ending.err.count("reproduce: ") == 1
    found = maps_of(place)
    assert arrays(found[path]) == arrays(whole[path])
    assert {line.split()[0] for line in (place / LOG).read_text().splitlines()} == {str(first)}


@pytest.mark.slow
def test_python_m_reproduce_stopped_by_signals_goes_on_to_the_same_map(home: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "reproduce", "explain", "cat", "--network", "tiny", "--k", "6", "--l", "8"]
    command += ["--stride", "2", "--samples", "1000", "--sampler", "conditional", "--provider", "cpu", "--threads", "1"]
    command += ["--pool", str(home / "pool"), "--out"]
    options: dict[str, Any] = {"cwd": tmp_path, "env": {**os.environ, "PYTHONPATH": str(PROJECT)}, "text": True}
    subprocess.run([*command, "whole"], check=True, capture_output=True, **options)
    done: dict[int, bytes] = {}
    for number in (signal.SIGTERM, signal.SIGINT):
        with subprocess.Popen(
            [*command, "results"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=_listen,
            **options,
        ) as process:
            path = _journal_with(tmp_path / "results", 10 + len(done), process)
            process.send_signal(number)
            out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (2, "")
        assert err.splitlines()[-1] == INTERRUPTED
        assert "Traceback" not in err
        assert not done or f"goes on from window {len(done)} of 196." in err
        assert not list((tmp_path / "results").rglob("*.part"))
        # What was there is there as it was: it was not computed again.
        now = _commits(path)
        assert {part: now[part] for part in done} == done
        assert len(now) > len(done)
        done = now
    last = subprocess.run([*command, "results"], check=True, capture_output=True, **options)
    assert f"goes on from window {len(done)} of 196." in last.stderr
    expect_the_same(maps(tmp_path / "results"), maps(tmp_path / "whole"))
    assert maps(tmp_path / "results")["conditional"].provenance["processes"] == 3
    assert not list((tmp_path / "results" / "parts").iterdir())


def _listen() -> None:
    """What is ignored here, as in the background of a shell, would be ignored there."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


def _journal_with(out: Path, windows: int, process: subprocess.Popen[str]) -> Path:
    """Wait until a journal has so many windows."""
    while process.poll() is None:
        for path in out.glob("parts/*.h5"):
            with suppress(ResultError):  # while it is being begun
                if look(path).done >= windows:
                    return path
        time.sleep(0.01)
    raise AssertionError(process.communicate())


def _commits(path: Path) -> dict[int, bytes]:
    """The records of the parts that are there, by plain h5py; with so many samples a part is one window."""
    with h5py.File(path) as stored:
        return {int(part): stored["commits"][part].tobytes() for part in np.flatnonzero(stored["commits"]["time"])}

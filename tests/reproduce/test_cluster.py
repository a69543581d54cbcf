"""Maps from the workers of a Dask cluster: the same numbers, whatever happens to workers and scheduler."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("distributed")

from stub_jobs import StubJob, stub_values
from tiny_home import Reproduce, maps

from predict_diff.errors import ConfigurationError, ImageError, NetworkError, PredictDiffError
from predict_diff.journal import open_journal
from predict_diff.result import RelevanceMap
from reproduce import cluster, workers
from reproduce.cluster import compute_on_cluster
from reproduce.jobs import Job
from reproduce.workers import Workers, local_workers, open_workers


@pytest.fixture(scope="module")
def two() -> Iterator[Workers]:
    with open_workers("local:2") as opened:
        yield opened


def compute(crew: Workers, jobs: list[StubJob], out: Path) -> dict[str, Path | PredictDiffError]:
    ends: dict[str, Path | PredictDiffError] = {}

    def ended(job: Job, how: Path | PredictDiffError) -> None:
        ends[job.name] = how

    compute_on_cluster(crew, jobs, out, ended)
    return ends


def assert_right(path: Path, number: int) -> None:
    found = RelevanceMap.load(path)
    expected = stub_values(number, np.arange(len(found.grid)))
    np.testing.assert_array_equal([found.expected[0], found.relevance[0], found.standard_error[0]], expected[:, :, 0].T)


def windows_computed(log: Path) -> Counter[tuple[str, ...]]:
    return Counter(tuple(line.split()[:2]) for line in log.read_text().splitlines())


def test_every_map_is_computed_once(two: Workers, tmp_path: Path) -> None:
    log = tmp_path / "log"
    ends = compute(two, [StubJob(number, log) for number in range(20)], tmp_path)
    for number in range(20):
        assert_right(Path(str(ends[f"stub {number}"])), number)
    computed = windows_computed(log)
    assert len(computed) == 20 * 36
    assert set(computed.values()) == {1}
    assert not list((tmp_path / "parts").iterdir())


def test_maps_that_are_there_are_not_computed_again(two: Workers, tmp_path: Path) -> None:
    compute(two, [StubJob(0)], tmp_path)
    log = tmp_path / "log"
    ends = compute(two, [StubJob(0, log), StubJob(1, log)], tmp_path)
    assert {number for number, _ in windows_computed(log)} == {"1"}
    assert ends["stub 0"] == tmp_path / "maps" / "stub-0.h5"


def test_a_map_that_is_asked_for_twice_is_computed_once(two: Workers, tmp_path: Path) -> None:
    log = tmp_path / "log"
    seen = []
    jobs = [StubJob(0, log), StubJob(0, log), StubJob(0, log)]
    compute_on_cluster(two, jobs, tmp_path, lambda job, how: seen.append(how))
    assert seen == [tmp_path / "maps" / "stub-0.h5"] * 3
    assert set(windows_computed(log).values()) == {1}


def test_what_was_stopped_goes_on_on_the_cluster(two: Workers, tmp_path: Path) -> None:
    job, log = StubJob(3), tmp_path / "log"
    with open_journal(tmp_path / "parts" / "stub-3.h5", job.plan()) as journal:
        for part in (0, 1, 5):
            journal.write(part, stub_values(3, job.plan().windows(part)), 0.0)
    ends = compute(two, [StubJob(3, log)], tmp_path)
    assert_right(Path(str(ends["stub 3"])), 3)
    assert len(windows_computed(log)) == 36 - 12


def test_one_bad_job_does_not_disturb_the_others(two: Workers, tmp_path: Path) -> None:
    ends = compute(two, [StubJob(0), StubJob(1, wrong=True), StubJob(2)], tmp_path)
    assert isinstance(ends["stub 1"], ImageError)
    assert str(ends["stub 1"]) == "photo 1: expected a photo, found none; take another"
    for number in (0, 2):
        assert_right(Path(str(ends[f"stub {number}"])), number)


def test_a_worker_that_is_lost_costs_its_unfinished_task(tmp_path: Path) -> None:
    log, died = tmp_path / "log", tmp_path / "died"
    jobs = [StubJob(0, log, 0.01, (17, died)), StubJob(1, log, 0.01)]
    with open_workers("local:2") as crew:
        ends = compute(crew, jobs, tmp_path)
    assert died.exists()
    for number in (0, 1):
        assert_right(Path(str(ends[f"stub {number}"])), number)
    assert len(windows_computed(log)) == 72


def test_a_job_that_kills_all_its_workers_is_given_up(
    two: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_LOSSES", 1)
    monkeypatch.setattr(two, "result", lambda future: None)
    ends = compute(two, [StubJob(0)], tmp_path)
    assert isinstance(ends["stub 0"], NetworkError)
    assert "perhaps for want of memory" in str(ends["stub 0"])


def test_each_local_worker_has_a_gpu_of_its_own(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with open_workers("local:2", gpus=(3, 5)) as crew:
        compute(crew, [StubJob(number, log, 0.05) for number in range(4)], tmp_path)
    assert {line.split()[2] for line in log.read_text().splitlines()} == {"3", "5"}


def test_a_thousand_jobs_are_taken_as_they_are_needed(two: Workers, tmp_path: Path) -> None:
    ahead, ended = [], []

    def jobs() -> Iterator[StubJob]:
        for number in range(60):
            ahead.append(number - len(ended))
            yield StubJob(number)

    compute_on_cluster(two, jobs(), tmp_path, lambda job, how: ended.append(job))
    assert len(ended) == 60
    assert max(ahead) <= 8  # two threads, two tasks each, and one to look at


@pytest.mark.parametrize("address", ["local:0", "local:x", "local:", "local:99999", "tcp://127.0.0.1:1", "nonsense"])
def test_an_impossible_address_is_refused(
    explain: Reproduce, address: str, monkeypatch: pytest.MonkeyPatch, no_pictures: None
) -> None:
    monkeypatch.setattr(workers, "_CONNECT", 0.5)
    outcome = explain("--sampler", "marginal", "--dask", address)
    assert outcome.error.startswith("dask: expected ")


@pytest.mark.parametrize("address", ["nonsense", "http://127.0.0.1:1", "tls://127.0.0.1:1", "tcp://127.0.0.1"])
def test_no_client_is_made_of_an_address_that_cannot_be_tried(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # It would wait for half a minute when the program ends, and leave a traceback.
    monkeypatch.setattr("distributed.Client", None)
    with pytest.raises(ConfigurationError, match=r"^dask: expected a scheduler at .*none"), open_workers(address):
        pass


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="needs signals that can be blocked")
def test_workers_are_deaf_to_interruptions_before_they_run_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What they are told to do first comes after seconds of imports.
    monkeypatch.setattr(workers, "_DEAF", "import signal")
    with open_workers("local:2") as crew:
        blocked = [crew.result(crew.submit(_blocked, StubJob(0))) for _ in range(2)]
    assert all(signal.SIGINT in some for some in blocked)
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def _blocked(job: StubJob) -> set[int]:
    """On a worker: the signals that reach none of its threads but those that ask for them."""
    return {int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, ())}


def test_without_dask_the_extra_is_named(
    explain: Reproduce, monkeypatch: pytest.MonkeyPatch, no_pictures: None
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert "pip install '.[cluster]'" in explain("--sampler", "marginal", "--dask", "local:1").error


def test_the_number_of_local_workers_is_read() -> None:
    assert local_workers("3") == 3
    with pytest.raises(ConfigurationError, match="found 'local:-1'"):
        local_workers("-1")


@pytest.mark.slow
def test_the_map_has_the_same_bits_as_that_of_one_process(explain: Reproduce, no_pictures: None) -> None:
    assert explain("--samples", "3", "--threads", "1").code == 0
    alone = maps()
    outcome = explain("--samples", "3", "--threads", "1", "--dask", "local:2", "--out", "spread")
    assert outcome.code == 0, outcome.err
    for sampler, found in maps("spread").items():
        for name in ("expected", "relevance", "standard_error", "maps", "known"):
            np.testing.assert_array_equal(getattr(found, name), getattr(alone[sampler], name))


@pytest.mark.slow
def test_shards_can_be_computed_on_a_cluster(explain: Reproduce, no_pictures: None) -> None:
    for number in (1, 2):
        outcome = explain("--sampler", "marginal", "--stride", "1", "--shard", f"{number}/2", "--dask", "local:1")
        assert outcome.code == 0, outcome.err
        assert [path.name.split("-")[-1] for path in outcome.files] == [f"{number}of2.h5"]


@pytest.mark.slow
def test_the_scheduler_may_be_started_again(tmp_path: Path) -> None:
    """And all of its workers with it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path / "log"
    first = _cluster(port)
    try:
        ends: dict[str, object] = {}
        crew = Workers(f"tcp://127.0.0.1:{port}")
        jobs = [StubJob(number, log, 0.05) for number in range(6)]
        thread = threading.Thread(
            target=compute_on_cluster,
            args=(crew, jobs, tmp_path, lambda job, how: ends.update({job.name: how})),
            daemon=True,
        )
        thread.start()
        while not log.exists() or len(log.read_text().splitlines()) < 40:
            time.sleep(0.05)
    finally:
        _kill(first)
    second = _cluster(port)
    try:
        thread.join(60)
        assert not thread.is_alive()
    finally:
        crew.close()
        _kill(second)
    for number in range(6):
        assert_right(Path(str(ends[f"stub {number}"])), number)
    # What was in flight, two tasks of each of two threads, may have been computed twice.
    assert sum(windows_computed(log).values()) <= 6 * 36 + 4 * 36


@pytest.mark.chaos
def test_workers_killed_at_random_change_no_bit(tmp_path: Path) -> None:
    chance = random.Random(int(os.environ.get("CHAOS_SEED") or 0))
    log = tmp_path / "log"
    jobs = [StubJob(number, log, 0.02, side=12) for number in range(40)]
    with open_workers("local:4") as crew:
        done = threading.Event()

        def kill() -> None:
            while not done.wait(chance.uniform(0.3, 1.5)):
                pids = list(crew._client.run(os.getpid, on_error="ignore").values())
                os.kill(chance.choice(pids), signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        ends = compute(crew, jobs, tmp_path)
        done.set()
        killer.join()
    for number in range(40):
        assert_right(Path(str(ends[f"stub {number}"])), number)


def _cluster(port: int) -> list[subprocess.Popen[bytes]]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    commands = [
        ["scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"],
        *[["worker", f"tcp://127.0.0.1:{port}", "--nthreads", "1", "--no-nanny", "--no-dashboard"]] * 2,
    ]
    return [
        subprocess.Popen(
            [sys.executable, "-m", "distributed.cli.dask_" + name, *rest],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for name, *rest in commands
    ]


def _kill(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.kill()
        process.wait()

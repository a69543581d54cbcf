"""Studies: every map once, a table that says what the maps say, and nothing lost whatever happens."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from study_home import BOTH, CHEAP, ComputedError, MakeStudy, last_counts, log_lines, new_process, rows, write_study
from tiny_home import PROJECT, Reproduce, add_network, noise, tiny_weights

from predict_diff.exclusive import lock
from predict_diff.result import RelevanceMap
from reproduce import cli
from reproduce.photos import read_photo
from reproduce.photos_and_networks import under
from reproduce.studies import run
from reproduce.studies.columns import COLUMNS
from reproduce.studies.log import open_log
from reproduce.studies.summary import summary

pytest_plugins = ("study_home",)

OUT = Path("results/insects")


def maps() -> list[Path]:
    return sorted((OUT / "maps").iterdir())


def times() -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in maps()}


# --- the table ----------------------------------------------------------------------------------------------------


def test_every_map_is_computed_and_has_a_row_for_each_target(make: MakeStudy, home: Path) -> None:
    outcome = make(targets=["top", "fc:1"], seeds=[0, 3], samplers=BOTH)
    assert outcome.code == 0, outcome.err
    assert {path.name for path in outcome.files} >= {"results.csv", "index.html"}
    table = rows()
    assert list(table[0]) == [column.name for column in COLUMNS]
    assert [(Path(row["photo"]).stem, row["sampler"], row["seed"], row["target"][:4]) for row in table] == [
        (photo, sampler, seed, target)
        for photo in ("ant", "bee")
        for sampler in ("marginal", "conditional")
        for seed in ("0", "3")
        for target in ("prob", "fc:1")
    ]
    assert len(maps()) == 8
    assert all(row["state"] == "done" and not row["error"] for row in table)
    assert {row["sha256"] for row in table} == {read_photo(home / "photos" / f"{n}.png").sha256 for n in ("ant", "bee")}
    assert {row["class"] for row in table if row["target"] == "fc:1"} == {"second class"}
    assert {row["measure"] for row in table if row["target"] == "fc:1"} == {"AD"}


def test_the_numbers_are_those_of_the_stored_maps(make: MakeStudy) -> None:
    make(targets=["top", "fc:1", "conv1:2"], samplers=BOTH, seeds=[0])
    table = rows()
    assert len(table) == 12
    for row in table:
        # Read without anything of this project.
        with h5py.File(OUT / row["map"]) as stored:
            place = [str(target) for target in stored.attrs["targets"]].index(row["target"])
            relevance, error = stored["maps"][place], stored["map_errors"][place]
            known, windows = stored["known"][place], stored["relevance"].shape[1]
        assert float(row["value"]) == known
        assert (row["windows"], row["samples"], row["k"], row["l"], row["stride"]) == (str(windows), "2", "6", "8", "6")
        for name, extreme in (("largest", relevance.max()), ("smallest", relevance.min())):
            assert float(row[name]) == extreme
            assert relevance[int(row[f"{name}_row"]), int(row[f"{name}_column"])] == extreme
        flat = [float(value) for value in relevance.ravel()]
        total = sum(abs(value) for value in flat)
        middle = sum(flat) / len(flat)
        variance = sum((value - middle) ** 2 for value in flat) / len(flat)
        steps = sum(
            abs(relevance[r, c] - relevance[r + dr, c + dc])
            for dr, dc in ((0, 1), (1, 0))
            for r in range(relevance.shape[0] - dr)
            for c in range(relevance.shape[1] - dc)
        )
        top = sorted((abs(value) for value in flat), reverse=True)[: round(0.05 * len(flat))]
        expected = {
            "mean": middle,
            "positive_pixels": sum(value > 0 for value in flat) / len(flat),
            "positive_relevance": sum(value for value in flat if value > 0) / total,
            "mean_error": sum(float(value) for value in error.ravel()) / len(flat),
            "noise_share": sum(float(value) ** 2 for value in error.ravel()) / len(flat) / variance,
            "total_variation": steps / sum(value**2 for value in flat) ** 0.5,
            "top_share": sum(top) / total,
        }
        for name, value in expected.items():
            assert float(row[name]) == pytest.approx(value, rel=1e-9, abs=1e-15), name


def test_one_sample_has_no_error_and_empty_cells_say_so(make: MakeStudy) -> None:
    make("--samples", "1")
    assert {(row["mean_error"], row["noise_share"]) for row in rows()} == {("", "")}


def test_parquet_holds_what_csv_holds(make: MakeStudy, home: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    write_study(home)
    (home / "photos" / "cow.png").write_bytes(b"no picture")
    make(targets=["top", "fc:1"], seeds=[2**64 - 1], samplers=BOTH)
    table = parquet.read_table(OUT / "results.parquet")
    found = [{name: "" if value is None else str(value) for name, value in row.items()} for row in table.to_pylist()]
    assert found == rows()
    assert len(found) == 8 + 2
    assert all(field.metadata[b"meaning"] for field in table.schema)
    assert str(table.schema.field("seed").type) == "uint64"


def test_without_pyarrow_there_is_no_parquet_file_of_another_time(
    make: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    OUT.mkdir(parents=True)
    (OUT / "results.parquet").touch()
    outcome = make()
    assert outcome.code == 0
    assert not (OUT / "results.parquet").exists()
    assert "pyarrow is not installed" in outcome.err


def test_columns_are_explained(reproduce: Reproduce) -> None:
    outcome = reproduce("study", "--columns")
    assert outcome.code == 0
    assert [line.split()[0] for line in outcome.out.splitlines()] == [column.name for column in COLUMNS]


# --- what is done is skipped --------------------------------------------------------------------------------------


def test_what_is_done_is_skipped_without_opening_a_network_a_photo_or_a_map(
    make: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    make()
    before, table = times(), rows()

    def fail(*arguments: object, **named: object) -> None:
        raise ComputedError

    for name in ("reproduce.classifier.Network", "reproduce.photos.decode", "reproduce.studies.run.RelevanceMap.load"):
        monkeypatch.setattr(name, fail)
    monkeypatch.setattr("predict_diff.network.network.Network.__init__", fail)
    outcome = make()
    assert outcome.code == 0, outcome.err
    assert (times(), rows()) == (before, table)
    assert last_counts() == "4 maps: 4 done, 0 failed before, 0 to compute."


def test_only_what_has_changed_is_computed(make: MakeStudy, home: Path) -> None:
    make()
    before = times()
    Image.fromarray(noise(77)).save(home / "photos" / "bee.png")
    make()
    assert last_counts() == "4 maps: 2 done, 0 failed before, 2 to compute."
    Image.fromarray(noise(78)).save(home / "photos" / "cow.png")
    make()
    assert last_counts() == "6 maps: 4 done, 0 failed before, 2 to compute."
    make(seeds=[0, 1, 2, 3])
    assert last_counts() == "12 maps: 6 done, 0 failed before, 6 to compute."
    make("--stride", "5", seeds=[0, 1, 2, 3])
    assert last_counts() == "12 maps: 0 done, 0 failed before, 12 to compute."
    assert {row["stride"] for row in rows()} == {"5"}
    assert before.items() <= times().items()


@pytest.mark.parametrize("change", ["network", "card", "pool", "labels"])
def test_another_network_card_pool_or_list_of_classes_is_noticed(make: MakeStudy, home: Path, change: str) -> None:
    make()
    folder = home / "models" / "tiny"
    if change == "network":
        shutil.rmtree(folder)
        add_network(home, "tiny", tiny_weights(seed=5))
    elif change == "card":
        (folder / "model.yaml").write_text((folder / "model.yaml").read_text().replace("110.0", "111.0"))
    elif change == "pool":
        (home / "pool" / "03.png").unlink()
    else:
        (home / "data" / "tiny_labels.txt").write_text("n00000001 a\nn00000002 b\nn00000003 c\n")
    make()
    assert last_counts() == "4 maps: 0 done, 0 failed before, 4 to compute."
    assert len(maps()) == (4 if change == "labels" else 8)
    assert {row["class"] in "abc" for row in rows()} == {change == "labels"}


def test_a_touched_photo_is_looked_at_again_and_not_computed(
    make: MakeStudy, home: Path, nothing_computed: Callable[[], None]
) -> None:
    make()
    before = times()
    os.utime(home / "photos" / "bee.png")
    nothing_computed()
    make()
    assert last_counts() == "4 maps: 2 done, 0 failed before, 2 to compute."
    assert times() == before


def test_a_study_is_the_same_from_wherever_it_is_named(
    make: MakeStudy, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nothing_computed: Callable[[], None]
) -> None:
    path = write_study(home, photos="../home/photos")
    out = tmp_path / "out"
    (home / "deep").mkdir()
    monkeypatch.chdir(home / "deep")
    assert cli.run(["study", "../insects.yaml", "--provider", "cpu", "--out", str(out)]) == 0
    before = rows(out)
    assert {row["photo"] for row in before} == {str(home / "photos" / name) for name in ("ant.png", "bee.png")}
    nothing_computed()
    monkeypatch.chdir(home)
    assert cli.run(["study", path.name, "--provider", "cpu", "--out", str(out), "--pool", "photos/../pool"]) == 0
    assert last_counts(out) == "4 maps: 4 done, 0 failed before, 0 to compute."
    assert rows(out) == before


def test_where_a_link_leads_elsewhere_two_dots_are_left_to_the_system(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "here" / "link").symlink_to(tmp_path / "far" / "away")
    assert under(tmp_path / "here" / "link", "../photos").resolve() == tmp_path / "far" / "photos"
    assert under(tmp_path / "here", "../photos") == tmp_path / "photos"


def test_losing_the_index_costs_no_map(make: MakeStudy, nothing_computed: Callable[[], None]) -> None:
    make()
    before, table = times(), rows()
    (OUT / "study.sqlite").unlink()
    nothing_computed()
    outcome = make()
    assert outcome.code == 0, outcome.err
    assert (times(), rows()) == (before, table)


def test_a_map_that_is_gone_is_computed_again(make: MakeStudy) -> None:
    make()
    before, gone = times(), maps()[1]
    gone.unlink()
    make()
    assert last_counts() == "4 maps: 3 done, 0 failed before, 1 to compute."
    assert {name for name, when in times().items() if before[name] != when} == {gone.name}


def test_photos_that_are_no_longer_in_the_study_have_no_rows(make: MakeStudy, home: Path) -> None:
    make()
    make(photos=["photos/bee.png"])
    assert {Path(row["photo"]).stem for row in rows()} == {"bee"}
    assert len(maps()) == 4


def test_identical_photos_of_one_name_share_a_map(make: MakeStudy, home: Path) -> None:
    write_study(home)
    (home / "photos" / "sub").mkdir()
    shutil.copy(home / "photos" / "ant.png", home / "photos" / "sub" / "ant.png")
    assert make().code == 0
    assert len(maps()) == 4
    assert len(rows()) == 6


# --- what goes wrong ----------------------------------------------------------------------------------------------


def test_a_photo_that_cannot_be_read_is_taken_down_and_tried_again(make: MakeStudy, home: Path) -> None:
    write_study(home)
    (home / "photos" / "bad.png").write_bytes(b"no picture")
    error = make().error
    assert error.startswith(f"{home / 'insects.yaml'}: expected 6 maps, found 2 that cannot be computed; read why in ")
    failed = [row for row in rows() if row["state"] == "failed"]
    assert [(Path(row["photo"]).name, row["map"], row["target"]) for row in failed] == [("bad.png", "", "")] * 2
    assert all("bad.png: expected a picture" in row["error"] for row in failed)
    assert len(rows()) == 6
    assert sum(" failed: " in line for line in log_lines()) == 2
    assert "bad.png: expected a picture" in (OUT / "index.html").read_text()
    assert any("last error: " in line and "bad.png" in line for line in summary(OUT))
    Image.fromarray(noise(4)).save(home / "photos" / "bad.png")
    assert make().code == 0
    assert {row["state"] for row in rows()} == {"done"}
    assert "Failures" not in (OUT / "index.html").read_text()


def test_a_photo_that_vanishes_after_it_was_listed_fails_alone(
    make: MakeStudy, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_study(home)
    names = [str(home / "photos" / "ant.png"), str(home / "photos" / "gone.png")]
    monkeypatch.setattr("reproduce.studies.study.photo_names", lambda listed, folder: names)
    assert "found 2 that cannot be computed" in make().error
    assert [row["state"] for row in rows()] == ["done", "done", "failed", "failed"]


def test_a_damaged_map_is_named_and_computed_again_with_force(make: MakeStudy) -> None:
    make()
    before = maps()[0].read_bytes()
    maps()[0].write_bytes(before[:-100])
    (OUT / "study.sqlite").unlink()
    assert "found 1 that cannot be computed" in make().error
    assert "say --force" in next(row["error"] for row in rows() if row["state"] == "failed")
    outcome = make("--force")
    assert outcome.code == 0, outcome.err
    assert "it is computed again" in outcome.err
    assert RelevanceMap.load(maps()[0])
    assert {row["state"] for row in rows()} == {"done"}


def test_force_also_looks_at_maps_that_the_index_knows(make: MakeStudy) -> None:
    make()
    before = RelevanceMap.load(maps()[0])
    content = bytearray(maps()[0].read_bytes())
    content[-100] ^= 1
    maps()[0].write_bytes(content)
    outcome = make("--force")
    assert outcome.code == 0, outcome.err
    assert last_counts() == "4 maps: 3 done, 0 failed before, 1 to compute."
    assert "it is computed again" in outcome.err
    np.testing.assert_array_equal(RelevanceMap.load(maps()[0]).relevance, before.relevance)


def damage_at_random(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096:8192] = os.urandom(4096)
    path.write_bytes(content)


def another_database(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE jobs (id INTEGER)")


def another_view(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("DROP VIEW maps")
        database.execute("CREATE VIEW maps AS SELECT * FROM photos")


def text_for_a_number(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA ignore_check_constraints = ON")
        database.execute("UPDATE targets SET mean = 'high'")


@pytest.mark.parametrize(
    "damage",
    [
        damage_at_random,
        another_database,
        another_view,
        text_for_a_number,
        lambda path: path.write_text("a list\n" * 1000),
        lambda path: path.write_bytes(path.read_bytes()[:5000]),
    ],
)
def test_a_damaged_or_foreign_index_is_refused_or_made_again_from_the_maps(
    make: MakeStudy, damage: Callable[[Path], None], nothing_computed: Callable[[], None]
) -> None:
    make()
    table, before = rows(), times()
    damage(OUT / "study.sqlite")
    content = (OUT / "study.sqlite").read_bytes()
    assert "study.sqlite: expected the index of a study" in make().error
    assert (OUT / "study.sqlite").read_bytes() == content
    nothing_computed()
    assert make("--force").code == 0
    assert (rows(), times()) == (table, before)


def test_a_second_start_in_the_same_folder_ends_in_one_line(make: MakeStudy) -> None:
    make()
    with (OUT / "log.txt").open("r+b") as file:
        assert lock(file)
        error = make().error
    assert "log.txt: expected to be the only one that makes this study, found process" in error
    assert f"process {os.getpid()} on " in error
    assert make().code == 0


def test_a_folder_that_cannot_be_written_to_ends_in_one_line(make: MakeStudy, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "could not be written" in make("--out", tmp_path / "file").error
    (OUT / "maps").parent.mkdir(parents=True)
    (OUT / "maps").touch()
    assert make().code == 2


# --- shards -------------------------------------------------------------------------------------------------------


def without_times(table: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{**row, "seconds": ""} for row in table]


def test_shards_share_the_maps_and_the_run_without_a_shard_collects_them(
    make: MakeStudy, nothing_computed: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    make("--out", "whole", seeds=[0, 1, 2, 3])
    for number in (2, 1, 3):
        assert make("--shard", f"{number}/3", seeds=[0, 1, 2, 3]).code == 0
    names = {f"study-{number}of3.sqlite" for number in (1, 2, 3)}
    assert {path.name for path in OUT.glob("study*")} == names
    assert [len(rows(name=f"results-{number}of3.csv")) for number in (1, 2, 3)] == [3, 3, 2]
    assert len(maps()) == 8
    nothing_computed()
    monkeypatch.setattr("reproduce.studies.run.RelevanceMap.load", None)  # indices of shards have the numbers
    assert make(seeds=[0, 1, 2, 3]).code == 0
    assert last_counts() == "8 maps: 8 done, 0 failed before, 0 to compute."
    assert without_times(rows()) == without_times(rows("whole"))


def test_without_the_indices_of_its_shards_the_maps_are_read(
    make: MakeStudy, nothing_computed: Callable[[], None]
) -> None:
    for number in (1, 2):
        make("--shard", f"{number}/2")
    (OUT / "study-1of2.sqlite").unlink()
    damage_at_random(OUT / "study-2of2.sqlite")
    nothing_computed()
    outcome = make()
    assert outcome.code == 0
    assert "study-2of2.sqlite: expected the index of a study" in outcome.err
    assert [row["state"] for row in rows()] == ["done"] * 4


# --- a trial ------------------------------------------------------------------------------------------------------


def test_a_dry_run_says_what_is_missing_and_what_it_will_take_and_writes_nothing(make: MakeStudy, home: Path) -> None:
    outcome = make("--dry-run")
    assert outcome.code == 0, outcome.err
    assert "Insects: 4 maps, 0 done, 0 failed before, 4 to do." in outcome.out
    assert "tiny: 4 maps, " in outcome.out
    assert "MB needed" in outcome.out
    assert not Path("results").exists()
    (home / "photos" / "bad.png").write_bytes(b"no picture")
    make()
    before = {path: path.stat().st_mtime_ns for path in OUT.rglob("*")}
    outcome = make("--dry-run", "--dask", "local:2", seeds=[0, 1, 2, 3])
    assert "Insects: 12 maps, 4 done, 2 failed before, 8 to do." in outcome.out
    assert "on this machine with 2 workers." in outcome.out
    assert {path: path.stat().st_mtime_ns for path in OUT.rglob("*")} == before


def test_a_dry_run_of_what_is_done_costs_nothing(make: MakeStudy, nothing_computed: Callable[[], None]) -> None:
    make()
    nothing_computed()
    assert "4 maps, 4 done, 0 failed before, 0 to do." in make("--dry-run").out


# --- interruptions ------------------------------------------------------------------------------------------------


def start(home: Path, *arguments: str | Path) -> subprocess.Popen[str]:
    """The command line in a process of its own."""
    program = "import study_home; study_home.main_with_few_patches()"
    folders = [PROJECT, PROJECT / "tests" / "reproduce"]
    return subprocess.Popen(
        [sys.executable, "-c", program, "study", home / "insects.yaml", "--provider", "cpu", *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders))},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not condition() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)


@pytest.mark.slow
def test_a_study_that_is_killed_again_and_again_computes_each_map_once(
    make: MakeStudy, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**CHEAP, "stride": 1}
    write_study(home, settings=settings, seeds=[0, 1, 2], samplers=BOTH)
    seen: dict[str, int] = {}
    for kill in range(3):
        process = start(home)
        wait_for(lambda: len(list(OUT.glob("maps/*.h5"))) >= 3 * (kill + 1), process)  # noqa: B023
        time.sleep(0.03 * kill)
        process.kill()
        process.communicate()
        now = times()
        assert seen.items() <= now.items()
        seen = now
    outcome = make(settings=settings, seeds=[0, 1, 2], samplers=BOTH)
    assert outcome.code == 0, outcome.err
    assert len(maps()) == len(rows()) == 12
    assert seen.items() <= times().items()
    # At most the map in hand at each kill was in the folder, and not in the index yet.
    done = [int(line.split(" done, ")[0].split()[-1]) for line in log_lines() if " to compute." in line]
    assert done[0] == 0
    assert len(seen) - 1 <= done[-1] <= len(seen)
    make("--out", "whole", settings=settings, seeds=[0, 1, 2], samplers=BOTH)
    assert without_times(rows()) == without_times(rows("whole"))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_study_says_so_and_goes_on(make: MakeStudy, home: Path, number: signal.Signals) -> None:
    settings = {**CHEAP, "stride": 1}
    write_study(home, settings=settings)
    process = start(home)
    wait_for(lambda: len(list(OUT.glob("maps/*.h5"))) >= 1, process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2, errors
    assert errors.splitlines()[-1].startswith("reproduce: interrupted; what was complete is kept")
    assert "Traceback" not in errors
    assert " stopped, interrupted by " in log_lines()[-1]
    assert not list(OUT.rglob("*.part"))
    before = times()
    assert make(settings=settings).code == 0
    assert before.items() <= times().items()
    assert len(rows()) == 4


@pytest.mark.slow
def test_of_simultaneous_starts_one_makes_the_study(make: MakeStudy, home: Path) -> None:
    write_study(home)
    processes = [start(home) for _ in range(3)]
    ends = [(process.communicate(timeout=60)[1], process.returncode) for process in processes]
    assert min(code for _, code in ends) == 0
    for errors, code in ends:
        # One that has just the file may not have written yet who it is.
        said = r"only one that makes this study, found (process \d+ on .+ since .+|another process) at it; wait"
        assert code == 0 or re.search(said, errors.splitlines()[-1])
        assert "Traceback" not in errors
    assert make().code == 0
    assert len(rows()) == len(maps()) == 4


@pytest.mark.slow
def test_workers_of_a_cluster_give_the_same_table(make: MakeStudy, home: Path) -> None:
    pytest.importorskip("distributed")
    write_study(home)
    (home / "photos" / "bad.png").write_bytes(b"no picture")
    assert "found 2 that cannot be computed" in make("--dask", "local:2", "--threads", "1").error
    make("--threads", "1", "--out", "here")
    assert without_times(rows()) == without_times(rows("here"))


# --- the log ------------------------------------------------------------------------------------------------------


def test_the_log_says_what_happened_and_when(make: MakeStudy) -> None:
    outcome = make()
    lines = log_lines()
    stamps = [time.strptime(line[:19], "%Y-%m-%d %H:%M:%S") for line in lines]
    assert stamps == sorted(stamps)
    said = [line[20:] for line in lines]
    assert said[0].startswith(f"start: process {os.getpid()} on ")
    assert "reproduce study " in said[0]
    assert "k = 6, l = 8, S = 2, stride 6" in said[0]
    ended = [line for line in said if "36 windows in" in line]
    assert [line.split(":")[0] for line in ended] == [
        f"{photo}, Tiny, marginal, seed {seed}" for photo in ("ant", "bee") for seed in (0, 1)
    ]
    assert ended[0].split("; ")[1].startswith("1 of 4, ")
    assert ended[-1].endswith("; 4 of 4.")
    assert said[-1] == "end: 4 maps done in this run, 0 failed."
    assert all(line in outcome.err.splitlines() for line in said)
    make()
    assert log_lines()[: len(lines)] == lines


def test_a_torn_line_of_a_killed_process_does_not_swallow_the_next(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("2026-01-01 00:00:00 one\n2026-01-01 00:0")
    with open_log(tmp_path / "log.txt"):
        run.logger.info("two\nlines")
    assert [line[20:] for line in log_lines(tmp_path)] == ["one", "", "two lines"]


def test_summary_says_how_far_each_study_of_a_folder_is(make: MakeStudy, tmp_path: Path) -> None:
    assert summary(tmp_path) == []
    make()
    assert summary(OUT) == ["study Insects: 4 of 4 maps done; complete"]
    make("--shard", "2/2")
    assert summary(OUT)[1] == "study Insects, shard 2 of 2: 2 of 2 maps done; complete"
    with (OUT / "log.txt").open("r+b") as file:
        assert lock(file)
        assert "4 of 4 maps done; running" in summary(OUT)[0]
    maps()[0].unlink()
    damage_at_random(OUT / "study.sqlite")
    assert "study.sqlite: expected the index of a study" in summary(OUT)[0]


def test_names_of_photos_can_hold_anything(make: MakeStudy, home: Path) -> None:
    write_study(home)
    for name in (b"caf\xe9.png", b"two\nlines, and 'quotes' <b>.png", "ünïcödé".encode() + b".png"):
        Image.fromarray(noise(5)).save(home / "photos" / "x.png")
        (home / "photos" / "x.png").rename(Path(os.fsdecode(bytes(home / "photos") + b"/" + name)))
    outcome = make(title="<script>alert(1)</script>")
    assert outcome.code == 0, outcome.err
    assert [Path(row["photo"]).name for row in rows()[4::2]] == [
        "caf?.png",
        "two?lines, and 'quotes' <b>.png",
        "ünïcödé.png",
    ]
    assert "<script" not in (OUT / "index.html").read_text()
    assert make().code == 0
    assert last_counts() == "10 maps: 10 done, 0 failed before, 0 to compute."


@pytest.mark.parametrize(("longest", "expected"), [(60.0, [1, 2, 3, 4]), (0.0, [1, 1, 1, 1])])
def test_results_are_written_now_and_then_while_it_runs_unless_that_takes_too_long(
    make: MakeStudy, monkeypatch: pytest.MonkeyPatch, longest: float, expected: list[int]
) -> None:
    monkeypatch.setattr(run, "_EVERY", 0.0)
    monkeypatch.setattr(run, "_RARELY", 0.0)
    monkeypatch.setattr(run, "_LONGEST", longest)
    written = []
    write = run._Recorder._publish_now_and_then

    def spy(recorder: run._Recorder) -> None:
        write(recorder)
        written.append(len(rows()))

    monkeypatch.setattr(run._Recorder, "_publish_now_and_then", spy)
    make()
    assert written == expected
    assert len(rows()) == 4


def test_a_study_does_not_disturb_what_the_process_logs_otherwise(
    make: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    import logging

    loggers = [logging.getLogger(name) for name in ("reproduce", "predict_diff", "reproduce.runner")]
    before = [(logger.level, list(logger.handlers)) for logger in loggers]
    make()
    new_process(monkeypatch)
    assert [(logger.level, list(logger.handlers)) for logger in loggers] == before

"""What a study.yaml can say, and what is wrong with it in one line, before anything is made."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from study_home import BOTH, CHEAP, MakeStudy, write_study
from tiny_home import PROJECT, Reproduce, add_network, noise

from predict_diff.errors import ImageError
from reproduce import runner
from reproduce.sources import photo_names
from reproduce.studies.configuration import default_out, read_study
from reproduce.studies.expand import items, job_of

pytest_plugins = ("study_home",)

OPTIONS: dict[str, Any] = {
    "variant": "paper", "profile": None, "k": None, "l": None, "samples": None, "stride": None, "faults": None,
    "seed": None, "pool": "default", "provider": "cpu", "precision": "full", "gpus": None, "evaluator": "auto",
    "batch_size": None, "threads": None, "palette": "paper", "force": False, "out": Path("results"), "shard": None,
    "dask": None,
}  # fmt: skip


def read(path: Path, **options: Any) -> Any:
    return read_study(path, {**OPTIONS, **options}, set(options))


def listed(path: Path, **options: Any) -> list[tuple[str, str, str, int]]:
    """Photo, network, sampler and seed of each map, in order."""
    study = read(path, **options)
    found = items(study, photo_names(study.photos, study.folder), lambda file: file.name)
    return [(Path(item.photo).stem, item.network, item.sampler, item.seed) for item in found]


# --- what is wrong ------------------------------------------------------------------------------------------------


def test_an_empty_address_of_a_cluster_is_none(make: MakeStudy) -> None:
    # As from "$ADDRESS" where there is no such variable: the maps would be computed here, one after the other.
    assert make("--dask", "").error.startswith("dask: expected the address of a scheduler")


@pytest.mark.parametrize(
    ("fields", "parts"),
    [
        ({"phtos": "photos"}, ["insects.yaml:4: phtos: unknown field (did you mean 'photos'?)"]),
        ({"title": ""}, ["insects.yaml:15: title: "]),
        ({"networks": []}, ["networks: "]),
        ({"networks": ["tiny", "tiny"]}, ["insects.yaml:1: networks: expected each once, found 'tiny' twice"]),
        ({"networks": "tyni"}, ["network: expected one of tiny, found 'tyni' (did you mean 'tiny'?)"]),
        ({"networks": "net.onnx"}, ["net.onnx: expected an ONNX file, found none"]),
        ({"samplers": ["margnal"]}, ["samplers.0: ", "'margnal' (did you mean 'marginal'?)"]),
        ({"seeds": ["one"]}, ["seeds.0: expected a valid integer, found 'one'"]),
        ({"seeds": [-1]}, ["seeds.0: expected a number greater than or equal to 0, found -1"]),
        ({"seeds": [1, 1]}, ["seeds: expected each once, found 1 twice"]),
        ({"targets": "prob"}, ["targets: target: expected BLOB:UNIT", "found 'prob'"]),
        ({"settings": {"variant": "papr"}}, ["variant: expected one of paper, ", "(did you mean 'paper'"]),
        ({"settings": {"profil": "quick"}}, ["settings.profil: unknown field (did you mean 'profile'?)"]),
        ({"settings": {"k": 8, "l": 8}}, ["l: expected an outer patch larger than the window"]),
        ({"cards": {"tiny": "tiny"}}, ["cards: 'tiny' has a card of its own"]),
        ({"cards": {"tony": "tiny"}}, ["cards: expected names of `networks`, found 'tony' (did you mean 'tiny'?)"]),
        ({"photos": "phtos"}, ["photos: expected a file or folder in ", "found 'phtos' (did you mean 'photos'"]),
        ({"photos": ["photos/*.jpg"]}, ["photos: expected photos that fit 'photos/*.jpg' in "]),
        ({"photos": "models"}, ["photos: expected photos in ", "models, found none"]),
    ],
)
def test_what_is_wrong_with_a_study_is_said_in_one_line_and_nothing_is_made(
    make: MakeStudy, fields: dict[str, Any], parts: list[str]
) -> None:
    outcome = make(**fields)
    assert all(part in outcome.error for part in parts), outcome.error
    assert not Path("results").exists()


def test_missing_weights_are_found_before_anything_is_made(make: MakeStudy, home: Path) -> None:
    add_network(home, "absent", present=False)
    assert "Absent needs absent.caffemodel" in make(networks=["tiny", "absent"]).error
    assert not Path("results").exists()


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"settings": {**CHEAP, "k": 40, "l": 44}}, "k: expected a window between 1 and 32 pixels wide"),
        ({"settings": {**CHEAP, "stride": 7}}, "stride: expected 1 to k = 6"),
        ({"targets": "prob:3"}, "blob 'prob' is 3, so it has no unit (3,)"),
        ({"targets": "fd:0"}, "found 'fd' (did you mean 'fc'?)"),
        ({"pool": "photos", "settings": {**CHEAP, "samples": 5}}, "expected 5 or more crops"),
        ({"settings": {**CHEAP, "variant": "authors_code"}, "targets": "conv1:0"}, "cannot average over a feature map"),
    ],
)
def test_what_would_be_wrong_with_every_map_ends_the_study_before_the_first(
    make: MakeStudy, fields: dict[str, Any], part: str
) -> None:
    assert part in make(**fields).error
    assert not list(Path("results").rglob("*.h5"))
    assert not Path("results/insects/results.csv").exists()


# --- what counts --------------------------------------------------------------------------------------------------


def test_maps_are_photos_by_networks_by_samplers_by_seeds_in_one_order(home: Path) -> None:
    add_network(home, "other")
    path = write_study(home, networks=["tiny", "other"], seeds=[3, 1], samplers=BOTH)
    assert listed(path) == [
        (photo, network, sampler, seed)
        for photo in ("ant", "bee")
        for network in ("tiny", "other")
        for sampler in ("marginal", "conditional")
        for seed in (3, 1)
    ]


def test_by_default_both_samplers_seed_0_and_the_highest_class(home: Path) -> None:
    path = home / "small.yaml"
    path.write_text("title: Small\nphotos: [cat]\nnetworks: tiny\n")
    study = read(path)
    assert (study.samplers, study.seeds, study.targets) == (("marginal", "conditional"), (0,), ("top",))
    assert study.request.choices.pool == "default"
    assert study.out == Path("results/small")


def test_the_command_line_goes_before_the_yaml_and_the_yaml_before_defaults(home: Path) -> None:
    path = write_study(home, settings={**CHEAP, "variant": "iclr2017", "profile": "paper"}, seeds=[4, 5])
    own = read(path).request.settings(4)
    assert (own.variant, own.profile, own.k, own.samples, own.stride) == ("iclr2017", "paper", 6, 2, 6)
    study = read(path, variant="paper", profile="quick", samples=7, seed=9, pool="default", out=Path("there"))
    changed = study.request.settings(9)
    assert (changed.variant, changed.profile, changed.k, changed.samples) == ("paper", "quick", 6, 7)
    assert (study.seeds, study.request.choices.pool, study.out) == ((9,), "default", Path("there"))


def test_paths_of_the_yaml_start_at_its_folder_and_those_of_the_command_line_here(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_study(home, networks=["nets/a.onnx"], cards={"nets/a.onnx": "tiny"})
    (home / "nets").mkdir()
    (home / "nets" / "a.onnx").touch()
    study = read(path)
    assert study.networks[0].name == str(home / "nets" / "a.onnx")
    assert study.request.choices.pool == str(home / "pool")
    assert read(path, pool="pool").request.choices.pool == str(tmp_path / "pool")


def test_a_job_has_all_that_its_map_needs(home: Path) -> None:
    study = read(write_study(home, seeds=[5], targets=["fc:1", "top"]), shard=(1, 2))
    (item,) = list(items(study, photo_names(["photos/bee.png"], home), lambda file: file.name))[:1]
    job = job_of(study, item)
    assert (job.photo, job.network, job.sampler) == (str(home / "photos" / "bee.png"), "tiny", "marginal")
    assert (job.targets, job.settings.seed, job.home) == (("fc:1", "top"), 5, str(home))
    assert job.choices.shard == runner.WHOLE
    assert job.choices.out.is_absolute()


@pytest.mark.parametrize("name", ["a.yaml", "...yaml", "..yaml", ".yaml", "a/b.yaml", "a b;c.yaml", "ü.yml"])
def test_results_lie_in_a_folder_of_their_own(name: str) -> None:
    out = default_out(Path(name))
    assert out.parent == Path("results")
    assert out.name not in ("", ".", "..")
    assert "/" not in out.name


# --- photos -------------------------------------------------------------------------------------------------------


def test_a_folder_means_the_photos_below_it_sorted_without_masks_and_other_files(home: Path) -> None:
    folder = home / "many"
    wanted = ["B.JPG", "a.png", "sub/c.tif", "sub/deep/d.webp"]
    for name in [*wanted, "a.mask.png", ".hidden.png", "notes.txt", ".git/e.png", "sub/readme"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    assert photo_names(["many"], home) == [str(folder / name) for name in wanted]


def test_a_list_can_hold_names_files_folders_and_patterns_each_photo_once(home: Path) -> None:
    write_study(home)
    ant, bee = (str(home / "photos" / name) for name in ("ant.png", "bee.png"))
    cat = str(home / "data" / "photos" / "cat.png")
    named = ["chelsea", "photos/b*.png", "cat", "photos", bee, "cat.png"]
    assert photo_names(named, home) == ["chelsea", bee, cat, ant]


def test_a_file_called_like_a_pattern_is_a_file(home: Path) -> None:
    path = home / "a[1].png"
    Image.fromarray(noise(3)).save(path)
    assert photo_names(["a[1].png"], home) == [str(path)]


def test_names_that_are_no_utf8_are_names(home: Path) -> None:
    folder = home / "odd"
    folder.mkdir()
    name = os.fsdecode(b"caf\xe9\n.png")
    (folder / name).touch()
    assert photo_names(["odd"], home) == [f"{folder}/{name}"]


def test_what_stands_for_no_photo_is_named_with_the_closest_names(home: Path) -> None:
    with pytest.raises(ImageError, match="did you mean 'chelsea'"):
        photo_names(["chelsae"], home)


# --- the example --------------------------------------------------------------------------------------------------


def test_the_example_is_a_study_of_eight_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREDICT_DIFF_HOME", str(PROJECT))
    assert listed(PROJECT / "reproduce" / "studies" / "example.yaml", provider="cpu") == [
        (photo, "efficientnet_lite0", sampler, seed)
        for photo in ("chelsea", "coffee")
        for sampler in ("marginal", "conditional")
        for seed in (0, 1)
    ]


def test_the_example_runs(reproduce: Reproduce, home: Path) -> None:
    example = (PROJECT / "reproduce" / "studies" / "example.yaml").read_text()
    path = home / "example.yaml"
    path.write_text(example.replace("efficientnet_lite0", "tiny"))
    cheap = [word for name, value in CHEAP.items() for word in (f"--{name}", str(value))]
    outcome = reproduce("study", path, "--provider", "cpu", *cheap)
    assert outcome.code == 0, outcome.err
    assert len(list(Path("results/example/maps").iterdir())) == 8
    assert {file.name for file in outcome.files} >= {"results.csv", "index.html"}

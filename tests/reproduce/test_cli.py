"""The command line as its users meet it: help, names, figures, interruptions."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import h5py
import numpy as np
import pytest
from PIL import Image
from tiny_home import CHEAP, PROJECT, Outcome, Reproduce, add_network, maps, noise, tiny_weights

from predict_diff import __version__
from reproduce import networks
from reproduce.commands import commands
from reproduce.config import named_settings

#: 16 windows.
COARSE = (*CHEAP, "--k", "8", "--l", "10", "--stride", "8", "--samples", "1")


# --- help ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [80, 110])
@pytest.mark.parametrize("command", [[], *([name] for name in commands.commands)])
def test_help_fits_the_terminal_and_leaves_nothing_out(
    reproduce: Reproduce, monkeypatch: pytest.MonkeyPatch, command: list[str], columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    text = reproduce(*command, "--help").out
    assert max(len(line) for line in text.splitlines()) <= columns
    assert not re.search(r"\w\.\.\.$", text, re.MULTILINE)  # a sentence cut off
    assert text == reproduce(*command, "-h").out


def test_every_option_and_command_is_explained() -> None:
    for command in commands.commands.values():
        assert command.help
        for option in command.params:
            assert isinstance(option, click.Argument) or option.help, f"{command.name} {option.name}"


def test_help_names_what_settings_yaml_has(reproduce: Reproduce) -> None:
    for command in ("figure1", "explain"):
        text = reproduce(command, "--help").out
        for name in (*named_settings().variants, *named_settings().profiles):
            assert name in text
        assert "stale_window" in text


def test_without_a_command_there_is_help(reproduce: Reproduce) -> None:
    assert reproduce() == reproduce("--help")
    assert reproduce("--version").out == f"reproduce, version {__version__}\n"


# --- photos and their names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "my cat",
        "cat, sleeping",
        "Kätzchen 猫",
        "price $5 $x_1$",
        "new\nline",
        "%s {0}",
        "x" * 200,
        "..hidden",
        "-dash",
        "\udcff",
    ],
    ids=["space", "comma", "unicode", "dollar", "newline", "format", "long", "dots", "dash", "bytes"],
)
@pytest.mark.filterwarnings("error")
def test_a_photo_may_have_any_name(explain: Reproduce, name: str) -> None:
    path = Path(f"./{name}.png")
    Image.fromarray(noise(2)).save(path)
    outcome = explain("--sampler", "marginal", photo=f"./{path}")
    assert outcome.code == 0, outcome.err
    assert [file.suffix for file in outcome.files] == [".png", ".pdf", ".h5"]
    assert all(file.is_file() and file.parent == Path("results/explain") for file in outcome.files)


def test_photos_of_a_figure_are_separated_by_commas_or_spaces_unless_that_is_their_name(
    reproduce: Reproduce, home: Path
) -> None:
    names = ["one.png", "two.png", "my cat.png", "a, b.png"]
    for number, name in enumerate(names):
        Image.fromarray(noise(20 + number)).save(name)

    def shown(photos: str) -> list[str]:
        options = ["--networks", "tiny", "--pool", home / "pool", *COARSE]
        outcome = reproduce("figure1", "--photos", photos, *options)
        assert outcome.code == 0, outcome.err
        with h5py.File(outcome.files[2]) as file:
            return [file[number].attrs["photo"] for number in sorted(file)]

    assert shown("one.png, my cat.png") == ["one", "my cat"]
    assert shown("one.png two.png") == ["one", "two"]
    assert shown("a, b.png") == ["a, b"]


# --- explain ------------------------------------------------------------------------------------------------------


def test_an_explanation_is_a_picture_and_its_arrays(explain: Reproduce) -> None:
    outcome = explain()
    assert outcome.code == 0
    assert outcome.files == [Path(f"results/explain/cat-tiny.{suffix}") for suffix in ("png", "pdf", "h5")]
    assert Image.open(outcome.files[0]).format == "PNG"
    assert outcome.files[1].read_bytes().startswith(b"%PDF")
    with h5py.File(outcome.files[2]) as file:
        group = file["0"]
        assert {"photo", "sensitivity", "marginal", "conditional"} < set(group)
        assert group["photo"].shape == (32, 32, 3)
        for name, found in maps().items():
            np.testing.assert_allclose(group[name], found.maps[0], rtol=1e-6)
            np.testing.assert_allclose(group[f"{name}_standard_error"], found.map_errors[0], rtol=1e-6)
            assert group[name].attrs["measure"] == "WE"


def test_the_same_command_makes_the_same_bytes(explain: Reproduce) -> None:
    assert explain("--out", "one").code == explain("--out", "two").code == 0
    for name in ("cat-tiny.png", "cat-tiny.pdf"):
        assert Path("one/explain", name).read_bytes() == Path("two/explain", name).read_bytes()


@pytest.mark.parametrize("sampler", ["marginal", "conditional"])
def test_one_sampler_alone(explain: Reproduce, sampler: str) -> None:
    outcome = explain("--sampler", sampler)
    assert list(maps()) == [sampler]
    with h5py.File(outcome.files[2]) as file:
        assert {"marginal", "conditional"} & set(file["0"]) == {sampler}


def test_top_is_the_class_with_the_highest_probability(explain: Reproduce) -> None:
    outcome = explain("--sampler", "marginal", "--target", "prob:0", "--target", "prob:1", "--target", "prob:2")
    known = maps()["marginal"].known
    assert known.sum() == pytest.approx(1, abs=1e-6)
    with h5py.File(outcome.files[2]) as file:
        best = json.loads(file["0"].attrs["best"])
    assert [p for _, p in best] == pytest.approx(sorted(known, reverse=True))
    assert best[0][0] == ["first class", "second class", "third class"][int(np.argmax(known))]
    explain("--sampler", "marginal", "--target", "top", "--out", "top")
    assert str(maps("top")["marginal"].targets[0]) == f"prob:{np.argmax(known)}"


def test_weight_of_evidence_for_probabilities_and_activation_difference_for_all_else(explain: Reproduce) -> None:
    targets = ["prob:1", "fc:1", "conv1:2", "conv1:2,3,4"]
    explain("--sampler", "marginal", *(word for target in targets for word in ("--target", target)))
    found = maps()["marginal"]
    assert [str(target) for target in found.targets] == targets
    assert found.measures == ("WE", "AD", "AD", "AD")


def test_a_target_named_twice_is_explained_once(explain: Reproduce) -> None:
    explain("--sampler", "marginal", "--target", "fc:1", "--target", "fc:1")
    assert len(maps()["marginal"].targets) == 1


def test_an_onnx_file_goes_by_its_own_name(explain: Reproduce, reproduce: Reproduce, home: Path) -> None:
    description, weights = home / "models" / "tiny" / "deploy.prototxt", home / "models" / "tiny" / "tiny.caffemodel"
    assert reproduce("convert", description, weights, "-o", "same.onnx", "--licence", "mine").files == [
        Path("same.onnx")
    ]
    # Converted from a network in models/: its card is known.
    assert explain("--sampler", "marginal", network="same.onnx").files[0].name == "cat-tiny.png"
    Path("other.caffemodel").write_bytes(tiny_weights(seed=4))
    reproduce("convert", description, "other.caffemodel", "-o", "my own.onnx")
    outcome = explain("--sampler", "marginal", "--card", "tiny", network="my own.onnx")
    assert outcome.files[0].name == "cat-my_own.png"
    with h5py.File(outcome.files[2]) as file:
        assert file["0"].attrs["network"] == "my own"


# --- networks and weights -----------------------------------------------------------------------------------------


def test_networks_are_listed_with_what_they_need(reproduce: Reproduce, home: Path) -> None:
    add_network(home, "absent", present=False)
    lines = reproduce("networks").out.splitlines()
    assert lines[0].startswith("absent: Absent needs absent.caffemodel")
    assert lines[1] == "tiny: ready"


def test_weights_of_all_networks_are_tried_and_the_missing_ones_are_named(reproduce: Reproduce, home: Path) -> None:
    add_network(home, "absent", present=False)
    outcome = reproduce("weights")
    assert outcome.code == 2
    assert [path.parent.name for path in outcome.files] == ["tiny"]
    assert outcome.err.splitlines()[-1] == "reproduce: no weights for absent; the reasons stand above"


def test_weights_come_from_a_mirror(reproduce: Reproduce, home: Path) -> None:
    add_network(home, "absent", present=False)
    Path("mirror").mkdir()
    Path("mirror/absent.caffemodel").write_bytes(tiny_weights())
    outcome = reproduce("weights", "absent", "--mirror", "mirror")
    assert outcome.code == 0, outcome.err
    assert outcome.files[0].is_file()


# --- figure 1 -----------------------------------------------------------------------------------------------------


def paper_networks(home: Path, present: list[str]) -> None:
    """The three networks of the paper and their stand-ins, all tiny."""
    package = {"name": "no-such-package", "file": "weights.pth", "bytes": 1, "sha256": "0" * 64}
    for number, name in enumerate(("alexnet", "googlenet", "vgg16")):
        add_network(home, name, tiny_weights(seed=number), name in present)
        data = tiny_weights(seed=10 + number)
        folder = add_network(home, f"stand_in{number}", data, kind="embedded", stands_in_for=name)
        text = (folder / "model.yaml").read_text()
        start = text.index("  urls:")
        urls = text[start:].split("\n", maxsplit=2)
        own = f"  package: {json.dumps(package)}"
        (folder / "model.yaml").write_text("\n".join([text[:start] + own, *urls[2:]]))


def figure1(reproduce: Reproduce, home: Path, *arguments: str) -> Outcome:
    return reproduce("figure1", "--photos", "cat", "--pool", home / "pool", *COARSE, *arguments)


def shown_networks(path: Path) -> list[str]:
    with h5py.File(path) as file:
        return [file[number].attrs["network"] for number in sorted(file)]


def test_figure_1_shows_the_papers_networks_where_all_are_there(reproduce: Reproduce, home: Path) -> None:
    paper_networks(home, ["alexnet", "googlenet", "vgg16"])
    outcome = figure1(reproduce, home)
    assert outcome.files == [Path(f"results/figure1.{suffix}") for suffix in ("png", "pdf", "h5")]
    assert shown_networks(outcome.files[2]) == ["alexnet", "googlenet", "vgg16"]
    assert "stand in" not in outcome.err


def test_figure_1_never_mixes_networks_and_stand_ins(reproduce: Reproduce, home: Path) -> None:
    paper_networks(home, ["alexnet", "vgg16"])
    outcome = figure1(reproduce, home)
    assert shown_networks(outcome.files[2]) == ["stand_in0", "stand_in1", "stand_in2"]
    assert "Googlenet needs googlenet.caffemodel" in outcome.err
    assert "Embedded networks stand in for the paper's: Stand_in0 for Alexnet, Stand_in1 for Googlenet" in outcome.err


def test_a_wrong_file_is_no_missing_one(reproduce: Reproduce, home: Path) -> None:
    paper_networks(home, ["alexnet", "googlenet", "vgg16"])
    path = home / "models" / "vgg16" / "vgg16.caffemodel"
    path.write_bytes(b"half")
    assert figure1(reproduce, home).error.startswith(f"{path}: expected ")


def test_a_network_that_is_asked_for_by_name_has_no_stand_in(reproduce: Reproduce, home: Path) -> None:
    paper_networks(home, ["alexnet"])
    assert "run `reproduce weights vgg16` or put the file into" in figure1(reproduce, home, "--networks", "vgg16").error
    outcome = figure1(reproduce, home, "--networks", "stand_in1,alexnet")
    assert shown_networks(outcome.files[2]) == ["stand_in1", "alexnet"]


def test_on_a_cpu_the_papers_profile_is_offered_with_its_time(reproduce: Reproduce, home: Path) -> None:
    outcome = figure1(reproduce, home, "--networks", "tiny")
    pattern = r"^Profile quick\. The paper's takes about .* here: make figure1 PROFILE=paper$"
    assert re.search(pattern, outcome.err, re.MULTILINE)
    # And again, when all is read from the files.
    assert re.search(pattern, figure1(reproduce, home, "--networks", "tiny").err, re.MULTILINE)


@pytest.mark.slow
def test_figure_1_of_an_embedded_network(reproduce: Reproduce, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PREDICT_DIFF_HOME", str(PROJECT))
    if not networks.available("efficientnet_lite0"):
        pytest.skip("its package is not installed")
    # Nothing may be downloaded.
    monkeypatch.setattr("socket.socket.connect", lambda *arguments: pytest.fail("the network was used"))
    assert reproduce("weights", "efficientnet_lite0").code == 0
    settings = ["--stride", "10", "--samples", "1", "--provider", "cpu", "--profile", "quick"]
    outcome = reproduce("figure1", "--networks", "efficientnet_lite0", "--photos", "chelsea", *settings)
    assert outcome.code == 0, outcome.err
    assert [file.suffix for file in outcome.files if file.stat().st_size] == [".png", ".pdf", ".h5"]
    with h5py.File(outcome.files[2]) as file:
        name, probability = json.loads(file["0"].attrs["best"])[0]
        # From a prototype that shares no code with this project.
        assert name == "Egyptian cat"
        assert probability == pytest.approx(0.405, abs=0.02)


# --- interruptions and pipes --------------------------------------------------------------------------------------


def start(*command: str | Path, **environment: str | Path) -> subprocess.Popen[str]:
    """Start Python with a command line, as from a terminal."""
    return subprocess.Popen(
        [sys.executable, *map(str, command)],
        env={**os.environ, "PYTHONPATH": str(PROJECT), **{name: str(value) for name, value in environment.items()}},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Where the tests run in the background, Ctrl-C may be switched off.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


INTERRUPTED = "reproduce: interrupted; what was complete is kept, nothing is half-written"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_explanation_leaves_nothing_half_done(
    explain: Reproduce, home: Path, number: signal.Signals
) -> None:
    endless = ["--samples", "1000000", "--sampler", "conditional", "--threads", "1"]
    process = start("-m", "reproduce", "explain", "cat", "--network", "tiny", "--pool", home / "pool", *CHEAP, *endless)
    # The statistics are stored just before computing starts.
    deadline = time.monotonic() + 60
    while not list(Path().glob("results/statistics/*.h5")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.2)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2, errors
    assert errors.splitlines()[-1].startswith(INTERRUPTED)
    assert "Traceback" not in errors
    assert not list(Path("results").glob("maps/*"))
    assert not list(Path().rglob("*.part"))
    assert explain().code == 0


def test_an_interruption_that_python_makes_another_error_of(
    explain: Reproduce, monkeypatch: pytest.MonkeyPatch
) -> None:
    def init() -> None:
        class Named:
            def __set_name__(self, owner: type, name: str) -> None:
                signal.raise_signal(signal.SIGTERM)

        type("Plugin", (), {"layers": Named()})

    # While Pillow imports what reads one kind of pictures. Python 3.11 makes a RuntimeError of it.
    monkeypatch.setattr("PIL.Image.init", init)
    outcome = explain()
    assert outcome.code == 2
    assert outcome.err.splitlines()[-1].startswith(INTERRUPTED)


@pytest.mark.parametrize("module", ["reproduce.commands", "pydantic", "onnxruntime"])
def test_an_interruption_in_the_midst_of_an_import(home: Path, module: str) -> None:
    code = f"""
import os, signal, sys
from reproduce import cli

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
sys.argv = ["reproduce", "explain", "cat", "--network", "tiny"]
cli.main()
"""
    process = start("-c", code)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert len(errors.splitlines()) == 1
    assert errors.startswith(INTERRUPTED)


def test_a_reader_that_goes_away_is_no_error_to_speak_of(home: Path) -> None:
    process = start("-m", "reproduce", "networks")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.wait() == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no such device here")
def test_output_that_cannot_be_written_ends_in_one_line(home: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "reproduce", "networks"]
        process = subprocess.run(command, env=environment, stdout=full, stderr=subprocess.PIPE, text=True)
    assert process.returncode == 2
    assert process.stderr == "reproduce: output: could not be read or written (No space left on device)\n"


@pytest.mark.parametrize("file", ["settings.yaml", "figures/figure1.yaml"])
def test_a_wrong_file_of_the_package_ends_in_one_line(home: Path, tmp_path: Path, file: str) -> None:
    for package in ("predict_diff", "reproduce"):
        (tmp_path / "copy" / package).mkdir(parents=True)
        for path in (PROJECT / package).rglob("*"):
            if path.suffix in (".py", ".yaml", ".proto"):
                copy = tmp_path / "copy" / package / path.relative_to(PROJECT / package)
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(path.read_bytes())
    wrong = tmp_path / "copy" / "reproduce" / file
    wrong.write_text(wrong.read_text().replace("\n", "\nsead: 0\n", 1))
    process = start("-P", "-m", "reproduce", "figure1", PYTHONPATH=tmp_path / "copy")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert errors.startswith(f"reproduce: {wrong}:2: sead: unknown field")
    assert len(errors.splitlines()) == 1

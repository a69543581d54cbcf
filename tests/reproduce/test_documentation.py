"""What stands in the README and in the pages is tried as it stands there: code, commands, links, the site."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import os
import re
import shlex
import subprocess
import sys
from importlib.metadata import metadata
from pathlib import Path
from unittest import mock

import click
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from pages import Block, Page
from PIL import Image
from tiny_home import DESCRIPTION, PROJECT, SIZE, Reproduce, add_network, noise, tiny_weights

from predict_diff.caffe.layers import LAYER_TYPES
from predict_diff.caffe.reference.table import TYPES
from reproduce.commands import commands

DOCS = PROJECT / "reproduce" / "docs"
FILES = [PROJECT / "README.md", *(PROJECT / name / "README.md" for name in ("models", "data")), *DOCS.rglob("*.md")]
NAMES = [path.relative_to(PROJECT).as_posix() for path in FILES]
PAGES = {name: Page.read(PROJECT / name) for name in sorted(NAMES)}

#: Every name that these list is public.
PUBLIC = ("predict_diff", *(f"predict_diff.{name}" for name in ("samplers", "methods", "measures", "interoperability")))

#: Commands that take no time before a tiny network; others are only read, unless they say --dry-run.
QUICK = ("convert", "explain", "inspect", "networks")

#: Classes of the network in net.onnx: those of ImageNet, of which the README explains one.
CLASSES = 1000

#: What SLURM sets in a task of an array.
TASK = {"SLURM_ARRAY_TASK_ID": "3"}

every_page = pytest.mark.parametrize("name", PAGES)


def classifier(size: int = SIZE, scores: bool = False) -> onnx.ModelProto:
    """Convolution, ReLU, inner product, and a softmax unless it gives scores; 3 x size x size -> CLASSES."""
    generator = np.random.default_rng(0)
    places = (size - 5) // 3 + 1
    weights = {
        "w1": (0.01, (4, 3, 5, 5)),
        "b1": (0.1, (4,)),
        "w2": (0.1, (CLASSES, 4 * places**2)),
        "b2": (0.1, (CLASSES,)),
    }
    tensors = [
        numpy_helper.from_array(generator.normal(0, scale, shape).astype(np.float32), name)
        for name, (scale, shape) in weights.items()
    ]
    nodes = [
        helper.make_node("Conv", ["data", "w1", "b1"], ["conv1"], strides=[3, 3]),
        helper.make_node("Relu", ["conv1"], ["relu1"]),
        helper.make_node("Flatten", ["relu1"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w2", "b2"], ["fc"], transB=1),
        helper.make_node("Softmax", ["fc"], ["prob"], axis=1),
    ]
    output = "fc" if scores else "prob"
    ends = [
        helper.make_tensor_value_info("data", TensorProto.FLOAT, ["N", 3, size, size]),
        helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", CLASSES]),
    ]
    graph = helper.make_graph(nodes[: 4 + (not scores)], "classifier", ends[:1], ends[1:], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)


@pytest.fixture
def reader(reproduce: Reproduce, home: Path, monkeypatch: pytest.MonkeyPatch) -> Reproduce:
    """The command line, called in a folder that has what a reader of the pages has: small stand-ins for it.

    ``net.onnx`` (a classifier of RGB photos of 32 x 32 pixels in 1000 classes), ``photos/`` (24 photos of that size),
    ``cat.jpg``; ``resnet50.onnx`` (of 96 x 96 pixels; gives scores); ``mynet.prototxt`` and ``mynet.caffemodel``; and
    the paper's and the embedded networks, all tiny.
    """
    monkeypatch.chdir(home)
    onnx.save(classifier(), "net.onnx")
    onnx.save(classifier(96, scores=True), "resnet50.onnx")
    Path("photos").mkdir()
    for number in range(24):
        Image.fromarray(noise(200 + number)).save(f"photos/{number:02}.png")
    Image.fromarray(noise(2, 48, 64)).save("cat.jpg")
    Path("mynet.prototxt").write_text(DESCRIPTION)
    Path("mynet.caffemodel").write_bytes(tiny_weights())
    for name in ("alexnet", "googlenet", "vgg16", "efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"):
        add_network(home, name)
    return reproduce


# --- code ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@every_page
def test_code_runs_as_it_stands(name: str, reader: Reproduce) -> None:
    follow(name, reader)


@pytest.mark.strangers
@pytest.mark.parametrize("name", [name for name, page in PAGES.items() if any(block.needs for block in page.blocks)])
def test_code_runs_with_the_packages_that_it_needs(name: str, reader: Reproduce) -> None:
    for package in {package for block in PAGES[name].blocks for package in block.needs}:
        pytest.importorskip(package)
    follow(name, reader, packages=True)


def follow(name: str, reproduce: Reproduce, packages: bool = False) -> None:
    """Do what the blocks of a page say, one after the other; those that need packages only if these are there."""
    namespace: dict[str, object] = {"__name__": "__main__"}
    if name == "README.md":  # whose reader has photos already, as the network sees them
        photos = np.stack([noise(number) for number in range(24)]).transpose(0, 3, 1, 2).astype(np.float32) - 128
        namespace |= {"x": photos[0], "pool": photos[1:]}
    said = ""
    with mock.patch.dict(LAYER_TYPES), mock.patch.dict(TYPES):  # a page may add a layer type
        for block in PAGES[name].blocks:
            where = f"{name}:{block.line}"
            runs = not block.not_run and not block.file and (packages or not block.needs)
            if block.file:
                Path(block.file).parent.mkdir(parents=True, exist_ok=True)
                Path(block.file).write_text(block.text, encoding="utf-8")
            if block.language == "python":
                code = compile("\n" * block.line + block.text, PAGES[name].path, "exec")
                if runs:
                    with contextlib.redirect_stdout(io.StringIO()) as printed:
                        exec(code, namespace)  # noqa: S102 - the project's own pages
                    said = printed.getvalue()
            elif block.language == "sh":
                runnable = [line for line in lines(block) if parse(line, where, block)]
                said = "".join(run(reproduce, line, where) for line in runnable if runs)
            elif not block.file:
                assert block.language == "text", f"{where}: a block in a language that nobody tries: {block.language!r}"
                assert block.text == said, f"{where}: expected what the block before it prints"


def lines(block: Block) -> list[str]:
    """The commands of a block, long ones put together."""
    return [line for line in block.text.replace("\\\n", " ").splitlines() if shlex.split(line, comments=True)]


def split(line: str) -> list[str]:
    """The words of a command, as those would meet it who run it on a cluster."""
    with mock.patch.dict(os.environ, TASK):
        words = [os.path.expandvars(word) for word in shlex.split(line, comments=True)]
    return words[words[0] == "srun" :]


def parse(line: str, where: str, block: Block) -> bool:
    """Whether a command takes no time before a tiny network; an error if there is no such command, option or extra."""
    words = split(line)
    assert words[0] in ("reproduce", "make", "pip") or block.not_run, f"{where}: nobody tries {words[0]}"
    try:
        check(words)
    except (click.ClickException, AssertionError) as error:
        raise AssertionError(f"{where}: {line}: {error}") from error
    return words[0] == "reproduce" and (words[1] in QUICK or "--dry-run" in words)


def check(words: list[str]) -> None:
    """Read a command as those would who run it."""
    if words[0] == "reproduce":
        with commands.make_context("reproduce", [], resilient_parsing=True) as context:
            name, command, arguments = commands.resolve_command(context, words[1:])
            with contextlib.suppress(click.exceptions.Exit), contextlib.redirect_stdout(io.StringIO()):  # --help
                command.make_context(name, arguments, parent=context)
    elif words[0] == "make":
        made = subprocess.run(
            ["make", "--dry-run", "--no-print-directory", "READY=nowhere", *words[1:]],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert made.returncode == 0, made.stderr
        for line in made.stdout.replace("\\\n", " ").splitlines():
            if line.startswith(".venv/bin/reproduce "):
                check(["reproduce", *shlex.split(line)[1:]])
    else:
        known = metadata("prediction-difference").get_all("Provides-Extra") or []
        for extras in re.findall(r"\[([\w,]+)\]", " ".join(words)):
            assert set(extras.split(",")) <= set(known)


def run(reproduce: Reproduce, line: str, where: str) -> str:
    """Run a command; what it prints."""
    done = reproduce(*split(line)[1:])
    assert done.code == 0, f"{where}: {line}: {done.err}"
    return done.out


@every_page
def test_commands_within_a_line_are_right(name: str) -> None:
    for command in PAGES[name].commands:
        words = split(command.partition("…")[0])
        if len(words) > 1 and not words[1].isupper():
            try:
                check(words)
            except (click.MissingParameter, click.exceptions.NoArgsIsHelpError):
                pass  # in a line, what a command takes need not be told
            except (click.ClickException, AssertionError) as error:
                raise AssertionError(f"{name}: `{command}`: {error}") from error


# --- links --------------------------------------------------------------------------------------------------------


@every_page
def test_links_lead_somewhere(name: str) -> None:
    page = PAGES[name]
    for link in page.links:
        if re.match(r"https?://[\w.-]+(/\S*)?$", link):
            continue  # not asked for: tests need no network
        target, _, anchor = link.partition("#")
        path = (page.path.parent / target).resolve() if target else page.path
        assert path.exists(), f"{name}: {link}: no such file"
        assert path.is_relative_to(PROJECT), f"{name}: {link}: outside the project"
        if anchor:
            assert anchor in Page.read(path).anchors, f"{name}: {link}: no such heading"


@every_page
def test_files_that_are_named_exist(name: str) -> None:
    # What the tools make is not there yet: weights, converted networks, photos.
    for file in PAGES[name].files:
        made = re.match(r"models/\w+/|data/photos/", file)
        assert made or (PROJECT / file).exists(), f"{name}: `{file}`: no such file"


# --- the site -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages as `make docs` builds them, warnings being errors."""
    pytest.importorskip("sphinx")
    folder = tmp_path_factory.mktemp("site")
    made = subprocess.run(
        ["make", "--dry-run", "READY=nowhere", "docs", f"OUT={folder}"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    command = next(line for line in made.stdout.splitlines() if "sphinx" in line)
    built = subprocess.run(
        [sys.executable, *shlex.split(command)[1:]], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    return folder / "docs"


@pytest.mark.slow
def test_the_site_has_every_page(site: Path) -> None:
    for path in DOCS.rglob("*.md"):
        assert (site / path.relative_to(DOCS).with_suffix(".html")).exists()


@pytest.mark.slow
def test_the_reference_has_every_public_name(site: Path) -> None:
    inventory = importlib.import_module("sphinx.util.inventory").InventoryFile
    with (site / "objects.inv").open("rb") as file:
        found = inventory.load(file, "", lambda base, name: name)
    documented = {name for kind, names in found.items() if kind.startswith("py:") for name in names}
    objects = {id(value) for name in documented if (value := resolved(name)) is not None}
    for module in map(importlib.import_module, PUBLIC):
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                assert f"{module.__name__}.{name}" in documented or id(value) in objects, f"{module.__name__}.{name}"


def resolved(name: str) -> object:
    """What a dotted name stands for; None where it is an attribute of instances."""
    with contextlib.suppress(ImportError, AttributeError):
        module, _, last = name.rpartition(".")
        return getattr(importlib.import_module(module), last)
    return None


@pytest.mark.slow
def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    for path in site.rglob("*.html"):
        for tag in re.findall(r"<(?:script|link|img|iframe)\b[^>]*>", path.read_text(encoding="utf-8")):
            assert not re.search(r"(src|href)=\"(https?:)?//", tag), f"{path.name}: {tag}"
    for path in site.rglob("*.css"):
        assert not re.search(r"url\([\"']?(https?:)?//|@import [\"']?(https?:)?//", path.read_text(encoding="utf-8"))


# --- the tests themselves -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "reproduce figure1 --sample 3",
        "reproduce figure9",
        "reproduce figure1 --shard 5/4",
        "make nothing",
        "make figure1 PROFILE=slow",
        "pip install '.[nothing]'",
        "curl -O somewhere",
    ],
)
def test_a_wrong_command_is_noticed(line: str) -> None:
    with pytest.raises(AssertionError):
        parse(line, "page.md:1", Block("sh", line, 1))


def test_comments_say_what_is_done_with_a_block() -> None:
    page = Page(
        Path("page.md"), "<!-- file: a.yaml -->\n```yaml\nk: 10\n```\n\n<!-- needs: a, b -->\n```python\nx = 1\n```\n"
    )
    assert page.blocks == [
        Block("yaml", "k: 10\n", 2, file="a.yaml"),
        Block("python", "x = 1\n", 7, needs=("a", "b")),
    ]


def test_headings_and_links_are_found_outside_of_code() -> None:
    page = Page(
        Path("page.md"), "# `k` and l, chosen\n\n```text\n# no heading [no](link)\n```\n\n[a](b.md#c) `[d](e)`\n"
    )
    assert page.anchors == {"k-and-l-chosen"}
    assert page.links == ["b.md#c"]

"""The command line: `reproduce figure1`, `reproduce explain`, `reproduce convert`, `reproduce weights`, ..."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

import click

from predict_diff import __version__
from predict_diff.errors import PredictDiffError, ResultError, closest

from . import networks
from .config import FaultName, Panel, SamplerName, named_settings

logger = logging.getLogger(__name__)

#: Every error that the user can mend, an interruption included.
FAILED = 2

F = TypeVar("F", bound=Callable[..., Any])


def main() -> None:
    """Run the command line. Whatever the user can mend ends in one line and exit code 2."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    for package in ("predict_diff", "reproduce"):
        logging.getLogger(package).addHandler(handler)
        logging.getLogger(package).setLevel(logging.INFO)
    try:
        sys.exit(commands.main(prog_name="reproduce", standalone_mode=False) or 0)
    except PredictDiffError as error:
        _fail(str(error))
    except click.ClickException as error:
        _fail(error.format_message())
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted; what was complete is kept, nothing is half-written; the same command goes on from there")
    except MemoryError:
        _fail("there is not enough memory; lower --batch-size, or use a smaller network or photo")


def _fail(message: str) -> None:
    click.echo(f"reproduce: {' '.join(message.split())}", err=True)
    sys.exit(FAILED)


class _Commands(click.Group):
    """A group that suggests the closest command for an unknown one."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        known = self.list_commands(ctx)
        if args and args[0] not in known and not args[0].startswith("-"):
            raise click.UsageError(
                f"expected a command ({', '.join(known)}), found '{args[0]}'{closest(args[0], known)}; see --help"
            )
        return super().resolve_command(ctx, args)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="reproduce")
def commands() -> None:
    """Prediction difference analysis: the paper's figures, and your own photos.

    A New Method to Visualize Deep Neural Networks (Zintgraf, Cohen, Welling, arXiv:1603.02518).
    """


class _Names(click.ParamType):
    """Names separated by commas or spaces."""

    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        if isinstance(value, list):
            return value
        found = [name for name in str(value).replace(",", " ").split() if name]
        if not found:
            self.fail("expected at least one name, found none", param, ctx)
        return found


def _method_options(function: F) -> F:
    """Options that say how an explanation is computed; the same for figures and photos."""
    known = named_settings()
    options = [
        click.option(
            "--variant", default="paper", show_default=True, help=f"What is reproduced: {', '.join(known.variants)}."
        ),
        click.option(
            "--profile", help=f"What it costs: {', '.join(known.profiles)}. Default: paper on a GPU, else quick."
        ),
        click.option("--k", type=int, help="Side of a window in pixels."),
        click.option("--l", type=int, help="Side of the outer patch in pixels; follows k if only k is given."),
        click.option("--samples", type=int, help="S, samples of each window."),
        click.option("--stride", type=int, help="Step between windows in pixels."),
        click.option(
            "--faults",
            type=_Names(),
            help=f"Faults of the authors' code to repeat, or 'none': {', '.join(get_args(FaultName))}.",
        ),
        click.option("--seed", type=int, help="Seed of samplers and statistics.  [default: 0]"),
        click.option(
            "--pool",
            default="default",
            show_default=True,
            help="Folder of photos that samplers draw from, or 'default'.",
        ),
        click.option("--provider", default="auto", show_default=True, help="auto, cpu or cuda."),
        click.option("--batch-size", type=int, help="Photos in a batch. Default: chosen from memory."),
        click.option("--threads", type=int, help="Threads on the CPU. Default: all cores."),
        click.option(
            "--palette",
            type=click.Choice(["paper", "safe"]),
            default="paper",
            show_default=True,
            help="Colours: the paper's, or safe for the colour-blind.",
        ),
        click.option(
            "--out",
            type=click.Path(path_type=Path),
            default=Path("results"),
            show_default=True,
            help="Folder for results.",
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def _figure(number: int, networks: list[str] | None, photos: list[str] | None, **options: Any) -> None:
    from .figures.make import make_figure, request

    for path in make_figure(number, request(networks, photos, **options)):
        click.echo(path)


def _add_figures() -> None:
    for path in sorted(Path(__file__).parent.glob("figures/figure*.yaml")):
        number = int(path.stem.removeprefix("figure"))
        command = _method_options(partial(_figure, number))
        command = click.option("--photos", type=_Names(), help="Photos: names in data/ or paths, separated by commas.")(
            command
        )
        command = click.option(
            "--networks", "networks", type=_Names(), help="Networks: names in models/, separated by commas."
        )(command)
        commands.command(f"figure{number}", help=f"Draw figure {number} of the paper.")(command)


@commands.command()
@click.argument("photo")
@click.option("--network", required=True, help="A network in models/, or an ONNX file.")
@click.option("--card", help="For an ONNX file: the network in models/ whose preprocessing and classes it shares.")
@click.option(
    "--target",
    "targets",
    multiple=True,
    help="BLOB:UNIT, or 'top' for the highest class; can be repeated.  [default: top]",
)
@click.option("--sampler", type=click.Choice(["marginal", "conditional", "both"]), default="both", show_default=True)
@_method_options
def explain(photo: str, network: str, card: str | None, targets: tuple[str, ...], sampler: str, **options: Any) -> None:
    """Explain what a network sees in PHOTO: a file, or one of the default photos."""
    from .figures.make import explain_photo, request

    samplers = list(get_args(SamplerName)) if sampler == "both" else [cast(SamplerName, sampler)]
    panels = [panel for panel in get_args(Panel) if panel == "sensitivity" or panel.split("_")[0] in samplers]
    for path in explain_photo(photo, network, card, list(targets) or ["top"], panels, request(None, None, **options)):
        click.echo(path)


@commands.command()
@click.argument("prototxt", type=click.Path(path_type=Path))
@click.argument("weights", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The ONNX file to write.")
@click.option("--licence", default="", help="A line on the weights' licence, kept in the file.")
def convert(prototxt: Path, weights: Path, output: Path, licence: str) -> None:
    """Convert a Caffe network, PROTOTXT and WEIGHTS, to ONNX."""
    from predict_diff.caffe.converter import convert as convert_files
    from predict_diff.storage import whole_file

    if output.is_dir():
        raise ResultError(f"{output}: expected the name of an ONNX file to write, found a folder")
    model = convert_files(prototxt, weights, licence)
    with whole_file(output, ResultError) as file:
        file.write(model.SerializeToString())
    click.echo(output)


@commands.command()
@click.argument("names", nargs=-1)
@click.option("--mirror", help="Base URL or folder to try first; PREDICT_DIFF_MIRROR does the same.")
def weights(names: tuple[str, ...], mirror: str | None) -> None:
    """Fetch, or pack, the weights of NETWORKS (default: all), check and convert them."""
    problems = []
    for name in names or networks.names():
        try:
            networks.obtain_weights(name, mirror)
            click.echo(networks.onnx_path(name))
        except PredictDiffError as error:
            if len(names) == 1:
                raise
            problems.append(name)
            click.echo(f"reproduce: {name}: {error}", err=True)
    if problems:
        raise click.ClickException(f"no weights for {', '.join(problems)}; the reasons stand above")


@commands.command("networks")
def list_networks() -> None:
    """List the networks, and what each still needs."""
    for name in networks.names():
        click.echo(f"{name}: {networks.obstacle(name) or 'ready'}")


@commands.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("results"), show_default=True)
@click.option("--threads", type=int, help="Threads on the CPU. Default: all cores.")
def benchmark(out: Path, threads: int | None) -> None:
    """Measure what Algorithm 1 costs beside the bare network, and the memory it takes."""
    from .benchmark import run

    click.echo(run(out, threads))


_add_figures()

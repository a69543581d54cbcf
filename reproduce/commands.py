"""The commands: `reproduce figure1`, `reproduce explain`, `reproduce convert`, `reproduce weights`, ..."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, cast, get_args

import click

from predict_diff import __version__
from predict_diff.errors import PredictDiffError, closest

from .comparing.command import compare
from .config import Panel, SamplerName, check_threads
from .conversion import convert, inspect
from .merging import merge
from .options import Names, OneOf, method_options, out_option, shown_options, spread_options
from .status import status
from .studies.command import study


class _Commands(click.Group):
    """A group that suggests the closest command for an unknown one."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        known = self.list_commands(ctx)
        if args and args[0] not in known and not args[0].startswith("-"):
            raise click.UsageError(
                f"expected a command ({', '.join(known)}), found '{args[0]}'{closest(args[0], known)}", ctx
            )
        return super().resolve_command(ctx, args)


@click.group(
    cls=_Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, prog_name="reproduce")
@click.pass_context
def commands(ctx: click.Context) -> None:
    """Prediction difference analysis: the paper's figures, and your own photos.

    A New Method to Visualize Deep Neural Networks (Zintgraf, Cohen, Welling, arXiv:1603.02518).
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def _figure(name: str, networks: list[str] | None, photos: list[str] | None, **options: Any) -> None:
    from .figures.make import make_figure
    from .request import request

    for path in make_figure(name, request(networks, photos, **options)):
        click.echo(path)


def _add_figures() -> None:
    for path in sorted(Path(__file__).parent.glob("figures/*.yaml")):
        command = spread_options(method_options(partial(_figure, path.stem)))
        command = click.option(
            "--set",
            "fields",
            multiple=True,
            metavar="NAME=VALUE",
            help=f"A field of {path.name} to set otherwise, its value in YAML: photos=[chelsea]. Can be repeated.",
        )(command)
        command = shown_options("the figure's")(command)
        commands.command(path.stem, help=f"Draw {_title(path)}", short_help=f"Draw {_title(path)}")(command)


def _title(path: Path) -> str:
    """What a figure is called: its YAML's title, as far as a help text needs it."""
    line = next((line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("title:")), "title:")
    return line.removeprefix("title:").strip().strip('"').rstrip(".") + "."


@commands.command(short_help="Explain what a network sees in your own photo.")
@click.argument("photo")
@click.option("--network", required=True, help="A network in models/, or an ONNX file.")
@click.option("--card", help="For an ONNX file: the network in models/ whose preprocessing and classes it shares.")
@click.option(
    "--target",
    "targets",
    multiple=True,
    help="What is explained: BLOB:UNIT, such as prob:281, BLOB:MAP for the mean of a feature map, or 'top', the class "
    "with the highest probability. Can be repeated.  [default: top]",
)
@click.option(
    "--sampler",
    type=OneOf([*get_args(SamplerName), "both"]),
    default="both",
    show_default=True,
    help="What stands in for a window: the same place of other photos, or draws given what surrounds it.",
)
@click.option("--preview", is_flag=True, help="Draw a coarse map first, and refine it in place until it is exact.")
@method_options
@spread_options
def explain(
    photo: str,
    network: str,
    card: str | None,
    targets: tuple[str, ...],
    sampler: str,
    preview: bool,
    **options: Any,
) -> None:
    """Explain what a network sees in PHOTO: a file, or a default photo such as chelsea."""
    from .figures.make import explain_photo
    from .request import request

    samplers = list(get_args(SamplerName)) if sampler == "both" else [cast(SamplerName, sampler)]
    panels = [panel for panel in get_args(Panel) if panel == "sensitivity" or panel.split("_")[0] in samplers]
    chosen = request(None, None, **options)
    for path in explain_photo(photo, network, card, list(targets) or ["top"], panels, chosen, preview):
        click.echo(path)


@commands.command(short_help="Fetch, or pack, weights; check and convert them.")
@click.argument("names", nargs=-1, metavar="[NETWORK]...")
@click.option("--mirror", help="Base URL or folder to try first; PREDICT_DIFF_MIRROR does the same.")
def weights(names: tuple[str, ...], mirror: str | None) -> None:
    """Fetch, or pack, the weights of each NETWORK (default: all), check and convert them."""
    from . import networks

    for name in names:
        networks.card(name)
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
    from . import networks

    for name in networks.names():
        click.echo(f"{name}: {networks.obstacle(name) or 'ready'}")


@commands.command(short_help="Measure what Algorithm 1 costs, in time and memory.")
@out_option("Folder for benchmark.json.")
@click.option("--threads", type=int, help="Threads on the CPU. Default: all cores.")
@click.option("--networks", "names", type=Names(), help="Networks in models/, separated by commas. Default: all.")
@click.option("--growth/--no-growth", default=True, show_default=True, help="How costs grow with k, S, targets, input.")
@click.option("--cluster", is_flag=True, help="Measure instead what a Dask cluster on this machine takes.")
def benchmark(out: Path, threads: int | None, names: list[str] | None, growth: bool, cluster: bool) -> None:
    """Measure an evaluation, incremental and mini-batched, and what Algorithm 1 costs around it."""
    from .benchmark import run
    from .forecast import check_folder

    check_threads(threads)
    check_folder(out)
    click.echo(run(out, threads, names, growth, cluster))


@commands.command(short_help="Check the paper's numbers and claims.")
@click.option(
    "--claims",
    "ids",
    type=Names(),
    help="Ids of claims in claims.yaml, separated by commas; the others keep their verdicts. Default: all.",
)
@click.option(
    "--imagenet",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Validation photos of ILSVRC-2012, or a part of them, with val.txt or in a folder for each class.",
)
@click.option(
    "--references",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Published outputs of the paper's networks, as reference_outputs.yaml names them.",
)
@shown_options("those of claims.yaml")
@method_options
def verify(
    ids: list[str] | None,
    imagenet: Path | None,
    references: Path | None,
    networks: list[str] | None,
    photos: list[str] | None,
    **options: Any,
) -> None:
    """Check the paper's numbers and claims: verdicts are computed, printed, and written to verify.json.

    The seed is added to those of claims.yaml. A claim that is not borne out is a result, and no error.
    """
    from .claims import Folders
    from .claims import verify as verify_claims
    from .request import request
    from .verifying.table import table

    click.echo(table(verify_claims(request(networks, photos, **options), ids, Folders(imagenet, references))))


@commands.command(short_help="Write one HTML page with all figures and all claims.")
@click.option("--figures", "figures", type=Names(), help="Figures to show, separated by commas. Default: all.")
@click.option(
    "--no-verify",
    "check_claims",
    flag_value=False,
    default=True,
    help="Check no claim; the page has the verdicts that are there.",
)
@shown_options("each figure's")
@method_options
def report(
    figures: list[str] | None,
    check_claims: bool,
    networks: list[str] | None,
    photos: list[str] | None,
    **options: Any,
) -> None:
    """Write one page of HTML with all figures, all claims with numbers, settings and times.

    It needs no server and nothing from elsewhere. Figures and verdicts that are missing are made; maps that are there
    are not computed again.
    """
    from .report.make import make_report
    from .request import request

    click.echo(make_report(request(networks, photos, **options), figures, check_claims))


for _command in (compare, convert, inspect, merge, status, study):
    commands.add_command(_command)
_add_figures()

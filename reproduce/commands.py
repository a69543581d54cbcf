"""The commands: `reproduce figure1`, `reproduce explain`, `reproduce convert`, `reproduce weights`, ..."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

import click

from predict_diff import __version__
from predict_diff.errors import PredictDiffError, closest

from .config import FaultName, Panel, SamplerName, check_threads, named_settings
from .conversion import convert, inspect

F = TypeVar("F", bound=Callable[..., Any])


class _Commands(click.Group):
    """A group that suggests the closest command for an unknown one."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        known = self.list_commands(ctx)
        if args and args[0] not in known and not args[0].startswith("-"):
            raise click.UsageError(
                f"expected a command ({', '.join(known)}), found '{args[0]}'{closest(args[0], known)}", ctx
            )
        return super().resolve_command(ctx, args)


class _OneOf(click.Choice):
    """One of some names; the closest is suggested for an unknown one."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in self.choices:
            known = ", ".join(self.choices)
            self.fail(f"expected one of {known}, found '{value}'{closest(value, self.choices)}", param, ctx)
        return str(value)


class _Names(click.ParamType):
    """Names separated by commas or spaces."""

    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        if isinstance(value, list):
            return value
        found = [name for part in self._parts(str(value)) for name in self._split(part)]
        if not found:
            self.fail("expected at least one name, found none", param, ctx)
        return found

    def _parts(self, text: str) -> list[str]:
        return text.split(",")

    def _split(self, part: str) -> list[str]:
        return part.split()


class _PhotoNames(_Names):
    """Names and paths, which may themselves hold commas and spaces if that is what the files are called."""

    def _parts(self, text: str) -> list[str]:
        return [text] if self._is_photo(text) else super()._parts(text)

    def _split(self, part: str) -> list[str]:
        return [part.strip()] if self._is_photo(part.strip()) else super()._split(part)

    @staticmethod
    def _is_photo(text: str) -> bool:
        from .photos import is_photo

        return is_photo(text)


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


def _out(purpose: str) -> Callable[[F], F]:
    return click.option(
        "--out", type=click.Path(path_type=Path), default=Path("results"), show_default=True, help=purpose
    )


def _method_options(function: F) -> F:
    """Options that say how an explanation is computed; the same for figures and photos."""
    known = named_settings()
    options = [
        click.option(
            "--variant",
            type=_OneOf(list(known.variants)),
            default="paper",
            show_default=True,
            help="What is reproduced: the paper, its later version, or the authors' code.",
        ),
        click.option(
            "--profile",
            type=_OneOf(list(known.profiles)),
            help="What it costs: hours on a GPU, or minutes on a CPU. Default: paper on a GPU, else quick.",
        ),
        click.option("--k", type=int, help="Side of a window in pixels. Default: the variant's."),
        click.option(
            "--l", type=int, help="Side of the outer patch in pixels. Default: as much larger than k as in the variant."
        ),
        click.option("--samples", type=int, help="S, samples of each window. Default: the profile's or variant's."),
        click.option("--stride", type=int, help="Step between windows in pixels, at most k. Default: the profile's."),
        click.option(
            "--faults",
            type=_Names(),
            help="With authors_code: which of its known faults to repeat, separated by commas, or 'none'. Default: "
            f"all of them: {', '.join(get_args(FaultName))}.",
        ),
        click.option("--seed", type=int, help="Seed of all that is random. Default: the figure's, or 0."),
        click.option(
            "--pool",
            default="default",
            show_default=True,
            help="Folder of photos that samplers draw from, or 'default': those that come with scikit-image.",
        ),
        click.option(
            "--provider",
            type=_OneOf(["auto", "cpu", "cuda"]),
            default="auto",
            show_default=True,
            help="What runs the network; auto takes the CPU where CUDA cannot run, and says so.",
        ),
        click.option(
            "--precision",
            type=_OneOf(["full", "tf32", "fp16"]),
            default="full",
            show_default=True,
            help="Of the network's arithmetic. tf32 (CUDA only) and fp16 are for speed on a GPU, and not exact: by how "
            "much is measured and stored with the map.",
        ),
        click.option("--gpus", type=_Names(), help="Numbers of GPUs, such as 0,1: each computes a part of the maps."),
        click.option(
            "--evaluator",
            type=_OneOf(["auto", "incremental", "minibatch"]),
            default="auto",
            show_default=True,
            help="Recompute only what a window can change, or everything; auto takes the faster. The map is the same, "
            "but for rounding.",
        ),
        click.option("--batch-size", type=int, help="Photos in a batch. Default: chosen from memory."),
        click.option("--threads", type=int, help="Threads on the CPU. Default: all cores."),
        click.option(
            "--palette",
            type=_OneOf(["paper", "safe"]),
            default="paper",
            show_default=True,
            help="Colours: the paper's, or safe for the colour-blind.",
        ),
        click.option("--force", is_flag=True, help="Compute the maps in damaged files again."),
        _out("Folder for results; maps that are there already are not computed again."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def _figure(name: str, networks: list[str] | None, photos: list[str] | None, **options: Any) -> None:
    from .figures.make import make_figure
    from .request import request

    for path in make_figure(name, request(networks, photos, **options)):
        click.echo(path)


def _add_figures() -> None:
    for path in sorted(Path(__file__).parent.glob("figures/*.yaml")):
        command = _method_options(partial(_figure, path.stem))
        command = click.option(
            "--set",
            "fields",
            multiple=True,
            metavar="NAME=VALUE",
            help=f"A field of {path.name} to set otherwise, its value in YAML: photos=[chelsea]. Can be repeated.",
        )(command)
        command = click.option(
            "--photos",
            type=_PhotoNames(),
            help="Photos, separated by commas: default ones such as chelsea, files in data/photos/, or paths. "
            "Default: the figure's.",
        )(command)
        command = click.option(
            "--networks",
            "networks",
            type=_Names(),
            help="Networks in models/, or ONNX files converted from them, separated by commas. Default: the paper's; "
            "as long as their weights are missing, the embedded ones.",
        )(command)
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
    type=_OneOf([*get_args(SamplerName), "both"]),
    default="both",
    show_default=True,
    help="What stands in for a window: the same place of other photos, or draws given what surrounds it.",
)
@click.option("--preview", is_flag=True, help="Draw a coarse map first, and refine it in place until it is exact.")
@_method_options
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
@_out("Folder for benchmark.json.")
@click.option("--threads", type=int, help="Threads on the CPU. Default: all cores.")
@click.option("--networks", "names", type=_Names(), help="Networks in models/, separated by commas. Default: all.")
@click.option("--growth/--no-growth", default=True, show_default=True, help="How costs grow with k, S, targets, input.")
def benchmark(out: Path, threads: int | None, names: list[str] | None, growth: bool) -> None:
    """Measure an evaluation, incremental and mini-batched, and what Algorithm 1 costs around it."""
    from .benchmark import run
    from .forecast import check_folder

    check_threads(threads)
    check_folder(out)
    click.echo(run(out, threads, names, growth))


@commands.command(short_help="Check the paper's numbers and claims.")
@click.option(
    "--claims",
    "ids",
    type=_Names(),
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
@click.option(
    "--networks",
    "networks",
    type=_Names(),
    help="Networks in models/, or ONNX files converted from them, separated by commas. Default: the paper's; as long "
    "as their weights are missing, the embedded ones.",
)
@click.option(
    "--photos",
    type=_PhotoNames(),
    help="Photos, separated by commas: default ones such as chelsea, files in data/photos/, or paths. Default: those "
    "of claims.yaml.",
)
@_method_options
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
@click.option("--figures", "figures", type=_Names(), help="Figures to show, separated by commas. Default: all.")
@click.option(
    "--no-verify",
    "check_claims",
    flag_value=False,
    default=True,
    help="Check no claim; the page has the verdicts that are there.",
)
@click.option("--networks", "networks", type=_Names(), help="As for each figure. Default: the figure's.")
@click.option("--photos", type=_PhotoNames(), help="As for each figure. Default: the figure's.")
@_method_options
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


commands.add_command(convert)
commands.add_command(inspect)
_add_figures()

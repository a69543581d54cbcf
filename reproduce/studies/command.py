"""`reproduce study`: many maps, from one YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from ..options import ShardNumber, method_options


def _show_columns(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        from .table import columns_in_words

        click.echo(columns_in_words())
        context.exit()


@click.command(short_help="Explain many photos: a table of numbers, an index of maps.")
@click.argument("study", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Only tell what is missing and what it will take; write no results.")
@click.option(
    "--shard",
    type=ShardNumber(),
    help="Compute every so many-th map only, such as 3/16; without it, the same command collects all of them.",
)
@click.option(
    "--dask",
    metavar="ADDRESS",
    help="Have the workers of a Dask scheduler compute the maps: its address, such as tcp://host:8786, or local:N to "
    "start N workers here. Needs the extra `cluster`.",
)
@click.option(
    "--columns", is_flag=True, is_eager=True, expose_value=False, callback=_show_columns, help="Explain the table."
)
@method_options
@click.pass_context
def study(context: click.Context, study: Path, dry_run: bool, **options: Any) -> None:
    """Explain the photos that STUDY, a YAML file, lists: before its networks, by its samplers, with its seeds.

    Into results/NAME, or the folder of --out, go maps, results.csv (and results.parquet, where pyarrow is installed),
    index.html and log.txt. What is there is not computed again, and what was stopped goes on. Options go before what
    the YAML says.
    """
    from .configuration import read_study
    from .study import forecast_study, make_study

    given = {name for name in options if context.get_parameter_source(name) is not ParameterSource.DEFAULT}
    chosen = read_study(study, options, given)
    if dry_run:
        click.echo("\n".join(forecast_study(chosen)))
        return
    for path in make_study(chosen):
        click.echo(path)

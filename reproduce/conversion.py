"""The commands that meet a Caffe network first: `reproduce convert` and `reproduce inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from predict_diff.errors import ConversionError, ResultError

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

    from predict_diff.caffe.reader import Description, Weights


@click.command()
@click.argument("prototxt", type=click.Path(path_type=Path))
@click.argument("weights", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The ONNX file to write.")
@click.option("--licence", default="", help="A line on the weights' licence, kept in the file.")
@click.option(
    "--check",
    is_flag=True,
    help="Run the network and compare every blob with independent implementations; the result is kept in the file.",
)
@click.option(
    "--reference",
    type=click.Path(path_type=Path),
    help="Blobs that the original Caffe computed (.npz, by name), to check against.",
)
@click.option(
    "--input",
    "inputs",
    type=click.Path(path_type=Path),
    help="What to feed the network for the check (.npy, or .npz). Default: the reference's, or random numbers.",
)
@click.option("--full", is_flag=True, help="Show every blob of the check, not only the worst.")
def convert(
    prototxt: Path,
    weights: Path,
    output: Path,
    licence: str,
    check: bool,
    reference: Path | None,
    inputs: Path | None,
    full: bool,
) -> None:
    """Convert a Caffe network, PROTOTXT and WEIGHTS, to ONNX."""
    from predict_diff.caffe.converter import convert_apart, convert_read
    from predict_diff.caffe.plausibility import tell_of_preprocessing
    from predict_diff.caffe.reader import read_description, read_weights
    from predict_diff.network.model_file import write_model
    from predict_diff.storage import whole_file

    if output.suffix != ".onnx" or output.is_dir():
        raise ResultError(f"{output}: expected the name of an ONNX file to write, which ends in .onnx")
    description, stored = read_description(prototxt), read_weights(weights)
    if check or reference or inputs or full:
        model = convert_read(description, stored, licence)
        arrays: dict[str, NDArray[Any]] = {}
        _prove(model, description, stored, inputs, reference, full, output)
    else:
        model, arrays = convert_apart(description, stored, licence)
    with whole_file(output, ResultError) as file:
        write_model(model, file, arrays)
    tell_of_preprocessing(description)
    click.echo(output)


def _prove(
    model: onnx.ModelProto,
    description: Description,
    stored: Weights,
    inputs: Path | None,
    reference: Path | None,
    full: bool,
    output: Path,
) -> None:
    """Check a converted network, show what was found, and keep it in the model; ConversionError if it fails."""
    from predict_diff.caffe.check import attach, check

    report = check(model, description, stored, inputs=inputs, reference=reference)
    click.echo(report.table(full))
    if not report.passed:
        raise ConversionError(
            f"{output}: expected a converted network that computes what Caffe does, found other numbers in the check "
            f"above; the file was not written"
        )
    attach(model, report)


@click.command(short_help="Tell what is in a Caffe or an ONNX file.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--weights", type=click.Path(path_type=Path), help="For a description: match these weights against it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def inspect(file: Path, weights: Path | None, as_json: bool) -> None:
    """Tell what is in FILE: layers, shapes, parameters, multiply-adds, receptive fields and strides.

    FILE is a description (.prototxt), weights (.caffemodel, .h5) or an ONNX file, converted or not.
    """
    from predict_diff.caffe.inspection import inspect as inspect_file
    from predict_diff.caffe.inspection_table import inspection_table

    found = inspect_file(file, weights)
    click.echo(found.to_json() if as_json else inspection_table(found))

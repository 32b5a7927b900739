"""``schuss export``: a model file for other runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from schuss.cli._common import Failure, check_can_write, echo_json, echo_table, json_option, not_empty

__all__ = ["export"]


@click.command(short_help="Write a model file as ONNX.")
@click.argument("model", callback=not_empty)
@click.option(
    "--onnx",
    "out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="Where to write the ONNX file; one that is there is replaced.",
)
@click.option(
    "--input",
    "input_dtype",
    type=click.Choice(["float32", "float64", "uint8"]),
    help="Type of the ONNX input.  [default: the precision of the model]",
)
@json_option
def export(model: str, out: Path, input_dtype: str | None, as_json: bool) -> None:
    """Write the network or estimator in MODEL as an ONNX file, for runtimes without Python or Schuss.

    The input is called X, (n, features). Of a classifier come label and probabilities (scores with the hinge
    loss), of a model for numbers variable. Needs the package onnx: pip install 'schuss[onnx]'.
    """
    check_can_write(out, "--onnx")
    if out.exists() and Path(model).exists() and out.samefile(model):
        raise click.BadParameter(f"{str(out)!r}: this is the input.", param_hint="'--onnx'")

    from schuss.model_file import load
    from schuss.onnx_export import to_onnx, write_onnx

    try:
        proto = to_onnx(load(model), input_dtype=input_dtype)
    except ImportError as error:
        raise Failure(str(error)) from error
    write_onnx(proto, out)
    written = {
        "onnx": out,
        "bytes": out.stat().st_size,
        "inputs": [described(value) for value in proto.graph.input],
        "outputs": [described(value) for value in proto.graph.output],
    }
    if as_json:
        echo_json(written)
    else:
        echo_table(rows(written))


def described(value: Any) -> dict[str, Any]:
    """Name, type and shape of an input or output; n stands for the number of examples."""
    from onnx import TensorProto

    tensor = value.type.tensor_type
    return {
        "name": value.name,
        "type": TensorProto.DataType.Name(tensor.elem_type).lower(),
        "shape": [dim.dim_param or dim.dim_value for dim in tensor.shape.dim],
    }


def rows(written: dict[str, Any]) -> list[tuple[str, str]]:
    """The same as lines for people."""
    lines = [("onnx", str(written["onnx"])), ("bytes", f"{written['bytes']:,}")]
    for kind in ("inputs", "outputs"):
        for value in written[kind]:
            shape = ", ".join(map(str, value["shape"]))
            lines.append((kind[:-1], f"{value['name']}: {value['type']} ({shape})"))
    return lines

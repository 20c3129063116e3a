"""`sluice contract`: contracts made from what there is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from schemas.errors import Problem
from schemas.infer import Inferred, contract_of, infer
from schemas.infer_avro import infer_avro
from schemas.samples import NotInferable, file_bytes, read_samples
from schemas.unreadable import Unreadable
from streams.commands.common import err, out, reporting

app = typer.Typer(help="Contracts: what the records of a topic have to be.", no_args_is_help=True)


@app.callback()
def _contract() -> None:
    """Contracts: what the records of a topic have to be."""


@app.command("infer")
@reporting
def infer_contract(
    file: Annotated[
        Path,
        typer.Argument(help="An Avro schema (`.avsc`), or JSON records: one a line, or an array.", show_default=False),
    ],
    name: Annotated[
        str | None, typer.Option(help="What the contract is called; default is the file's name.", show_default=False)
    ] = None,
    from_: Annotated[
        Literal["avro", "json"] | None,
        typer.Option("--from", help="What the file holds; default is told by its suffix.", show_default=False),
    ] = None,
    debezium: Annotated[
        bool, typer.Option("--debezium", help="It is of change events: describe the row in `after`.")
    ] = False,
    to: Annotated[
        Path | None,
        typer.Option("--out", help="New file to write; default is to print the contract.", show_default=False),
    ] = None,
) -> None:
    """Print a contract that an Avro schema or sample records keep to, as a first version to read and to tighten.

    Of samples it says only what all of them have in common: check what is required, and what may be null.
    """
    kind = from_ or ("avro" if file.suffix == ".avsc" else "json")
    found = _of_avro(file, is_debezium=debezium) if kind == "avro" else infer(read_samples(file, is_debezium=debezium))
    if "properties" not in found.schema:
        what = "It has no field whose name can be a column."
        raise NotInferable([Problem(file, 0, "", what, "Rename the fields where they are produced.")])
    text = json.dumps(contract_of(found.schema, name or file.stem), indent=2, ensure_ascii=False)
    for field in found.left_out:
        err.print(
            f"{field} is left out: its name can not be a column, or differs from another only in case. "
            "Its values go to `_rescued_data`.",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    if to is None:
        out.print(text, markup=False, highlight=False, soft_wrap=True)
    else:
        _write(to, f"{text}\n")


def _of_avro(file: Path, *, is_debezium: bool) -> Inferred:
    try:
        return infer_avro(file_bytes(file).decode("utf-8"), is_debezium=is_debezium)
    except UnicodeDecodeError:
        problem = Problem(file, 0, "", "The file is not UTF-8.", "Save it as UTF-8.")
    except (Unreadable, RecursionError):
        problem = Problem(file, 0, "", "It is not an Avro schema.", "Give one, or records with `--from json`.")
    except ValueError as error:
        remedy = "Leave `--debezium` away, or give the schema of the envelope." if is_debezium else "Give a record's."
        problem = Problem(file, 0, "", f"No row can be described: {error}.", remedy)
    raise NotInferable([problem])


def _write(to: Path, text: str) -> None:
    try:
        with to.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        remedy = "Give another name, or remove it first."
        raise NotInferable([Problem(to, 0, "--out", "There is such a file already.", remedy)]) from None
    except OSError as error:
        what = f"The file can not be written: {error.strerror}."
        raise NotInferable([Problem(to, 0, "--out", what, "Name a file in a folder that is there.")]) from None

"""`sluice plan`: what would this change do?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from schemas.loader import load
from streams.commands.common import DONE, FAILED, ConfigOption, SetOption, reporting, settings_of
from streams.errors_text import to_json
from streams.plan.make import make_plan
from streams.plan.text import plan_text


@reporting
def plan_command(
    folder: Annotated[
        Path | None,
        typer.Argument(help="The changed folder; default is the setting `pipeline`.", show_default=False),
    ] = None,
    rows: Annotated[
        int, typer.Option(min=0, help="Newest rows, and newest open records, that are judged for each bronze table.")
    ] = 10_000,
    table: Annotated[
        str | None, typer.Option("--table", metavar="TABLE", help="Only this table.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
    config: ConfigOption = None,
    set_: SetOption = None,
) -> int:
    """Show what a changed folder of contracts and specs would do, before it is deployed.

    Recent rows of bronze and open records of the error lanes are judged under the changed contracts, and tables are
    held against their changed specs. Nothing is written; the service may run. The exit code is 1 where something would
    break: records that are accepted today, or a table that the service would refuse; 2 where the folder is not valid.
    """
    settings = settings_of(config, set_)
    found = make_plan(load(folder or settings.pipeline), settings, rows, table)
    typer.echo(to_json(found.to_json()) if as_json else plan_text(found))
    return FAILED if found.breaks else DONE

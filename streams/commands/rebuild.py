"""`sluice rebuild`: silver and gold as they would have been known at an earlier time."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table as Grid

from checkpoints.lake import Lake
from schemas.errors import WrongUsage
from schemas.loader import load
from schemas.pipeline import Pipeline
from schemas.settings import Settings
from streams.commands.common import DONE, FAILED, ConfigOption, SetOption, counted, err, out, reporting, settings_of
from streams.commands.since import parse_since


class NotYet(WrongUsage):
    """A time was given that has not come."""

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__(f"--as-of {text}: that is in the future. `sluice verify` rebuilds the tables as they are now.")


@reporting
def rebuild_command(
    as_of: Annotated[
        str,
        typer.Option(
            "--as-of", metavar="WHEN", help="A date or time (UTC, ISO 8601), or how long ago, as `2h` or `7d`."
        ),
    ],
    to: Annotated[str, typer.Option("--to", metavar="FOLDER", help="Where to make them: a path or URI, still empty.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was made as JSON; asks nothing.")] = False,
    config: ConfigOption = None,
    set_: SetOption = None,
) -> int:
    """Make all tables of silver and gold as they would have been known at an earlier time, in a place of their own.

    They are made from the rows that bronze had by then, under the specs of today. The lake is only read, and the
    service may run. It says first what it is about to do, and asks unless `--yes`.
    """
    settings = settings_of(config, set_)
    pipeline = load(settings.pipeline)
    until = parse_since(as_of, option="--as-of")
    if until > datetime.now(UTC):
        raise NotYet(as_of)
    location = Lake.at(to)
    _check(location)
    if not as_json:
        _say(pipeline, settings, until, location)
        if not yes and not typer.confirm("Go on?"):
            err.print("Nothing was made.", highlight=False)
            return FAILED
    _rebuild(settings, pipeline, until, location, as_json=as_json)
    return DONE


def _check(location: Lake) -> None:
    from streams.verify.as_of import check_free

    check_free(location)


def _say(pipeline: Pipeline, settings: Settings, until: datetime, location: Lake) -> None:
    from streams.verify.nodes import all_tables

    tables = all_tables(pipeline)
    out.print(
        f"{counted(len(tables), 'table')} will be made in {location.root}, as known at {until:%Y-%m-%d %H:%M:%S} UTC: "
        f"{', '.join(tables)}. Made from bronze in {Lake.at(settings.lake).root}, which is only read.",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def _rebuild(settings: Settings, pipeline: Pipeline, until: datetime, location: Lake, *, as_json: bool) -> None:
    from streams import session
    from streams.graph import Graph
    from streams.verify.as_of import rebuild_as_of

    graph = Graph.build(pipeline, settings, decodes=False)
    spark = session.build(settings)
    try:
        made = rebuild_as_of(graph, settings, spark, until, location)
    finally:
        spark.stop()
    if as_json:
        typer.echo(json.dumps([one.to_json() for one in made], indent=2))
        return
    grid = Grid(box=None, pad_edge=False)
    grid.add_column("table", no_wrap=True)
    grid.add_column("rows", justify="right")
    grid.add_column("path", overflow="fold")
    for one in made:
        grid.add_row(one.table, str(one.rows), one.path)
    out.print(grid, highlight=False)

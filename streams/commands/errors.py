"""`sluice errors`: what was rejected, why, and whether it has gone through since."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer
from rich.table import Table as Grid
from rich.text import Text

from checkpoints.lake import Lake
from schemas.loader import load
from schemas.settings import Settings
from streams.commands.common import DONE, FAILED, ConfigOption, SetOption, err, out, reporting, settings_of
from streams.commands.since import parse_since
from streams.errors_report import ErrorLanes
from streams.errors_text import cohort_json, record_json, record_text, to_json

app = typer.Typer(help="The error lanes: records that were rejected, and why.", no_args_is_help=True)

RuleOption = Annotated[
    str | None,
    typer.Option("--rule", metavar="CODE", help="Only records whose first violation is this.", show_default=False),
]
SinceOption = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="WHEN",
        help="Only records rejected since: a date or time (UTC, ISO 8601), or how long ago, as `2h` or `7d`.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


@app.command("list")
@reporting
def list_(
    table: Annotated[
        str | None, typer.Option("--table", metavar="TABLE", help="Only this table's lane.", show_default=False)
    ] = None,
    rule: RuleOption = None,
    since: SinceOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    set_: SetOption = None,
) -> int:
    """List what was rejected by table, rule and contract version: first and last seen, count, open, re-driven.

    Times are UTC. The exit code is 1 where a file of a lane could not be read, and its records are left out.
    """
    lanes = _lanes(settings_of(config, set_))
    found = lanes.cohorts(table, rule, _since(since))
    if as_json:
        typer.echo(to_json([cohort_json(one) for one in found]))
    elif not found:
        out.print("No rejected records.", highlight=False)
    else:
        grid = Grid(box=None, pad_edge=False)
        for heading in ("table", "rule"):
            grid.add_column(heading, overflow="fold")
        for heading in ("contract", "first seen", "last seen"):
            grid.add_column(heading, no_wrap=True)
        for heading in ("count", "open", "re-driven"):
            grid.add_column(heading, justify="right", no_wrap=True)
        for one in found:
            seen = (f"{at:%Y-%m-%d %H:%M:%S}" for at in (one.first_seen, one.last_seen))
            counts = (str(count) for count in (one.count, one.open, one.redriven))
            named = (Text(name) for name in (one.table, one.rule, one.contract_version or "-"))
            grid.add_row(*named, *seen, *counts)
        out.print(grid, highlight=False)
    return _warned(lanes)


@app.command()
@reporting
def show(
    table: Annotated[str, typer.Option("--table", metavar="TABLE", help="The table whose lane is read.")],
    rule: RuleOption = None,
    since: SinceOption = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Most records that are shown.")] = 10,
    raw: Annotated[
        bool, typer.Option("--raw", help="Also show the bytes of key and value as they came, nothing masked.")
    ] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    set_: SetOption = None,
) -> int:
    """Show rejected records, the newest first: where they stood, what they broke, and what they hold.

    Fields that the contract marks with `x-pii`, and fields that it does not know, are shown as `***`. What is not JSON
    is shown as its length and a short hash. The exit code is 1 where a file of the lane could not be read.
    """
    lanes = _lanes(settings_of(config, set_))
    found = lanes.records(table, rule, _since(since), limit)
    if as_json:
        typer.echo(to_json([record_json(one, raw=raw) for one in found]))
    elif not found:
        out.print("No rejected records.", highlight=False)
    else:
        typer.echo("\n\n".join(record_text(one, raw=raw) for one in found))
    return _warned(lanes)


def _lanes(settings: Settings) -> ErrorLanes:
    return ErrorLanes(Lake.at(settings.lake), load(settings.pipeline))


def _since(text: str | None) -> datetime | None:
    return parse_since(text) if text is not None else None


def _warned(lanes: ErrorLanes) -> int:
    for problem in lanes.problems:
        err.print(str(problem), style="yellow", markup=False, highlight=False, soft_wrap=True)
    return FAILED if lanes.problems else DONE

"""`sluice audit`: are all records accounted for?"""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.table import Table as Grid

from checkpoints.lake import Lake
from schemas.errors import WrongUsage
from schemas.loader import load
from schemas.pipeline import Pipeline
from schemas.spec import BronzeSpec
from streams.audit.table import TableAudit, audit
from streams.commands.common import DONE, FAILED, ConfigOption, SetOption, counted, err, out, reporting, settings_of
from streams.commands.since import parse_since
from streams.errors_report import UnknownTable


class NotAudited(WrongUsage):
    """A table below bronze was asked for."""

    def __init__(self, table: str) -> None:
        self.table = table
        super().__init__(f"{table} reads no topic: it is bronze tables that are audited. `sluice audit` lists them.")


@reporting
def audit_command(
    table: Annotated[
        str | None, typer.Option("--table", metavar="TABLE", help="Only this bronze table.", show_default=False)
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="WHEN",
            help="Only batches with a later clock: a date or time (UTC, ISO 8601), or how long ago, as `2h` or `7d`.",
            show_default=False,
        ),
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Look at everything again, not only at what came since the last audit.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    config: ConfigOption = None,
    set_: SetOption = None,
) -> int:
    """Check that every record is accounted for: ledger, tables and error lanes agree, nothing is missing or twice.

    Offsets read = accepted + rejected + dropped, per batch and partition; ranges follow each other; the rows and the
    lanes are really there. Only what came since the last audit is read, unless something touched older rows. May run
    beside the service. The exit code is 1 where there is any difference; each is named with its exact range.
    """
    settings = settings_of(config, set_)
    names = _names(load(settings.pipeline), table)
    after = parse_since(since) if since is not None else None
    lake = Lake.at(settings.lake)
    found = [audit(lake, name, full=full, since=after) for name in names]
    if as_json:
        typer.echo(json.dumps([one.to_json() for one in found], indent=2))
    else:
        _print(found)
    return FAILED if any(one.differences for one in found) else DONE


def _names(pipeline: Pipeline, table: str | None) -> list[str]:
    bronze = [name for name in pipeline.order if isinstance(pipeline.tables[name], BronzeSpec)]
    if table is None or table in bronze:
        return bronze if table is None else [table]
    if table in pipeline.tables:
        raise NotAudited(table)
    raise UnknownTable(table, bronze)


def _print(found: list[TableAudit]) -> None:
    grid = Grid(box=None, pad_edge=False)
    grid.add_column("table", no_wrap=True)
    for heading in ("batches", "read", "accepted", "rejected", "dropped", "without a record", "differences"):
        grid.add_column(heading, justify="right")
    for one in found:
        totals = one.totals
        counts = (totals.batches, totals.read, totals.accepted, totals.rejected, totals.dropped, totals.without_record)
        shown = [str(count) for count in (*counts, len(one.differences))] if one.version is not None else ["-"] * 7
        grid.add_row(one.table, *shown)
    out.print(grid, highlight=False)
    for one in found:
        for name in one.in_flight:
            out.print(f"In flight: {name}.", markup=False, highlight=False, soft_wrap=True)
    differences = [difference for one in found for difference in one.differences]
    for difference in differences:
        err.print(f"{difference.text}.", style="red", markup=False, highlight=False, soft_wrap=True)
    if differences:
        err.print(f"{counted(len(differences), 'difference')} found.", highlight=False)

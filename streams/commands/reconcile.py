"""`sluice reconcile`: are the silver tables what the database has that they come from?"""

from __future__ import annotations

import json
import time
from typing import Annotated

import typer
from rich.table import Table as Grid

from schemas.loader import load
from schemas.pipeline import Pipeline
from streams.commands.common import DONE, FAILED, ConfigOption, SetOption, counted, err, out, reporting, settings_of
from streams.errors_report import UnknownTable
from streams.reconcile.errors import NotReconciled
from streams.reconcile.report import Reconciliation


@reporting
def reconcile_command(
    table: Annotated[
        str | None, typer.Option("--table", metavar="TABLE", help="Only this silver table.", show_default=False)
    ] = None,
    wait: Annotated[
        float, typer.Option("--wait", min=0, help="Seconds that keys which differ are given to arrive in silver.")
    ] = 30.0,
    sample: Annotated[
        float, typer.Option("--sample", min=0, max=1, help="Share of the key ranges that is compared, drawn by lot.")
    ] = 1.0,
    keys: Annotated[int, typer.Option("--keys", min=0, help="How many of the keys that differ are named.")] = 20,
    most_keys: Annotated[
        int, typer.Option("--most-keys", min=1, help="Stop looking for keys that differ when so many are found.")
    ] = 10_000,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    config: ConfigOption = None,
    set_: SetOption = None,
) -> int:
    """Compare silver tables with the database that they come from: are all rows there, and the same?

    Rows and hashes are compared by range of the key first, then the keys of the ranges that differ; these are looked at
    again until what was on its way has arrived. May run beside the service. The exit code is 1 where there is any
    difference, or a source can not be reached; keys are named with the columns that differ, values never.
    """
    # With PostgreSQL's driver, which no other command is to wait for.
    from streams.reconcile.run import reconcile_tables, reconciled_tables
    from streams.reconcile.table import Limits

    settings = settings_of(config, set_)
    pipeline = load(settings.pipeline)
    limits = Limits(wait_seconds=wait, most_keys=most_keys, shown=keys, sample=sample)
    found = list(
        reconcile_tables(pipeline, _names(pipeline, table, reconciled_tables(pipeline)), settings, limits, time.sleep)
    )
    if as_json:
        typer.echo(json.dumps([one.to_json() for one in found], indent=2))
    else:
        _print(found)
    return FAILED if any(one.count or one.problem for one in found) else DONE


def _names(pipeline: Pipeline, table: str | None, names: list[str]) -> list[str]:
    if table is None and names:
        return names
    if table is not None and table in names:
        return [table]
    if table is None or table in pipeline.tables:
        raise NotReconciled(table)
    raise UnknownTable(table, names or list(pipeline.tables))


def _print(found: list[Reconciliation]) -> None:
    grid = Grid(box=None, pad_edge=False)
    grid.add_column("table", no_wrap=True)
    grid.add_column("source")
    headings = ("in source", "in silver", "ranges", "differing", "missing", "surplus", "differ", "in flight")
    for heading in headings:
        grid.add_column(heading, justify="right")
    for one in found:
        grid.add_row(one.table, f"{one.source} {one.source_table}", *_figures(one))
    out.print(grid, highlight=False)
    for one in found:
        if one.problem is None:
            out.print(f"{one.position}.", markup=False, highlight=False, soft_wrap=True)
    for one in found:
        _print_differences(one)
    total = sum(one.count for one in found)
    if total:
        err.print(f"{counted(total, 'difference')} found.", highlight=False)


def _figures(one: Reconciliation) -> list[str]:
    if one.problem is not None:
        return ["-"] * 8
    kinds = one.found or {}
    others = sum(number for kind, number in kinds.items() if not kind.startswith("missing"))
    ranges = str(one.ranges) if one.ranges_compared == one.ranges else f"{one.ranges_compared} of {one.ranges}"
    numbers = (
        one.ranges_differing,
        kinds.get("missing_in_silver", 0),
        kinds.get("missing_in_source", 0),
        others,
        one.in_flight,
    )
    return [str(one.source_rows), str(one.silver_rows), ranges, *map(str, numbers)]


def _print_differences(one: Reconciliation) -> None:
    if one.problem is not None:
        err.print(one.problem, style="red", markup=False, highlight=False, soft_wrap=True)
    lines = [f"{one.table}: {difference.text}." for difference in one.differences]
    more = sum((one.found or {}).values()) - len(one.differences)
    if more:
        lines.append(f"{one.table}: {counted(more, 'more key')} like these; `--keys` names more.")
    if one.ranges_left:
        what = "differs as well and was" if one.ranges_left == 1 else "differ as well and were"
        lines.append(f"{one.table}: {counted(one.ranges_left, 'range')} of keys {what} not looked into to the end.")
    for line in lines:
        err.print(line, style="red", markup=False, highlight=False, soft_wrap=True)

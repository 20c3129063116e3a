"""`sluice verify`: does a rebuild give the same tables?"""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.table import Table as Grid

from schemas.errors import WrongUsage
from schemas.loader import load
from schemas.pipeline import Pipeline
from schemas.settings import Settings
from schemas.spec import BronzeSpec
from streams.commands.common import DONE, FAILED, ConfigOption, SetOption, counted, err, out, reporting, settings_of
from streams.errors_report import UnknownTable
from streams.verify.nodes import all_tables, key_of
from streams.verify.report import Verification
from streams.verify.sample import NotASample, SampleAsked


class NotVerified(WrongUsage):
    """A table was asked for that is made from no other."""

    def __init__(self, table: str) -> None:
        self.table = table
        super().__init__(
            f"{table} is made from a topic, and from no table: there is nothing to rebuild it from. "
            "`sluice audit` tells whether all of its records are there."
        )


@reporting
def verify_command(
    table: Annotated[
        list[str] | None,
        typer.Option(
            "--table", metavar="TABLE", help="Only this table of silver or gold; may be repeated.", show_default=False
        ),
    ] = None,
    sample: Annotated[
        str | None,
        typer.Option(
            "--sample",
            metavar="PART",
            help="Only some keys: a share, as `0.01`, or a range of a column of the key, as `order_id=1000..1999`.",
            show_default=False,
        ),
    ] = None,
    keys: Annotated[int, typer.Option("--keys", min=0, help="How many of the keys that differ are named.")] = 20,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the rebuilt tables, and say where they are.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    config: ConfigOption = None,
    set_: SetOption = None,
) -> int:
    """Rebuild tables of silver and gold from bronze, as of the position that they stand at, and compare row for row.

    All columns are compared but those that say when and by which run a row was written. The rebuilt tables lie below
    `_verify/` in the lake and are removed at the end. May run beside the service: each table is read at one version.
    The exit code is 1 where there is any difference, or a table can not be compared; keys are named with the columns
    that differ, values never.
    """
    settings = settings_of(config, set_)
    pipeline = load(settings.pipeline)
    asked = SampleAsked.parse(sample) if sample is not None else None
    names = _names(pipeline, table or [], asked)
    found = _verified(settings, pipeline, names, asked, shown=keys, keep=keep)
    if as_json:
        typer.echo(json.dumps([one.to_json() for one in found], indent=2))
    else:
        _print(found)
    return FAILED if any(one.count or one.problem for one in found) else DONE


def _verified(
    settings: Settings, pipeline: Pipeline, names: list[str], sample: SampleAsked | None, *, shown: int, keep: bool
) -> list[Verification]:
    from streams import session
    from streams.graph import Graph
    from streams.verify.run import Asked, verify_tables

    graph = Graph.build(pipeline, settings, decodes=False)
    spark = session.build(settings)
    try:
        return list(verify_tables(graph, settings, spark, names, Asked(sample, shown, keep)))
    finally:
        spark.stop()


def _names(pipeline: Pipeline, asked: list[str], sample: SampleAsked | None) -> list[str]:
    """The tables that are meant, in the order of the flow; of a range, those whose key has its column."""
    known = all_tables(pipeline)
    for name in asked:
        if name not in pipeline.tables:
            raise UnknownTable(name, known)
        if isinstance(pipeline.tables[name], BronzeSpec):
            raise NotVerified(name)
    names = [name for name in known if name in asked] if asked else known
    if asked or sample is None or not sample.column:
        return names
    fitting = [name for name in names if sample.column in key_of(pipeline.tables[name])]
    if not fitting:
        raise NotASample(sample.text, f"no table has `{sample.column}` in its key")
    return fitting


def _print(found: list[Verification]) -> None:
    grid = Grid(box=None, pad_edge=False)
    grid.add_column("table", no_wrap=True)
    for heading in ("version", "rows", "rebuilt", "equal", "missing", "extra", "different"):
        grid.add_column(heading, justify="right")
    for one in found:
        grid.add_row(one.table, *_figures(one))
    out.print(grid, highlight=False)
    for one in found:
        for note in one.notes:
            out.print(f"{one.table}: {note}.", markup=False, highlight=False, soft_wrap=True)
        if one.kept is not None:
            out.print(f"{one.table}: its rebuild is in {one.kept}.", markup=False, highlight=False, soft_wrap=True)
    for one in found:
        _print_differences(one)
    total = sum(one.count for one in found)
    if total:
        err.print(f"{counted(total, 'difference')} found.", highlight=False)


def _figures(one: Verification) -> list[str]:
    version = "-" if one.version is None else str(one.version)
    if one.problem is not None:
        return [version, *["-"] * 6]
    different = one.found.get("different", 0) + one.found.get("twice", 0)
    counts = (one.rows, one.rebuilt_rows, one.equal, one.found.get("missing", 0), one.found.get("extra", 0), different)
    return [version, *map(str, counts)]


def _print_differences(one: Verification) -> None:
    lines = [one.problem] if one.problem is not None else []
    lines += [f"{one.table}: {difference.text}." for difference in one.differences]
    more = one.count - len(one.differences)
    if more:
        lines.append(f"{one.table}: {counted(more, 'more key')} like these; `--keys` names more.")
    for line in lines:
        err.print(line, style="red", markup=False, highlight=False, soft_wrap=True)

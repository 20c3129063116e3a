"""`sluice errors redrive | admit`: the way back for rejected records, and the way on for a batch that is held back."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any

import typer
from pyspark.sql import SparkSession

from checkpoints.requests import Admit, Author, Redrive
from schemas.settings import Settings
from streams.commands.asking import carried_out, drive, service_runs
from streams.commands.common import DONE, FAILED, ConfigOption, SetOption, counted, err, out, reporting, settings_of
from streams.commands.errors import JsonOption, RuleOption, SinceOption
from streams.commands.since import parse_since
from streams.graph import Graph

TableOption = Annotated[str, typer.Option("--table", metavar="TABLE", help="The table whose lane it is.")]


@reporting
def redrive(
    table: TableOption,
    rule: RuleOption = None,
    since: SinceOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would pass and what would not.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    set_: SetOption = None,
) -> int:
    """Judge rejected records again under today's contract, and append those that pass to their table.

    Each keeps its place in the source, so that an old record never goes over newer state. It is harmless to repeat. A
    running service carries it out; where none runs, this command does, and brings the tables below up to date. What
    still fails stays in the lane, with its new reasons; the exit code is then 1.
    """
    settings = settings_of(config, set_)
    request = Redrive(table=table, rule=rule, since=parse_since(since) if since else None, dry_run=dry_run)
    done = _asked(settings, request)
    if as_json:
        out.print_json(json.dumps(done))
    else:
        _print(done, rule, request.since)
    return FAILED if done["failing"] else DONE


@reporting
def admit(table: TableOption, config: ConfigOption = None, set_: SetOption = None) -> int:
    """Let the batch that the circuit breaker holds back go on, with all its rejects to the error lane."""
    settings = settings_of(config, set_)
    if not service_runs(settings):
        err.print("No service runs on this lake, so no batch is held back.", highlight=False)
        return FAILED
    done = carried_out(settings, Admit(table=table), Author.here(), lambda *_: {"admitted": False})
    if not done["admitted"]:
        err.print(f"{table} holds no batch back.", highlight=False)
        return FAILED
    out.print(f"{table} goes on.", highlight=False)
    return DONE


def _asked(settings: Settings, request: Redrive) -> dict[str, Any]:
    def work(graph: Graph, spark: SparkSession | None) -> dict[str, Any]:
        from streams.acts.carry_out import written_down
        from streams.redrive import redrive

        assert spark is not None  # noqa: S101 - the graph is prepared

        def do() -> dict[str, Any]:
            return redrive(graph, spark, request).to_json()

        if request.dry_run:
            return do()
        done = written_down(graph, request, author, do)
        if done["version"] is not None:
            drive(graph, spark, graph.pipeline.below(request.table))
        return done

    author = Author.here()
    return carried_out(settings, request, author, work)


def _print(done: dict[str, Any], rule: str | None, since: datetime | None) -> None:
    which = f" of `{rule}`" if rule else ""
    which += f" since {since:%Y-%m-%d %H:%M:%S}" if since else ""
    passed = "would pass" if done["dry_run"] else "passed"
    out.print(
        f"{done['table']}: {counted(done['open'], 'open record')}{which}: {done['accepted']} {passed}, "
        f"{sum(done['failing'].values())} still fail; {done['already_redriven']} had gone through before.",
        highlight=False,
        soft_wrap=True,
    )
    for code, count in sorted(done["failing"].items(), key=lambda item: (-item[1], item[0])):
        out.print(f"  {count:>8}  {code}", highlight=False)

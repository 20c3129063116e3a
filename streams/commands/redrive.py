"""`sluice errors redrive | admit`: the way back for rejected records, and the way on for a batch that is held back."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any

import typer

from checkpoints.lake import Lake
from checkpoints.requests import Admit, Redrive, Requests
from schemas.loader import load
from schemas.settings import Settings
from streams.commands.asking import ask
from streams.commands.common import DONE, FAILED, ConfigOption, SetOption, counted, err, out, reporting, settings_of
from streams.commands.errors import JsonOption, RuleOption, SinceOption
from streams.commands.since import parse_since

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
    requests = Requests(Lake.at(settings.lake))
    if requests.service() is None:
        err.print("No service runs on this lake, so no batch is held back.", highlight=False)
        return FAILED
    done = ask(requests, Admit(table=table))
    if not done["admitted"]:
        err.print(f"{table} holds no batch back.", highlight=False)
        return FAILED
    out.print(f"{table} goes on.", highlight=False)
    return DONE


def _asked(settings: Settings, request: Redrive) -> dict[str, Any]:
    requests = Requests(Lake.at(settings.lake))
    if requests.service() is not None:
        return ask(requests, request)
    return _by_itself(settings, request)


def _by_itself(settings: Settings, request: Redrive) -> dict[str, Any]:
    from streams import session
    from streams.graph import Graph
    from streams.redrive import redrive

    pipeline = load(settings.pipeline)
    graph = Graph.build(pipeline, settings)
    spark = session.build(settings)
    try:
        graph.prepare(spark)
        done = redrive(graph, spark, request)
        if done.version is not None:
            for name in pipeline.below(request.table):
                graph.below[name].run(spark.newSession(), None)
        return done.to_json()
    finally:
        spark.stop()


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

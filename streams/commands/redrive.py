"""`sluice errors redrive | admit`: the way back for rejected records, and the way on for a batch that is held back."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import typer
from pyspark.sql import SparkSession

from checkpoints.journal import Act
from checkpoints.lake import Lake
from checkpoints.requests import Admit, Author, Redrive
from schemas.loader import load
from schemas.settings import Settings
from streams.commands.asking import carried_out, drive, looked_at, service_runs
from streams.commands.common import (
    DONE,
    FAILED,
    ConfigOption,
    SetOption,
    agreed,
    counted,
    err,
    out,
    reporting,
    settings_of,
)
from streams.commands.errors import JsonOption, RuleOption, SinceOption
from streams.commands.past import DryRunOption, WhoOption, YesOption, show_lines
from streams.commands.since import parse_since
from streams.errors_report import ErrorLanes
from streams.graph import Graph

TableOption = Annotated[str, typer.Option("--table", metavar="TABLE", help="The table whose lane it is.")]


@reporting
def redrive(
    table: TableOption,
    rule: RuleOption = None,
    since: SinceOption = None,
    yes: YesOption = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would pass and what would not.")] = False,
    who: WhoOption = None,
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
    if not dry_run and (found := _open(settings, request)):
        if not as_json:
            show_lines(_plan(table, found))
        if not (yes or agreed()):
            return FAILED
    done = _asked(settings, request, Author.here(who))
    if as_json:
        out.print_json(json.dumps(done))
    else:
        _print(done, rule, request.since)
    return FAILED if done["failing"] else DONE


@reporting
def admit(
    table: TableOption,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    who: WhoOption = None,
    config: ConfigOption = None,
    set_: SetOption = None,
) -> int:
    """Let the batch that the circuit breaker holds back go on, with all its rejects to the error lane."""
    settings = settings_of(config, set_)
    if not service_runs(settings):
        err.print("No service runs on this lake, so no batch is held back.", highlight=False)
        return FAILED
    author = Author.here(who)
    held = carried_out(settings, Admit(table=table, dry_run=True), author, lambda *_: {"held": None})["held"]
    if held is not None:
        show_lines([held, "Admitted, it goes on as it is: what is rejected of it goes to the error lane."])
        if dry_run:
            return DONE
        if not (yes or agreed()):
            return FAILED
        done = carried_out(settings, Admit(table=table), author, lambda *_: {"admitted": False})
        if done["admitted"]:
            out.print(f"{table} goes on.", highlight=False)
            return DONE
    err.print(f"{table} holds no batch back.", highlight=False)
    return FAILED


def _open(settings: Settings, request: Redrive) -> dict[str, int]:
    """How many records would be judged again, by what they were rejected for."""
    lanes = ErrorLanes(Lake.at(settings.lake), load(settings.pipeline))
    found = Counter[str]()
    for one in lanes.cohorts(request.table, request.rule, request.since):
        found[one.rule] += one.open
    return {rule: count for rule, count in sorted(found.items()) if count}


def _plan(table: str, found: Mapping[str, int]) -> list[str]:
    return [
        f"Judge {counted(sum(found.values()), 'open record')} of {table} again, and append those that pass:",
        *(f"  {count:>8}  {rule}" for rule, count in found.items()),
    ]


def _asked(settings: Settings, request: Redrive, author: Author) -> dict[str, Any]:
    def do(graph: Graph, spark: SparkSession) -> dict[str, Any]:
        from streams.redrive import redrive

        return redrive(graph, spark, request).to_json()

    def work(graph: Graph, spark: SparkSession | None) -> dict[str, Any]:
        from streams.acts.carry_out import written_down

        assert spark is not None  # noqa: S101 - the graph is prepared
        done = written_down(graph, Act(author=author, action=request), lambda: do(graph, spark))
        if done["version"] is not None:
            drive(graph, spark, graph.pipeline.below(request.table))
        return done

    if request.dry_run and not service_runs(settings):
        return looked_at(settings, do)
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

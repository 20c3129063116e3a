"""The command line: `sluice --help`."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table as Grid

from schemas.errors import WrongUsage
from schemas.loader import load
from schemas.pipeline import Pipeline
from schemas.refresh_plan import refresh_plan
from schemas.spec import BronzeSpec, DerivedSpec
from schemas.suggest import did_you_mean
from schemas.table_columns import column_names
from streams.commands import (
    audit,
    backfill,
    checkpoints,
    contract,
    errors,
    gate,
    past,
    plan,
    rebuild,
    reconcile,
    redrive,
    verify,
)
from streams.commands.common import (
    DONE,
    FAILED,
    ConfigOption,
    SetOption,
    counted,
    err,
    out,
    reporting,
    settings_of,
)
from streams.version import VERSION

app = typer.Typer(
    name="sluice",
    help="Kafka topics and Debezium feeds into a bronze / silver / gold lakehouse on Delta Lake.\n\n"
    "Exit codes: 0 done; 1 failed or found something; 2 wrong usage, settings or spec.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
stack_app = typer.Typer(help="The embedded Kafka, PostgreSQL and Debezium, to try things out on.", no_args_is_help=True)
app.add_typer(stack_app, name="stack")
app.add_typer(errors.app, name="errors")
errors.app.command("redrive")(redrive.redrive)
errors.app.command("admit")(redrive.admit)
app.add_typer(gate.app, name="gate")
app.add_typer(contract.app, name="contract")
app.add_typer(checkpoints.app, name="checkpoints")
app.command("replay")(past.replay)
app.command("backfill")(backfill.backfill_command)
app.command("rewind")(past.rewind)
app.command("vacuum")(past.vacuum)
app.command("journal")(past.journal)
app.command("audit")(audit.audit_command)
app.command("plan")(plan.plan_command)
app.command("reconcile")(reconcile.reconcile_command)
app.command("rebuild")(rebuild.rebuild_command)
app.command("verify")(verify.verify_command)


@app.command()
@reporting
def run(
    config: ConfigOption = None,
    set_: SetOption = None,
    once: Annotated[bool, typer.Option("--once", help="Drain what is available through all layers, and exit.")] = False,
) -> None:
    """Run the service: one query per bronze table, and the tables below them.

    SIGTERM or SIGINT drain it: batches in hand are finished within `drain_seconds`. The exit code is 1 where a query
    or table was left broken or had to be interrupted.
    """
    from streams.service import Service

    settings = settings_of(config, set_)
    code = Service(settings, load(settings.pipeline), once=once).run()
    # Threads that were interrupted, or that only look on, may be in native code: Python's own end would break there.
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


@app.command()
@reporting
def validate(
    folder: Annotated[
        Path | None,
        typer.Argument(
            help="Folder with `contracts/` and `tables/`; default is the setting `pipeline`.", show_default=False
        ),
    ] = None,
    table: Annotated[
        str | None,
        typer.Option(
            "--explain", metavar="TABLE", help="Also say what each change costs this derived table.", show_default=False
        ),
    ] = None,
    config: ConfigOption = None,
    set_: SetOption = None,
) -> None:
    """Check contracts, specs and settings without starting anything; exit code 2 where something is wrong.

    A derived table whose changes could only be found by reading all of its upstreams is refused, with the reason;
    `--explain` shows for one table by which keys each upstream's changes are found, and which tables are read by them.
    """
    settings = settings_of(config, set_)
    pipeline = load(folder or settings.pipeline)
    if table is not None:
        out.print("\n".join(_plan_of(pipeline, table)), markup=False, highlight=False, soft_wrap=True)
        return
    grid = Grid(box=None, pad_edge=False)
    for heading in ("table", "kind", "from", "keys"):
        grid.add_column(heading)
    for name in pipeline.order:
        spec = pipeline.tables[name]
        source = _source_of(spec) if spec.kind == "bronze" else ", ".join(spec.upstreams)
        keys = spec.grain if spec.kind == "derived" else spec.keys
        grid.add_row(name, spec.kind, source, ", ".join(keys))
    out.print(grid)
    contracts, tables = counted(len(pipeline.contracts), "contract"), counted(len(pipeline.tables), "table")
    out.print(f"{contracts} and {tables}, no problems.", highlight=False)


def _source_of(spec: BronzeSpec) -> str:
    pull = spec.source.jdbc
    return f"topic {spec.source.topic}" if pull is None else f"{pull.relation} of {pull.source}"


class NoQuery(WrongUsage):
    """A table that is not there, or is made otherwise than by a query."""

    def __init__(self, table: str, pipeline: Pipeline) -> None:
        self.table = table
        known = [name for name, spec in pipeline.tables.items() if isinstance(spec, DerivedSpec)]
        what = f"{table} is kept without a query" if table in pipeline.tables else f"There is no table `{table}`"
        super().__init__(f"{what}. {did_you_mean(table, known, 'Name a derived table.')}")


def _plan_of(pipeline: Pipeline, table: str) -> list[str]:
    spec = pipeline.tables.get(table)
    if not isinstance(spec, DerivedSpec):
        raise NoQuery(table, pipeline)
    return list(refresh_plan(spec, column_names(pipeline.tables, pipeline.contracts)))


@app.command()
@reporting
def status(
    config: ConfigOption = None,
    set_: SetOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> int:
    """Show where each table is: position, last batch, rows, lag and age.

    Lag counts records of the topic for bronze, and versions of the upstreams for the tables below; it is `-` where
    the brokers do not answer. The exit code is 1 where a table stands where it can not go on from.
    """
    from streams.graph import Graph
    from streams.sources import Brokers
    from streams.status import status_of

    settings = settings_of(config, set_)
    graph = Graph.build(load(settings.pipeline), settings, decodes=False)
    brokers = Brokers(settings.kafka)
    silence = brokers.silence()
    found = list(status_of(graph, None if silence else brokers))
    problems = [one.problem for one in found if one.problem]
    if as_json:
        out.print_json(json.dumps([one.to_json() for one in found]))
        return FAILED if problems else DONE
    grid = Grid(box=None, pad_edge=False)
    grid.add_column("table", no_wrap=True)
    for heading in ("position", "last batch", "last step"):
        grid.add_column(heading, overflow="fold")
    for heading in ("rows", "lag", "age"):
        grid.add_column(heading, justify="right", no_wrap=True)
    for one in found:
        position = one.position
        shown = (
            "\n".join(f"{upstream}@{at}" for upstream, at in position.items())
            if isinstance(position, dict)
            else "-"
            if position is None
            else f"batch {position}"
        )
        step = ", ".join(f"{count} {name}" for name, count in one.last_rows.items())
        step += f"{', ' if step else ''}{one.rejected} rejected" if one.rejected else ""
        grid.add_row(
            one.table,
            shown,
            (one.last_batch or "-")[:8],
            step or "-",
            *("-" if value is None else str(value) for value in (one.rows, one.lag)),
            "-" if one.age_seconds is None else _duration(one.age_seconds),
        )
    out.print(grid)
    if silence:
        err.print(f"{silence[0].upper()}{silence[1:]}: the lag of bronze is not known.", highlight=False)
    for problem in problems:
        err.print(problem, style="red", markup=False, highlight=False, soft_wrap=True)
    return FAILED if problems else DONE


@app.command()
@reporting
def demo(
    seconds: Annotated[int, typer.Option(min=5, help="How long traffic is made, in seconds.")] = 45,
    rate: Annotated[int, typer.Option(min=1, max=2000, help="Changes per second.")] = 20,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the lake and the stack's data when it ends.")] = False,
) -> int:
    """Start a shop of your own on this machine and watch its changes become a star schema.

    A real Kafka, PostgreSQL and Debezium are started on free local ports, with live traffic and a few broken records.
    """
    from streams.demo import run_demo

    return run_demo(seconds=seconds, rate=rate, keep=keep)


@stack_app.command("up")
@reporting
def stack_up(
    folder: Annotated[Path, typer.Option(help="Where the stack keeps its data and state.")] = Path("build/stack"),
) -> None:
    """Start Kafka, a schema registry, PostgreSQL and Debezium in the background, and print how to reach them."""
    from deploy.embedded import control

    state = control.up(folder)
    grid = Grid(box=None, pad_edge=False, show_header=False)
    grid.add_row("Kafka", state.bootstrap)
    grid.add_row("Schema registry", state.registry_url)
    grid.add_row("PostgreSQL", state.dsn)
    grid.add_row("Kafka Connect", state.connect_url)
    out.print(grid, soft_wrap=True)
    out.print(f"Everything is in {control.state_file(folder)}; `sluice stack down` stops it.", highlight=False)


@stack_app.command("down")
@reporting
def stack_down(
    folder: Annotated[Path, typer.Option(help="Where the stack keeps its data and state.")] = Path("build/stack"),
) -> None:
    """Stop the stack that `stack up` started, and remove its data."""
    from deploy.embedded import control

    control.down(folder)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        out.print(f"sluice {VERSION}", highlight=False)
        raise typer.Exit(DONE)
    del context


def _duration(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f}{unit}"
    return f"{seconds:.0f}s"


def main() -> None:
    """The entry point of the `sluice` command."""
    sys.exit(app())

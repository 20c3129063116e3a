"""`sluice checkpoints show | reset | recover`: where each query reads, and how it reads on from elsewhere."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.table import Table as Grid

from checkpoints.requests import Reset
from schemas.loader import load
from streams.acts.show import QueryState, states_of
from streams.commands.common import DONE, FAILED, ConfigOption, SetOption, err, out, reporting, settings_of
from streams.commands.errors import JsonOption
from streams.commands.past import DryRunOption, LossOption, WhoOption, YesOption, absolute, changed
from streams.graph import Graph
from streams.sources import Brokers

app = typer.Typer(help="Where each query reads its topic, and letting it read on from elsewhere.", no_args_is_help=True)

TableArgument = Annotated[str, typer.Argument(metavar="TABLE", help="The bronze table whose query it is.")]


@app.command()
@reporting
def show(as_json: JsonOption = False, config: ConfigOption = None, set_: SetOption = None) -> int:
    """Show each query's generation, batches and offsets, and whether it can go on from there.

    The exit code is 1 where one can not; the reason says what to do.
    """
    settings = settings_of(config, set_)
    brokers = Brokers(settings.kafka)
    silence = brokers.silence()
    graph = Graph.build(load(settings.pipeline), settings, decodes=False)
    found = list(states_of(graph, None if silence else brokers))
    brokers.close()
    problems = [one.problem for one in found if one.problem]
    if as_json:
        out.print_json(json.dumps([one.to_json() for one in found]))
        return FAILED if problems else DONE
    out.print(_grid(found))
    if silence:
        err.print(f"{silence[0].upper()}{silence[1:]}: what topics have is not known.", highlight=False)
    for problem in problems:
        err.print(problem, style="red", markup=False, highlight=False, soft_wrap=True)
    return FAILED if problems else DONE


@app.command()
@reporting
def reset(
    table: TableArgument,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="PLACE",
            help="earliest, latest, a time, Spark's JSON of offsets, or batch:<number> of the ledger.",
        ),
    ],
    accept_loss: LossOption = False,
    accept_topic: Annotated[
        bool, typer.Option("--accept-topic", help="Read a topic that was deleted and created again, as another one.")
    ] = False,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    who: WhoOption = None,
    config: ConfigOption = None,
    set_: SetOption = None,
) -> int:
    """Let a query read its topic on from elsewhere, in a new generation of its checkpoint.

    The old one is kept. What bronze or its lane holds is passed over when it is read again, so that no row is written
    twice. A running service carries it out between two batches; where none runs, this command does.
    """
    request = Reset(table=table, to=_place(to), accept_loss=accept_loss, accept_topic=accept_topic)
    return changed(settings_of(config, set_), request, who, yes=yes, dry_run=dry_run)


@app.command()
@reporting
def recover(
    table: TableArgument,
    accept_loss: LossOption = False,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    who: WhoOption = None,
    config: ConfigOption = None,
    set_: SetOption = None,
) -> int:
    """Make a new checkpoint from the ledger, where the old one is lost, damaged, or older than the table.

    It reads on where the ledger ends: nothing is lost, nothing comes twice.
    """
    request = Reset(table=table, to="ledger", accept_loss=accept_loss)
    return changed(settings_of(config, set_), request, who, yes=yes, dry_run=dry_run)


def _place(to: str) -> str:
    if to in ("earliest", "latest") or to.startswith("{"):
        return to
    return absolute(to, "--to") or to


def _grid(found: list[QueryState]) -> Any:
    grid = Grid(box=None, pad_edge=False)
    for heading in ("query", "generation", "batches", "topic", "next", "has", "lag"):
        grid.add_column(heading, justify="right" if heading in ("next", "lag") else "left")
    for one in found:
        batches = "-" if one.batch_id is None else f"up to {one.batch_id}"
        head = (one.table, f"{one.generation} ({one.kind})", batches)
        if not one.partitions:
            grid.add_row(*head, one.topic, "-", "-", "-")
        for index, part in enumerate(one.partitions):
            has = "-" if part.first is None else f"{part.first:,} to {part.end:,}"
            lag = "-" if part.lag is None else f"{part.lag:,}"
            after = "-" if part.next is None else f"{part.next:,}"
            grid.add_row(*(head if index == 0 else ("", "", "")), f"{one.topic}[{part.partition}]", after, has, lag)
    return grid

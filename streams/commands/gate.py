"""`sluice gate show | release | discard`: what is held back from gold, why, and what a person decides about it."""

from __future__ import annotations

import getpass
import json
from typing import Annotated, Any, Literal

import typer
from pyspark.sql import SparkSession

from checkpoints.journal import Act
from checkpoints.requests import Author, Decide
from schemas.loader import load
from schemas.settings import Settings
from streams.commands.asking import carried_out, drive
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
from streams.commands.errors import JsonOption
from streams.graph import Graph
from streams.quality.account import GateAccount, accounts_of
from streams.quality.errors import NotHeld

app = typer.Typer(help="The gate before gold: what its rules hold back, and what becomes of it.", no_args_is_help=True)

TableArgument = Annotated[str, typer.Argument(metavar="TABLE", help="The silver table behind whose gate it is.")]
WhyOption = Annotated[str, typer.Option("--why", metavar="TEXT", help="The reason; it is kept with the decision.")]
WhoOption = Annotated[
    str | None,
    typer.Option("--who", metavar="NAME", help="Who decides; default is the user's name.", show_default=False),
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]


@app.command()
@reporting
def show(
    table: Annotated[str | None, typer.Argument(metavar="[TABLE]", help="Only this one.", show_default=False)] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    set_: SetOption = None,
) -> int:
    """Show each gate: up to which version gold may read, which rules fail, on which rows, and what was decided before.

    Values of personal columns are `***`. The exit code is 1 where a gate holds gold back.
    """
    found = list(_accounts(settings_of(config, set_), table))
    if as_json:
        out.print_json(json.dumps([one.to_json() for one in found], default=str))
    elif not found:
        out.print("No table has rules in `dq.yml`: nothing stands before gold.", highlight=False)
    for one in () if as_json else found:
        out.print("\n".join(one.lines()), markup=False, highlight=False, soft_wrap=True)
    return FAILED if any(one.is_held for one in found) else DONE


@app.command()
@reporting
def release(
    table: TableArgument,
    why: WhyOption,
    who: WhoOption = None,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    config: ConfigOption = None,
    set_: SetOption = None,
) -> int:
    """Let gold have what is held back, as it is.

    The rows that break the rules go on to gold with all others. Who released them and why is kept in the table
    `_ops/gate_decisions` of the lake.
    """
    return _decided("release", table, why, who, yes=yes, dry_run=dry_run, settings=settings_of(config, set_))


@app.command()
@reporting
def discard(
    table: TableArgument,
    why: WhyOption,
    who: WhoOption = None,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    config: ConfigOption = None,
    set_: SetOption = None,
) -> int:
    """Take the rows that break the rules out of the silver table, and let gold have the rest.

    Each row becomes what it was before it broke a rule, or is gone where it never was without. The changes go to the
    table's error lane, from where they can be re-driven. Who discarded them and why is kept in `_ops/gate_decisions`.
    """
    return _decided("discard", table, why, who, yes=yes, dry_run=dry_run, settings=settings_of(config, set_))


def _accounts(settings: Settings, table: str | None) -> list[GateAccount]:
    return list(accounts_of(Graph.build(load(settings.pipeline), settings, decodes=False), table))


def _decided(
    decision: Literal["release", "discard"],
    table: str,
    why: str,
    who: str | None,
    *,
    yes: bool,
    dry_run: bool,
    settings: Settings,
) -> int:
    [account] = _accounts(settings, table)
    if not account.is_held:
        raise NotHeld(table, account.approved)
    out.print("\n".join(account.lines()), markup=False, highlight=False, soft_wrap=True)
    effect = (
        f"Gold will take {table} up to version {account.version} with these rows."
        if decision == "release"
        else f"These rows will be taken back in {table}, and their changes go to its error lane."
    )
    out.print(effect, markup=False, highlight=False, soft_wrap=True)
    if dry_run:
        return DONE
    if not (yes or agreed()):
        return FAILED
    done = _carried_out(settings, Decide(decision=decision, table=table, who=who or getpass.getuser(), why=why))
    what = "released" if decision == "release" else "discarded"
    out.print(
        f"{table}: {counted(done['rows'], 'row')} {what}; gold may read up to version {done['approved']}.",
        markup=False,
        highlight=False,
    )
    if done["held"]:
        err.print(f"{table} is held again, by what has come since: see `sluice gate show`.", highlight=False)
        return FAILED
    return DONE


def _carried_out(settings: Settings, decision: Decide) -> dict[str, Any]:
    def work(graph: Graph, spark: SparkSession | None) -> dict[str, Any]:
        from streams.acts.carry_out import written_down
        from streams.quality.decide import decide

        assert spark is not None  # noqa: S101 - the graph is prepared
        act = Act(author=author, action=decision)
        done = written_down(graph, act, lambda: decide(graph, spark, decision))
        drive(graph, spark, graph.pipeline.below(decision.table))
        return done

    author = Author.here(decision.who)
    return carried_out(settings, decision, author, work)

"""`sluice replay | rewind | vacuum | journal`: what changes the past, planned, agreed to and written down."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.table import Table as Grid

from checkpoints.journal import Journal
from checkpoints.lake import Lake
from checkpoints.requests import Author, Replay, Rewind, Vacuum
from schemas.loader import load
from schemas.settings import Settings
from streams.commands.asking import carried_out, drive
from streams.commands.common import DONE, FAILED, ConfigOption, SetOption, agreed, out, reporting, settings_of
from streams.commands.errors import JsonOption
from streams.commands.since import parse_since
from streams.graph import Graph

YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only print the plan.")]
WhoOption = Annotated[
    str | None,
    typer.Option("--who", metavar="NAME", help="Who does it; default is the user's name.", show_default=False),
]
TablesOption = Annotated[
    str | None,
    typer.Option("--tables", metavar="A,B", help="These tables; default is all of them.", show_default=False),
]
LossOption = Annotated[
    bool, typer.Option("--accept-loss", help="Go on although the topic no longer has records that nothing else holds.")
]


@reporting
def replay(
    tables: TablesOption = None,
    since: Annotated[
        str | None,
        typer.Option("--from", metavar="PLACE", help="Where it begins; default is the beginning.", show_default=False),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option("--to", metavar="PLACE", help="Where it ends; default is the end.", show_default=False),
    ] = None,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    who: WhoOption = None,
    config: ConfigOption = None,
    set_: SetOption = None,
) -> int:
    """Let tables below bronze take up again what they have consumed.

    PLACE is a time (`2026-01-31T08:30`, or `2h` ago), `batch:<number>` of the bronze table, or
    `<topic>[<partition>]@<offset>`. Bronze is read and not written; an older change never goes over a newer one, so
    that it is harmless to repeat. A running service carries it out; where none runs, this command does.
    """
    request = Replay(tables=_names(tables), since=absolute(since, "--from"), until=absolute(until, "--to"))
    return changed(settings_of(config, set_), request, who, yes=yes, dry_run=dry_run)


@reporting
def rewind(
    to: Annotated[
        str,
        typer.Option("--to", metavar="STATE", help="A time, `batch:<number>` of one bronze table, or `act:<id>`."),
    ],
    tables: TablesOption = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only print the plan; the same as --dry-run.")] = False,
    accept_loss: LossOption = False,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    who: WhoOption = None,
    config: ConfigOption = None,
    set_: SetOption = None,
) -> int:
    """Take tables, and all that hangs on them, back to one state.

    Tables, those below them, checkpoints, gates, tombstones and error lanes go back together. Nothing is deleted, so
    that `--to act:<id>` takes a rewind back. Bronze tables that go back read the topic again from there.
    """
    request = Rewind(tables=_names(tables), to=absolute(to, "--to") or to, accept_loss=accept_loss)
    return changed(settings_of(config, set_), request, who, yes=yes, dry_run=dry_run or plan)


@reporting
def vacuum(
    tables: TablesOption = None,
    hours: Annotated[float, typer.Option("--hours", min=0, help="Keep what versions of so many hours need.")] = 168.0,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    who: WhoOption = None,
    config: ConfigOption = None,
    set_: SetOption = None,
) -> int:
    """Remove files that no version of the last hours needs.

    It is refused where a table has still to read changes that would go. What is removed can not be rewound to.
    """
    request = Vacuum(tables=_names(tables), hours=hours)
    return changed(settings_of(config, set_), request, who, yes=yes, dry_run=dry_run)


@reporting
def journal(as_json: JsonOption = False, config: ConfigOption = None, set_: SetOption = None) -> None:
    """Show what was done to the lake that changed the past or the way on: when, by whom, and by which command."""
    acts = Journal(Lake.at(settings_of(config, set_).lake)).acts()
    if as_json:
        out.print_json(json.dumps([act.model_dump(mode="json") for act in acts]))
        return
    grid = Grid(box=None, pad_edge=False)
    for heading in ("act", "when", "who", "state", "command"):
        grid.add_column(heading, overflow="fold")
    for act in acts:
        grid.add_row(act.id[:8], f"{act.at:%Y-%m-%d %H:%M:%S}", act.author.who, act.state, act.author.command)
    out.print(grid, highlight=False)


def changed(settings: Settings, request: Any, who: str | None, *, yes: bool, dry_run: bool) -> int:
    """Print the plan, ask, and let it be carried out by whoever holds the lease."""
    from streams.acts.carry_out import carry_out, plan_of

    pipeline = load(settings.pipeline)
    plan = plan_of(Graph.build(pipeline, settings, decodes=False), settings, request)
    show_lines(plan.lines)
    if plan.is_empty or dry_run:
        return DONE
    if not (yes or agreed()):
        return FAILED
    author = Author.here(who)

    def work(graph: Graph, spark: Any) -> dict[str, Any]:
        done = carry_out(graph, spark, settings, request, author)
        if isinstance(request, Replay):
            drive(graph, spark, graph.below)
        return done

    done = carried_out(settings, request, author, work, is_prepared=isinstance(request, Replay))
    if not done["done"]:
        show_lines(done["plan"])
        return DONE
    if list(done["plan"]) != list(plan.lines):
        show_lines(["Meanwhile more had come; done was:", *done["plan"]])
    show_lines([f"Done: act {done['act']}; `sluice journal` has it."])
    return DONE


def show_lines(lines: Any) -> None:
    """Print lines as they are."""
    out.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def _names(tables: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (tables or "").split(",") if name.strip())


def absolute(text: str | None, option: str) -> str | None:
    """A time that is told from now as the one that it means; batches, acts and offsets as they are."""
    if text is None or ":" in text.split("T")[0] or "@" in text:
        return text
    return parse_since(text, option=option).isoformat()

"""`sluice backfill`: history into a bronze table, through its contract."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from checkpoints.journal import Act
from checkpoints.requests import Author, Backfill
from schemas.loader import load
from schemas.settings import Settings
from streams.commands.asking import carried_out, handing_down
from streams.commands.common import DONE, FAILED, ConfigOption, SetOption, agreed, err, out, reporting, settings_of
from streams.commands.errors import JsonOption
from streams.commands.past import DryRunOption, WhoOption, YesOption, absolute, show_lines
from streams.commands.since import is_ago
from streams.intake.errors import NoBackfill


@reporting
def backfill_command(
    table: Annotated[str, typer.Option("--table", metavar="TABLE", help="The bronze table that it goes into.")],
    source: Annotated[Literal["files", "jdbc", "kafka"], typer.Option("--source", help="Where it comes from.")],
    path: Annotated[
        str | None, typer.Option("--path", help="Files: a file, a folder, or a pattern.", show_default=False)
    ] = None,
    topic: Annotated[
        str | None,
        typer.Option("--topic", help="Kafka: an archive of the topic; default is the table's own.", show_default=False),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--from", metavar="PLACE", help="JDBC: after this watermark. Kafka: a time, or offsets as JSON."),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--to", metavar="PLACE", help="Likewise, where it ends; default is all.")
    ] = None,
    rate: Annotated[float | None, typer.Option("--rate", min=1, help="At most so many records a second.")] = None,
    batch_rows: Annotated[int, typer.Option("--batch-rows", min=1, help="Records of one batch.")] = 100_000,
    again: Annotated[str, typer.Option("--again", metavar="NAME", help="Do it once more, under another name.")] = "",
    move_watermark: Annotated[
        bool, typer.Option("--move-watermark", help="JDBC: let the pulls go on from where this ends, even if earlier.")
    ] = False,
    admit: Annotated[
        bool, typer.Option("--admit", help="Go on however much of a batch breaks the contract; it goes to the lane.")
    ] = False,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    who: WhoOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    set_: SetOption = None,
) -> int:
    """Bring history into a bronze table: from files, from the database that it is pulled from, or from a topic.

    Records take the way of the topic's: contract, error lane, ledger, and the tables below. An old one never goes over
    newer state. A running service carries it out beside its queries; where none runs, this command does. It can be
    interrupted and killed at any time: the same command goes on where it was.
    """
    settings = settings_of(config, set_)
    request = Backfill(
        table=table,
        source=source,
        path=path if path is None or "://" in path else str(Path(path).absolute()),
        topic=topic,
        since=_place(since, "--from"),
        until=_place(until, "--to"),
        rate=rate,
        batch_rows=batch_rows,
        again=again,
        move_watermark=move_watermark,
        admit=admit,
    )
    return _run(settings, request, Author.here(who), yes=yes, dry_run=dry_run, as_json=as_json)


def _place(text: str | None, option: str) -> str | None:
    """A time, or offsets; not how long ago, which is another time when the command is given again to go on."""
    if text is None or text.startswith("{"):
        return text
    found = absolute(text, option)
    if is_ago(text):
        raise NoBackfill(
            f"{option} {text}: it would be another time, and another backfill, when the same command is given again. "
            f"Write the time itself: {found}."
        )
    return found


def _run(settings: Settings, request: Backfill, author: Author, *, yes: bool, dry_run: bool, as_json: bool) -> int:
    from streams import session
    from streams.acts.backfill import carry_out_backfill, plan_backfill
    from streams.graph import Graph
    from streams.intake.make import source_of

    pipeline = load(settings.pipeline)
    spark = session.build(settings)
    try:
        graph = Graph.build(pipeline, settings, decodes=False)
        lines = plan_backfill(source_of(graph, spark, settings, request), request)
        if not as_json:
            show_lines(lines)
        if dry_run:
            return DONE
        if not (yes or agreed()):
            return FAILED
        with _Shown(as_json=as_json) as shown:

            def work(graph: Graph, spark: Any) -> dict[str, Any]:
                act, hand_on = Act(author=author, action=request), handing_down(graph, spark)
                return carry_out_backfill(
                    graph, spark, settings, act, request, hand_on, lambda told, _: shown.show(told)
                )

            done = carried_out(settings, request, author, work, on_told=shown.show, takes_over=False)
    except KeyboardInterrupt:
        err.print("Interrupted. The same command goes on where it was.", highlight=False)
        raise
    finally:
        spark.stop()
    if as_json:
        out.print_json(json.dumps(done))
    else:
        show_lines([_told(request, done)])
    return DONE


def _told(request: Backfill, done: dict[str, Any]) -> str:
    return (
        f"{request.table}: {done['read']:,} records read, {done['accepted']:,} accepted, {done['rejected']:,} rejected "
        f"in this run; {done['batches']} batches in all. They are of topic {done['topic']}."
    )


class _Shown:
    """A bar on a terminal, elsewhere a line of the log for each batch."""

    def __init__(self, *, as_json: bool) -> None:
        from streams.acts.backfill import log_progress

        self._log = log_progress
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}% {task.fields[rate]:,.0f}/s"),
            TimeRemainingColumn(),
        )
        self._bar = Bar(*columns, console=err, disable=as_json or not err.is_terminal)
        self._task = self._bar.add_task("backfill", total=None, rate=0.0)

    def __enter__(self) -> _Shown:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, told: dict[str, Any]) -> None:
        """How far it has come: see Progress."""
        if self._bar.disable:
            self._log(told)
            return
        share = told["share"]
        total = None if share is None else 1.0
        self._bar.update(self._task, total=total, completed=share or 0.0, rate=told["rate"])

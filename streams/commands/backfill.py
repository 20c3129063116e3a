"""`sluice backfill`: history into a bronze table, through its contract."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import typer
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from checkpoints.journal import Act, Journal
from checkpoints.requests import Author, Backfill
from schemas.loader import load
from schemas.settings import Settings
from streams import logs
from streams.commands.asking import service_runs
from streams.commands.common import DONE, FAILED, ConfigOption, SetOption, agreed, err, out, reporting, settings_of
from streams.commands.errors import JsonOption
from streams.commands.past import DryRunOption, WhoOption, YesOption, absolute, show_lines
from streams.intake.backfill import Progress, number_of, run_backfill
from streams.tenure import holding

log = logs.get(__name__)


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
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    who: WhoOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    set_: SetOption = None,
) -> int:
    """Bring history into a bronze table: from files, from the database that it is pulled from, or from a topic.

    Records take the way of the topic's: contract, error lane, ledger, and the tables below. An old one never goes over
    newer state. It can be killed at any time: the same command goes on where it was. No service may run on the lake.
    """
    settings = settings_of(config, set_)
    request = Backfill(
        table=table,
        source=source,
        path=path,
        topic=topic,
        since=absolute(since, "--from") if since and not since.startswith("{") else since,
        until=absolute(until, "--to") if until and not until.startswith("{") else until,
        rate=rate,
        batch_rows=batch_rows,
        again=again,
        move_watermark=move_watermark,
    )
    if service_runs(settings) and not dry_run:
        err.print("A service runs on this lake. Stop it for the backfill: `kill -TERM` drains it.", highlight=False)
        return FAILED
    return _run(settings, request, Author.here(who), yes=yes, dry_run=dry_run, as_json=as_json)


def _run(settings: Settings, request: Backfill, author: Author, *, yes: bool, dry_run: bool, as_json: bool) -> int:
    from streams import session
    from streams.acts.resume import resume
    from streams.graph import Graph
    from streams.intake.make import source_of
    from streams.intake.pull import watermarks_of

    pipeline = load(settings.pipeline)
    spark = session.build(settings)
    try:
        lines = _plan(source_of(Graph.build(pipeline, settings, decodes=False), spark, settings, request), request)
        if not as_json:
            show_lines(lines)
        if dry_run:
            return DONE
        if not (yes or agreed()):
            return FAILED
        with holding(settings, author.command) as tenure:
            graph = Graph.build(pipeline, settings, lake=tenure.lake)
            if not tenure.lease.is_clean:
                graph.raise_fences()
            if resume(graph):
                graph = Graph.build(pipeline, settings, lake=tenure.lake)
            graph.prepare(spark)
            journal = Journal(graph.lake)
            act = journal.write(Act(author=author, action=request, plan=tuple(lines)))
            source = source_of(graph, spark, settings, request)
            with _Shown(as_json=as_json) as shown:
                done = run_backfill(graph, spark, request, source, shown.show, watermarks_of(settings, graph.lake))
            journal.done(act, after=done)
    finally:
        spark.stop()
    if as_json:
        out.print_json(json.dumps(done))
    else:
        show_lines([_told(request, done)])
    return DONE


def _plan(source: Any, request: Backfill) -> list[str]:
    total = source.total()
    rate = f", at most {request.rate:,.0f} a second" if request.rate else ""
    return [
        f"Backfill {-number_of(request)} of {request.table}:",
        *(f"  reads {line}" for line in source.describe()),
        f"  {'records' if total is None else f'{total:,} records'} in batches of {request.batch_rows:,}{rate}",
        "  as records of its contract; what breaks it goes to the error lane. Newer state is not changed.",
    ]


def _told(request: Backfill, done: dict[str, Any]) -> str:
    return (
        f"{request.table}: {done['read']:,} records read, {done['accepted']:,} accepted, {done['rejected']:,} rejected "
        f"in this run; {done['batches']} batches in all. They are of topic {done['topic']}."
    )


class _Shown:
    """A bar on a terminal; elsewhere a line of the log now and then."""

    def __init__(self, *, as_json: bool) -> None:
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

    def show(self, progress: Progress) -> None:
        total = None if progress.share is None else 1.0
        self._bar.update(self._task, total=total, completed=progress.share or 0.0, rate=progress.rate)
        log.info(
            "backfill goes on",
            batches=progress.batches,
            read=progress.read,
            rejected=progress.rejected,
            percent=None if progress.share is None else round(progress.share * 100, 1),
            records_per_second=round(progress.rate),
        )
